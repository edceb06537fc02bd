#include "sandbox/file_watch.h"

#include <fmt/format.h>
#include <poll.h>
#include <spdlog/spdlog.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace gpumcp::sandbox {
namespace fs = std::filesystem;
namespace {

// An editor or a linker writes in steps: until so long after the last one.
constexpr int kQuietMs = 60;

std::string stamp_of(const fs::path& file) {
  struct stat info{};
  if (stat(file.c_str(), &info) != 0) return "gone";
  return fmt::format("{}:{}:{}.{}", info.st_ino, info.st_size, info.st_mtim.tv_sec,
                     info.st_mtim.tv_nsec);
}

std::map<fs::path, std::string> stamps_of(const std::vector<fs::path>& files) {
  std::map<fs::path, std::string> out;
  for (const fs::path& file : files) out[file] = stamp_of(file);
  return out;
}

}  // namespace

FileWatch::FileWatch(std::vector<fs::path> files, OnChange on_change)
    : on_change_(std::move(on_change)),
      inotify_(inotify_init1(IN_CLOEXEC | IN_NONBLOCK)),
      wake_(eventfd(0, EFD_CLOEXEC)),
      stamps_(stamps_of(files)) {
  watch_folders();
  if (inotify_ >= 0 && wake_ >= 0) thread_ = std::thread([this] { run(); });
}

void FileWatch::stop() {
  const uint64_t one = 1;
  [[maybe_unused]] auto n = ::write(wake_, &one, sizeof one);
  if (thread_.joinable()) thread_.join();
}

FileWatch::~FileWatch() {
  stop();
  if (inotify_ >= 0) ::close(inotify_);
  if (wake_ >= 0) ::close(wake_);
}

void FileWatch::look() {
  std::scoped_lock lock(mutex_);
  bool same = true;
  for (auto& [file, stamp] : stamps_) same = same && stamp == stamp_of(file);
  if (same) return;
  // Stamps first: what changes while it is read is a change of its own.
  for (auto& [file, stamp] : stamps_) stamp = stamp_of(file);
  if (auto files = on_change_(); !files.empty()) {
    auto fresh = stamps_of(files);
    for (auto& [file, stamp] : fresh) {
      if (const auto known = stamps_.find(file); known != stamps_.end()) stamp = known->second;
    }
    stamps_ = std::move(fresh);
    watch_folders();
  }
}

// Folders, since editors put a new file into a file's place.
void FileWatch::watch_folders() {
  names_.clear();
  for (auto& [file, stamp] : stamps_) names_.insert(file.filename().string());
  if (inotify_ < 0) return;
  for (auto& [file, stamp] : stamps_) {
    const fs::path folder = file.parent_path();
    if (folders_.contains(folder)) continue;
    const int watched = inotify_add_watch(
        inotify_, folder.c_str(),
        IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_CREATE | IN_ONLYDIR);
    if (watched >= 0) folders_[folder] = watched;
  }
}

void FileWatch::run() {
  bool heard = false;
  while (true) {
    pollfd fds[] = {{inotify_, POLLIN, 0}, {wake_, POLLIN, 0}};
    const int ready = poll(fds, 2, heard ? kQuietMs : -1);
    if (ready < 0 && errno == EINTR) continue;
    if (fds[1].revents) return;
    if (ready == 0) {
      heard = false;
      try {
        look();
      } catch (const std::exception& e) {
        spdlog::error("{}", e.what());
      }
      continue;
    }
    alignas(inotify_event) char events[4096];
    for (ssize_t n = 0; (n = ::read(inotify_, events, sizeof events)) > 0;) {
      std::scoped_lock lock(mutex_);
      for (const char* at = events; at < events + n;) {
        const auto* event = reinterpret_cast<const inotify_event*>(at);
        heard = heard || event->len == 0 || names_.contains(event->name);
        at += sizeof(inotify_event) + event->len;
      }
    }
  }
}

}  // namespace gpumcp::sandbox

// FileWatch: says when one of some files has changed: by itself, as soon as the system tells
// (inotify on their folders; a network's files changed elsewhere tell nothing), and when look() is
// called. Owned by whoever acts on it. look() is thread-safe; `on_change` runs one at a time, on a
// thread of its own or in look(). Destruction ends the thread.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace gpumcp::sandbox {

class FileWatch {
 public:
  // `on_change` gives the files to watch from then on; those of before if it gives none.
  using OnChange = std::function<std::vector<std::filesystem::path>()>;
  FileWatch(std::vector<std::filesystem::path> files, OnChange on_change);
  ~FileWatch();
  FileWatch(const FileWatch&) = delete;
  FileWatch& operator=(const FileWatch&) = delete;

  // Runs on_change, and returns after it, if a file is no longer what it was.
  void look();
  // Nothing is said by itself any more.
  void stop();

 private:
  void watch_folders();
  void run();

  const OnChange on_change_;
  int inotify_ = -1, wake_ = -1;

  std::mutex mutex_;  // guards what follows
  std::map<std::filesystem::path, std::string> stamps_;
  std::map<std::filesystem::path, int> folders_;
  std::set<std::string> names_;  // of the files, without their folders
  std::thread thread_;           // declared last: it uses what is above
};

}  // namespace gpumcp::sandbox

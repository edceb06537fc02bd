// gpumcp pull: a model from a Hugging Face hub into the store. Files gather in a folder of their
// own, which becomes the model's once all are whole, so that no half model is ever seen; what an
// interrupted pull left is gone on with.
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <fstream>

#include "cli/command.h"
#include "cli/hub.h"
#include "cli/progress.h"
#include "cli/shell_worker.h"
#include "gpu_runtime/error.h"
#include "gpu_runtime/model_store.h"
#include "mcp/json.h"

namespace gpumcp::cli {
namespace fs = std::filesystem;
namespace {

constexpr const char* kRecord = ".gpumcp-pull.json";  // what a pull brought, in the model's folder

struct PullOptions {
  std::string model, revision = "main";
  bool force = false;
};

// Held while files gather; the second pull of a model waits for the first.
class FolderLock {
 public:
  FolderLock(const fs::path& folder, const Interrupt& interrupt) {
    fs::create_directories(folder);
    fd_ = ::open((folder / "lock").c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    if (fd_ < 0) throw std::runtime_error(fmt::format("cannot write in {}", folder.string()));
    for (bool told = false; flock(fd_, LOCK_EX | LOCK_NB) != 0; told = true) {
      if (!told) fmt::print(stderr, "another pull of this model runs; waiting for it\n");
      pollfd_wait(interrupt);
    }
  }
  ~FolderLock() { ::close(fd_); }
  FolderLock(const FolderLock&) = delete;

 private:
  static void pollfd_wait(const Interrupt& interrupt) {
    pollfd fd = {interrupt.fd(), POLLIN, 0};
    poll(&fd, 1, 200);
    if (interrupt.raised()) throw ShellExit{kInterrupted, ""};
  }
  int fd_ = -1;
};

mcp::Json record_of(const HubModel& model, const std::vector<HubFile>& files,
                    const std::string& name) {
  mcp::Json list = mcp::Json::array();
  for (const HubFile& file : files)
    list.push_back({{"path", file.path},
                    {"size", file.size},
                    {"id", file.sha256.empty() ? file.blob_sha1 : file.sha256}});
  return {{"model", name}, {"revision", model.revision}, {"files", std::move(list)}};
}

bool is_whole(const fs::path& folder, const std::vector<HubFile>& files) {
  std::error_code error;
  for (const HubFile& file : files) {
    if (!fs::is_regular_file(folder / file.path, error) ||
        fs::file_size(folder / file.path, error) != file.size)
      return false;
  }
  return true;
}

std::optional<mcp::Json> read_record(const fs::path& folder) {
  std::ifstream file(folder / kRecord, std::ios::binary);
  if (!file) return {};
  auto json = mcp::parse_json(std::string((std::istreambuf_iterator<char>(file)), {}));
  return json && json->is_object() ? std::optional(std::move(*json)) : std::nullopt;
}

void check_space(const fs::path& folder, uint64_t needed) {
  struct statvfs info {};
  if (statvfs(folder.c_str(), &info) != 0) return;
  const uint64_t free = static_cast<uint64_t>(info.f_bavail) * info.f_frsize;
  if (free < needed)
    throw ShellExit{kToolError,
                    fmt::format("{} are needed and {} are free for {}; GPUMCP_CACHE names another "
                                "folder",
                                bytes_text(needed), bytes_text(free), folder.string())};
}

// The finished files take the model's place; what was there goes.
void install(const fs::path& from, const fs::path& to) {
  fs::create_directories(to.parent_path());
  const fs::path old =
      to.parent_path() / fmt::format(".old-{}-{}", to.filename().string(), getpid());
  std::error_code error;
  if (fs::exists(to, error)) fs::rename(to, old);
  fs::rename(from, to);
  fs::remove_all(old, error);
}

int run_pull(const PullOptions& o) {
  gpu_runtime::ModelStoreOptions store_options = gpu_runtime::ModelStoreOptions::from_process();
  const gpu_runtime::ModelStore store(store_options);
  fs::path place;
  try {
    place = fs::absolute(store.pull_folder(o.model));
  } catch (const gpu_runtime::Error& e) {
    throw std::invalid_argument(e.what());
  }
  const Interrupt interrupt;
  Hub hub(HubOptions::from_environment(), interrupt);
  const HubModel model = hub.model(o.model, o.revision);
  const std::vector<HubFile> files = wanted_files(model.files);
  const auto has = [&](auto&& matches) { return std::ranges::any_of(files, matches); };
  if (!has([](const HubFile& f) { return f.path == "config.json"; }))
    throw ShellExit{kToolError,
                    fmt::format("{} has no config.json: it is no model of transformers", o.model)};
  if (!has([](const HubFile& f) {
        return f.path.starts_with("model") && f.path.ends_with(".safetensors");
      }))
    throw ShellExit{kToolError,
                    fmt::format("{} has no model.safetensors, and pickles (pytorch_model.bin) are "
                                "never loaded: another revision may have it (--revision "
                                "refs/pr/N), or convert it with transformers: "
                                "AutoModel.from_pretrained(…).save_pretrained(FOLDER)",
                                o.model)};
  uint64_t total = 0;
  for (const HubFile& file : files) total += file.size;

  std::error_code error;
  const fs::path gathering = fs::absolute(store_options.cache) / "pull" / place.filename();
  const FolderLock lock(gathering, interrupt);
  if (fs::exists(place, error) && !o.force) {
    const auto record = read_record(place);
    if (record && record->value("revision", "") == model.revision && is_whole(place, files)) {
      fs::remove_all(gathering, error);
      fmt::print("{}\n", place.string());
      fmt::print(stderr, "{} is up to date ({})\n", o.model, model.revision.substr(0, 12));
      return kOk;
    }
    if (!record)
      throw ShellExit{kToolError, fmt::format("{} is there and was not pulled by gpumcp; --force "
                                              "replaces it",
                                              place.string())};
  }
  const fs::path folder = gathering / model.revision;
  fs::create_directories(folder);
  uint64_t there = 0;
  for (const HubFile& file : files) {
    for (const char* end : {"", ".part"}) {
      const fs::path path = (folder / file.path).string() + end;
      if (fs::exists(path, error)) there += fs::file_size(path, error);
    }
  }
  check_space(folder, total - std::min(there, total));

  Progress progress(o.model, total);
  uint64_t done = 0;
  for (const HubFile& file : files) {
    const fs::path to = folder / file.path;
    // A whole file was checked before it got its name.
    if (!fs::exists(to, error) || fs::file_size(to, error) != file.size) {
      hub.download(o.model, model.revision, file, to, [&](uint64_t bytes) {
        progress.update(done + bytes, fmt::format("{} of {}  {}", bytes_text(done + bytes),
                                                  bytes_text(total), file.path));
      });
    }
    done += file.size;
    progress.update(done, fmt::format("{} of {}", bytes_text(done), bytes_text(total)));
    if (interrupt.raised()) throw ShellExit{kInterrupted, ""};
  }
  std::ofstream(folder / kRecord) << record_of(model, files, o.model).dump(2) << "\n";
  install(folder, place);
  fs::remove_all(gathering, error);
  progress.done();
  fmt::print("{}\n", place.string());
  fmt::print(stderr, "{}: {} files, {} ({})\n", o.model, files.size(), bytes_text(total),
             model.revision.substr(0, 12));
  return kOk;
}

}  // namespace

Command pull_command() {
  return {
      "pull", "get a model from the Hugging Face hub into the store",
      "  gpumcp pull sentence-transformers/all-MiniLM-L6-v2\n"
      "  HF_TOKEN=hf_… gpumcp pull google/gemma-2-2b           a model behind a licence\n"
      "  HF_ENDPOINT=https://hub.example.org gpumcp pull org/name   a mirror\n"
      "Only safetensors, JSON and vocabularies come; each file's sha256 is checked. An "
      "interrupted pull goes on where it stopped. Prints the model's folder.\n"
      "Exit codes: 0 ok, 1 usage, 4 the hub cannot be reached, 5 it has no such model or a file "
      "is wrong, 130 interrupted.",
      [](CLI::App& app, const std::vector<std::string>&) {
        auto o = std::make_shared<PullOptions>();
        app.add_option("MODEL", o->model, "ORG/NAME, as on the hub")->required();
        app.add_option("--revision", o->revision, "a branch, tag or commit")->capture_default_str();
        app.add_flag("--force", o->force, "replace a folder that is there");
        return [o] { return run_shell([&] { return run_pull(*o); }); };
      }};
}

}  // namespace gpumcp::cli

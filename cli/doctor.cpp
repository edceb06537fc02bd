// gpumcp doctor: looks at everything that a first call needs, in the order in which it would fail,
// and says what to do about what is wrong.
#include <dirent.h>
#include <fmt/format.h>
#include <sys/statvfs.h>
#include <sys/un.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <thread>

#include "cli/command.h"
#include "cli/config_file.h"
#include "cli/progress.h"
#include "cli/target.h"
#include "gpu_runtime/error.h"
#include "gpu_runtime/model_store.h"
#include "sandbox/launcher.h"
#include "sandbox/manifest.h"
#include "sandbox/subprocess.h"

namespace gpumcp::cli {
namespace fs = std::filesystem;
namespace {

constexpr const char* kDefaultModel = "sentence-transformers/all-MiniLM-L6-v2";

enum class Verdict { good, note, bad };

// One thing that was looked at.
struct Finding {
  Verdict verdict;
  std::string what, found, remedy;
};

class Report {
 public:
  explicit Report(bool json) : json_(json) {}

  void add(Finding finding) {
    if (finding.verdict == Verdict::bad) ++bad_;
    if (!json_) {
      fmt::print("{:<5} {:<14} {}\n", word(finding.verdict), finding.what, finding.found);
      if (!finding.remedy.empty()) fmt::print("      {:<14} -> {}\n", "", finding.remedy);
      std::fflush(stdout);
    }
    findings_.push_back(std::move(finding));
  }
  int end() const {
    if (json_) {
      mcp::Json list = mcp::Json::array();
      for (const Finding& one : findings_)
        list.push_back({{"what", one.what},
                        {"verdict", word(one.verdict)},
                        {"found", one.found},
                        {"remedy", one.remedy}});
      fmt::print("{}\n", mcp::Json{{"healthy", bad_ == 0}, {"checks", std::move(list)}}.dump(2));
    } else if (bad_ > 0) {
      fmt::print("\n{} of {} checks failed\n", bad_, findings_.size());
    }
    return bad_ == 0 ? kOk : kFailed;
  }

 private:
  static const char* word(Verdict verdict) {
    return verdict == Verdict::good ? "ok" : verdict == Verdict::note ? "note" : "FAIL";
  }
  const bool json_;
  size_t bad_ = 0;
  std::vector<Finding> findings_;
};

// Exit status and output of a program; -1: it could not be started.
std::pair<int, std::string> run_quietly(const std::vector<std::string>& command) {
  const auto done = sandbox::run_captured(command);
  if (!done) return {-1, done.error().message};
  return {done->code, done->out + done->err};
}

std::string last_line(std::string text) {
  while (text.ends_with('\n')) text.pop_back();
  return text.substr(text.rfind('\n') + 1);
}

void check_interfaces(Report& report) {
  const auto names = sandbox::list_interfaces();
  const std::string program = sandbox::program_path().string();
  report.add({Verdict::good, "program", fmt::format("gpumcp {}, {}", GPUMCP_VERSION, program), ""});
  if (std::ranges::find(names, "embeddings") == names.end()) {
    report.add({Verdict::bad, "interfaces",
                "the built-in interface embeddings is not beside the program",
                "this build has no libtorch: scripts/quickstart makes one that has; interfaces of "
                "your own (.so) work without it"});
    return;
  }
  report.add(
      {Verdict::good, "interfaces", fmt::format("built in: {}", fmt::join(names, ", ")), ""});
  // A process of its own, as a worker is: this one never loads libtorch.
  const auto [status, text] = run_quietly({program, "manifest", "embeddings"});
  if (status == 0)
    report.add({Verdict::good, "libtorch", "a worker can load it", ""});
  else
    report.add({Verdict::bad, "libtorch",
                fmt::format("a worker cannot load it: {}", last_line(text)),
                "scripts/fetch torch brings it back; a build finds it where it lay at build time, "
                "else by LD_LIBRARY_PATH"});
}

void check_device(Report& report) {
  std::error_code error;
  size_t gpus = 0;
  for (int i = 0; i < 64; ++i) gpus += fs::exists(fmt::format("/dev/nvidia{}", i), error);
  std::ifstream version("/proc/driver/nvidia/version");
  std::string driver;
  std::getline(version, driver);
  const unsigned cores = std::thread::hardware_concurrency();
  if (gpus == 0) {
    report.add({Verdict::note, "device",
                fmt::format("no NVIDIA GPU: models run on the CPU ({} cores)", cores), ""});
  } else if (driver.empty()) {
    report.add({Verdict::bad, "device", fmt::format("{} NVIDIA GPUs, but no driver answers", gpus),
                "install the NVIDIA driver (in a container: start it with --gpus all)"});
  } else {
    bool usable = false;
    for (int i = 0; i < 64; ++i)
      usable = usable || access(fmt::format("/dev/nvidia{}", i).c_str(), R_OK | W_OK) == 0;
    if (usable)
      report.add({Verdict::good, "device", fmt::format("{} NVIDIA GPUs; {}", gpus, driver), ""});
    else
      report.add({Verdict::bad, "device", "the NVIDIA GPUs may not be opened by this user",
                  "add the user to the group that owns /dev/nvidia0 (video or render)"});
  }
}

void check_models(Report& report) {
  const auto options = gpu_runtime::ModelStoreOptions::from_process();
  const gpu_runtime::ModelStore store(options);
  const auto models = store.list();
  const fs::path folder = options.cache / "models";
  std::error_code error;
  fs::path existing = options.cache;
  while (!existing.empty() && existing != "/" && !fs::exists(existing, error))
    existing = existing.parent_path();
  struct statvfs info{};
  std::string space;
  if (statvfs(existing.c_str(), &info) == 0)
    space =
        fmt::format(", {} free", bytes_text(static_cast<uint64_t>(info.f_bavail) * info.f_frsize));
  const bool writable = access(existing.c_str(), W_OK) == 0;
  report.add({writable ? Verdict::good : Verdict::bad, "model store",
              fmt::format("{}: {} models{}{}", folder.string(), models.size(), space,
                          writable ? "" : ", not writable"),
              writable ? "" : "GPUMCP_CACHE names another folder"});
  try {
    store.find(kDefaultModel).require();
    report.add({Verdict::good, "default model", kDefaultModel, ""});
  } catch (const gpu_runtime::Error&) {
    report.add(
        {Verdict::bad, "default model", fmt::format("{} is not here", kDefaultModel),
         fmt::format("gpumcp pull {} (or gpumcp serve --model NAME with one of gpumcp models)",
                     kDefaultModel)});
  }
}

void check_runtime_folder(Report& report) {
  const std::string key = fmt::format("doctor{:06x}", getpid() & 0xffffff);
  const auto folder = sandbox::RuntimeFolder::open(key);
  if (!folder) {
    report.add({Verdict::bad, "runtime folder", folder.error().message,
                "set XDG_RUNTIME_DIR to a folder of yours with mode 0700"});
    return;
  }
  const std::string socket = folder->socket().string();
  {
    const auto lock = folder->lock();
    folder->remove(true);
  }
  if (socket.size() >= sizeof(sockaddr_un::sun_path))
    report.add({Verdict::bad, "runtime folder", fmt::format("{} is too long for a socket", socket),
                "set XDG_RUNTIME_DIR to a shorter path"});
  else
    report.add({Verdict::good, "runtime folder", sandbox::RuntimeFolder::base().string(), ""});

  for (const auto& one : sandbox::RuntimeFolder::list()) {
    const auto connection = one.read_connection();
    if (!connection) continue;
    const auto client =
        sandbox::connect_worker(*connection, {.connect_timeout = std::chrono::seconds(3)});
    if (client)
      report.add({Verdict::good, "worker",
                  fmt::format("{} answers ({})", connection->pid, one.key()), ""});
    else if (kill(connection->pid, 0) == 0)
      report.add(
          {Verdict::bad, "worker",
           fmt::format("{} does not answer: {}", connection->pid, client.error().message),
           fmt::format("its log: {}; end it with: kill {}", one.log().string(), connection->pid)});
    else
      report.add({Verdict::note, "worker",
                  fmt::format("{} died; the next call starts another", connection->pid), ""});
  }
}

// Whether the host's file names this program, and one that is still there.
void check_hosts(Report& report) {
  const std::string program = sandbox::program_path().string();
  size_t found = 0;
  for (const std::string& host : sandbox::known_hosts()) {
    const fs::path file = config_file(host, fs::current_path());
    std::ifstream in(file, std::ios::binary);
    if (!in) continue;
    const std::string text((std::istreambuf_iterator<char>(in)), {});
    if (text.find("gpumcp") == text.npos) continue;
    ++found;
    if (text.find(program) != text.npos)
      report.add({Verdict::good, "host",
                  fmt::format("{}: {} starts this program", host, file.string()), ""});
    else
      report.add({Verdict::note, "host",
                  fmt::format("{}: {} names another gpumcp than this one", host, file.string()),
                  fmt::format("gpumcp config {} --write", host)});
  }
  if (found == 0)
    report.add(
        {Verdict::note, "host", "no host's file names gpumcp",
         "gpumcp config claude-desktop --write (or claude-code, codex, gemini, vscode, cursor)"});
}

void check_call(Report& report, const SandboxOptions& sandbox) {
  const auto began = std::chrono::steady_clock::now();
  const auto seconds = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  };
  std::string problem;
  try {
    Target target({.sandbox = sandbox});
    const auto result = target.client().call_tool("get_embedding", {{"text", "hello world"}});
    if (!result)
      problem = result.error().message;
    else if (result->isError && !result->content.empty())
      if (const auto* text = std::get_if<mcp::TextContent>(&result->content[0].value))
        problem = text->text;
  } catch (const std::exception& e) {
    problem = e.what();
  }
  if (problem.empty())
    report.add(
        {Verdict::good, "call", fmt::format("get_embedding answers in {:.1f} s", seconds()), ""});
  else
    report.add({Verdict::bad, "call", fmt::format("get_embedding failed: {}", problem),
                "GPUMCP_LOG=debug gpumcp call get_embedding text=hi shows more"});
}

}  // namespace

Command doctor_command() {
  return {"doctor", "check what a first call needs, and say what to do about what is wrong",
          "  gpumcp doctor\n"
          "  gpumcp doctor --call                 and start a worker, for one call\n"
          "  gpumcp doctor --json | jq .healthy\n"
          "Exit codes: 0 all is well, 1 a check failed.",
          [](CLI::App& app, const std::vector<std::string>&) {
            struct Options {
              bool json = false, call = false;
              SandboxOptions sandbox;
            };
            auto o = std::make_shared<Options>();
            app.add_flag("--json", o->json, "print everything as JSON");
            app.add_flag("--call", o->call, "also run get_embedding, in a worker as agents get it");
            o->sandbox.declare_worker(app);
            return [o] {
              Report report(o->json);
              check_interfaces(report);
              check_device(report);
              check_models(report);
              check_runtime_folder(report);
              check_hosts(report);
              if (o->call) check_call(report, o->sandbox);
              return report.end();
            };
          }};
}

}  // namespace gpumcp::cli

// gpumcp sandbox: a scoped sandbox for a program in another language, which talks to it by lines of
// JSON on stdin and stdout: one request a line, its answer, and before that lines that say how it
// goes. The end of stdin terminates the sandbox, so that none outlives the program that wanted it.
//
//   {"op": "start", "config": {…}, "name": "…"}              → {"ok": true, "name": "…"}
//   {"op": "attach", "name": "…"}                            the same, of one that is there
//   {"op": "serve", "file": "…", "name": "…", "load": true}  → {"name", "tools", "serve_command"}
//   {"op": "session", "libraries": [{"file"|"directory"|"sandbox", …}], "folder": "…", "name": "…"}
//   {"op": "call", "tool": "…", "arguments": {…}}            → {"result": …}
//   {"op": "status"}  {"op": "stop"}  {"op": "terminate"}
//   {"ok": false, "error": "…"}    {"progress": "…"}
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <mutex>
#include <optional>
#include <set>
#include <thread>

#include "cli/command.h"
#include "cli/interrupt.h"
#include "sandbox/scoped_sandbox.h"
#include "sandbox/workspace.h"

namespace gpumcp::cli {
namespace {

using mcp::Json;

std::string text_of(const Json& json, const char* key) {
  const auto it = json.find(key);
  if (it == json.end() || it->is_null()) return {};
  if (!it->is_string()) throw std::invalid_argument(fmt::format("{}: expected a text", key));
  return it->get<std::string>();
}

std::string required(const Json& json, const char* key) {
  std::string text = text_of(json, key);
  if (text.empty()) throw std::invalid_argument(fmt::format("{}: a text is missing", key));
  return text;
}

// Settings by the names of SandboxConfig. Paths are the caller's, so it sends absolute ones.
sandbox::SandboxConfig config_of(const Json& given) {
  static const std::set<std::string> known = {"gpu",
                                              "gpu_count",
                                              "models",
                                              "python_packages",
                                              "system_packages",
                                              "python_version",
                                              "env",
                                              "secrets",
                                              "provider",
                                              "device",
                                              "threads",
                                              "call_timeout_s",
                                              "load_timeout_s",
                                              "start_timeout_s",
                                              "cancel_grace_s",
                                              "device_memory",
                                              "host_memory",
                                              "model_idle_s",
                                              "warm_idle_s",
                                              "model_idle_of",
                                              "pin",
                                              "isolate",
                                              "network",
                                              "read",
                                              "write"};
  if (!given.is_object()) throw std::invalid_argument("config: expected an object");
  Json all = sandbox::SandboxConfig{}.to_json();
  for (const auto& [key, value] : given.items()) {
    if (value.is_null()) continue;
    if (key == "idle") {
      all["idle_s"] = value == "never" ? Json(nullptr) : value;
      continue;
    }
    if (!known.contains(key))
      throw std::invalid_argument(fmt::format("config.{}: there is no such setting", key));
    all[key] = value;
  }
  return sandbox::SandboxConfig::from_json(all);
}

class Control {
 public:
  Json run(const Json& request) {
    const std::string op = required(request, "op");
    if (op == "start") {
      auto fresh = std::make_shared<sandbox::ScopedSandbox>(
          config_of(request.value("config", Json::object())), text_of(request, "name"));
      fresh->start();
      const std::scoped_lock lock(mutex_);
      sandbox_ = owned_ = std::move(fresh);
      return {{"name", sandbox_->name()}};
    }
    if (op == "attach") {
      sandbox_ = sandbox::ScopedSandbox::attach(required(request, "name"));
      return {{"name", sandbox_->name()}};
    }
    if (op == "session") return session(request);
    if (!sandbox_) throw std::invalid_argument(fmt::format("{}: start a sandbox first", op));
    if (op == "serve") {
      sandbox::ServeOptions options{.name = text_of(request, "name"),
                                    .load = request.value("load", true)};
      options.on_progress = progress;
      return answer_of(sandbox_->serve(required(request, "file"), options));
    }
    if (op == "call") {
      mcp::CallToolResult result =
          sandbox_->call(required(request, "tool"), request.value("arguments", Json::object()));
      return {{"result", mcp::parse_json(mcp::to_text(result)).value()}};
    }
    if (op == "status") return {{"status", sandbox_->status()}};
    if (op == "stop") {
      sandbox_->stop();
      return Json::object();
    }
    if (op == "detach") {
      sandbox_->detach();
      const std::scoped_lock lock(mutex_);
      owned_.reset();  // it outlives this program
      return Json::object();
    }
    if (op == "terminate") {
      sandbox_->terminate();
      return Json::object();
    }
    throw std::invalid_argument(fmt::format("op {}: there is none", op));
  }

  static void say(const Json& message) {
    // Who is gone hears nothing; the end of stdin says so.
    const std::string line = mcp::to_text(message) + "\n";
    [[maybe_unused]] const auto written = std::fwrite(line.data(), 1, line.size(), stdout);
    std::fflush(stdout);
  }
  static void progress(const std::string& what) { say({{"progress", what}}); }
  void end() {
    const std::scoped_lock lock(mutex_);
    sandbox_.reset();
    owned_.reset();
  }
  // From another thread: ends the sandbox, and with it the request that runs.
  void abandon() {
    std::shared_ptr<sandbox::ScopedSandbox> ended;
    {
      const std::scoped_lock lock(mutex_);
      ended = owned_;
    }
    try {
      if (ended) ended->terminate();
    } catch (const std::exception&) {
      // Its worker idles out.
    }
  }

 private:
  static Json answer_of(const sandbox::ServedInterface& served) {
    Json tools = Json::array();
    for (const mcp::Tool& tool : served.manifest.tools) tools.push_back(tool.name);
    return {{"name", served.name},
            {"tools", std::move(tools)},
            {"serve_command", served.serve_command}};
  }

  static mcp::Result<sandbox::Library> library_of(const Json& one) {
    if (one.contains("file")) return sandbox::Library::from_file(required(one, "file"));
    if (one.contains("directory"))
      return sandbox::Library::from_directory(required(one, "directory"));
    const std::string name = required(one, "name"), sandbox = required(one, "sandbox");
    for (sandbox::ServedInterface& served : sandbox::ScopedSandbox::attach(sandbox)->served()) {
      if (served.name == name)
        return sandbox::Library::served(name, std::move(served.manifest),
                                        std::move(served.serve_command), text_of(one, "expose_as"));
    }
    return mcp::fail(mcp::ErrorCode::invalid_params,
                     fmt::format("the sandbox {} serves no {}", sandbox, name));
  }

  static Json session(const Json& request) {
    sandbox::Workspace workspace{.instructions = text_of(request, "instructions")};
    for (const Json& one : request.value("libraries", Json::array())) {
      auto library = library_of(one);
      if (!library) throw std::invalid_argument(library.error().message);
      workspace.libraries.push_back(std::move(*library));
    }
    for (const Json& file : request.value("files", Json::array()))
      workspace.files.emplace_back(file.get<std::string>());
    auto session = sandbox::create_local_session(workspace, required(request, "folder"),
                                                 required(request, "name"));
    if (!session) throw std::invalid_argument(session.error().message);
    return {{"name", session->name},
            {"folder", session->folder.string()},
            {"mcp_config", session->mcp_config},
            {"docs", session->docs},
            {"needs_shell", session->needs_shell}};
  }

  std::shared_ptr<sandbox::ScopedSandbox> sandbox_;
  std::mutex mutex_;  // guards:
  std::shared_ptr<sandbox::ScopedSandbox> owned_;
};

// While a request runs nobody reads stdin: that nobody reads our answers any more says the same.
std::jthread watch_stdout(Control& control) {
  return std::jthread([&control](std::stop_token stop) {
    while (!stop.stop_requested()) {
      pollfd fds{1, 0, 0};
      if (poll(&fds, 1, 250) != 1 || !(fds.revents & POLLERR)) continue;
      control.abandon();
      return;
    }
  });
}

// The next line of stdin; nothing at its end, or when a signal asks for one.
std::optional<std::string> next_line(std::string& buffer, int stop_fd) {
  while (true) {
    if (const size_t end = buffer.find('\n'); end != buffer.npos) {
      std::string line = buffer.substr(0, end);
      buffer.erase(0, end + 1);
      return line;
    }
    pollfd fds[] = {{0, POLLIN, 0}, {stop_fd, POLLIN, 0}};
    if (poll(fds, 2, -1) < 0 && errno == EINTR) continue;
    if (fds[1].revents) return std::nullopt;
    char part[65536];
    const ssize_t n = ::read(0, part, sizeof part);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return std::nullopt;
    buffer.append(part, static_cast<size_t>(n));
  }
}

int run_control() {
  const Interrupt interrupt;
  // Its program may be killed while this one talks: the sandbox is ended all the same.
  std::signal(SIGPIPE, SIG_IGN);
  Control control;
  const std::jthread stdout_watch = watch_stdout(control);
  std::string buffer;
  while (auto next = next_line(buffer, interrupt.fd())) {
    const std::string line = std::move(*next);
    if (line.empty()) continue;
    Json answer;
    try {
      auto request = mcp::parse_json(line);
      if (!request || !request->is_object())
        throw std::invalid_argument("expected a line with a JSON object");
      answer = control.run(*request);
      answer["ok"] = true;
    } catch (const std::exception& e) {
      answer = {{"ok", false}, {"error", e.what()}};
    }
    Control::say(answer);
  }
  control.end();
  return kOk;
}

}  // namespace

Command sandbox_command() {
  return {
      "sandbox", "a scoped sandbox for programs in other languages: lines of JSON, in and out",
      "  printf '%s\\n' '{\"op\":\"start\"}' '{\"op\":\"serve\",\"file\":\"/srv/interface.py\"}' "
      "| gpumcp sandbox\n"
      "  The Python package gpumcp uses it (docs/agents.md). The end of stdin terminates the "
      "sandbox.",
      [](CLI::App&, const std::vector<std::string>&) { return run_control; }};
}

}  // namespace gpumcp::cli

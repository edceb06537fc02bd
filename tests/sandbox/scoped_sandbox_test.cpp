#include "sandbox/scoped_sandbox.h"

#include <signal.h>
#include <sys/wait.h>

#include <fstream>
#include <thread>

#include "sandbox/sandbox_record.h"
#include "sandbox/subprocess.h"
#include "tests/sandbox/support.h"

namespace gpumcp::sandbox {
namespace {

namespace fs = std::filesystem;

// A user of gpumcp with nothing on their machine; afterwards nothing of a sandbox may be left.
struct Home {
  TemporaryRuntime runtime;
  fs::path cache = runtime.path() / "cache";

  Home() { setenv("GPUMCP_CACHE", cache.c_str(), 1); }
  ~Home() {
    CHECK(files_in(runtime.path() / "gpumcp").empty());
    CHECK(files_in(cache / "sandboxes").empty());
    CHECK(files_in(cache / "artifacts").empty());
    unsetenv("GPUMCP_CACHE");
  }
  fs::path write(const std::string& name, const std::string& text) const {
    std::ofstream(runtime.path() / name) << text;
    return runtime.path() / name;
  }
  static std::vector<std::string> files_in(const fs::path& folder) {
    std::vector<std::string> out;
    std::error_code none;
    for (auto& entry : fs::recursive_directory_iterator(folder, none)) out.push_back(entry.path());
    return out;
  }
};

const char* kPython = R"(
import os
@expose
def pid() -> int:
    """The process."""
    return os.getpid()

@expose
def add(a: int, b: int) -> int:
    """A sum."""
    return a + b
)";

fs::path test_tools() {
  return program_path().parent_path().parent_path() / "lib/gpumcp/interfaces/test_tools.so";
}

std::string text_of(const mcp::CallToolResult& result) {
  return result.content.empty() ? "" : std::get<mcp::TextContent>(result.content[0].value).text;
}

int64_t value_of(const mcp::CallToolResult& result) {
  INFO(text_of(result));
  REQUIRE_FALSE(result.isError);
  return mcp::Json::parse(result.structuredContent)["result"].get<int64_t>();
}

std::string error_of(const std::function<void()>& run) {
  try {
    run();
  } catch (const SandboxError& e) {
    return e.what();
  }
  FAIL("it went well");
  return {};
}

TEST_CASE("a sandbox serves an interface, and goes with its scope") {
  Home home;
  int worker = 0;
  {
    ScopedSandbox sandbox({}, "mine");
    std::vector<std::string> heard;
    const auto tools = sandbox.serve(
        home.write("interface.py", kPython),
        {.name = "model_tools", .on_progress = [&](auto& what) { heard.push_back(what); }});
    CHECK(tools.name == "model_tools");
    REQUIRE(tools.manifest.tools.size() == 2);
    CHECK(tools.serve_command[1] == "serve");
    CHECK(sandbox.status()["python"][0]["state"] == "ready");  // serve() waited for its answer
    CHECK_FALSE(heard.empty());
    worker = sandbox.status()["pid"].get<int>();
    CHECK(value_of(sandbox.call("add", {{"a", 2}, {"b", 3}})) == 5);
    CHECK(sandbox.call("add", {{"a", "two"}}).isError);
    CHECK(ScopedSandbox::list() == std::vector<std::string>{"mine"});
  }
  CHECK(process_began(worker).empty());
}

TEST_CASE(
    "two interfaces in one sandbox keep their names, served together or one after the other") {
  Home home;
  ScopedSandbox sandbox({});
  sandbox.serve(home.write("one.py", kPython));
  const int first = sandbox.status()["pid"].get<int>();
  const auto two = sandbox.serve(home.write("two.py", kPython), {.name = "other"});
  CHECK(process_began(first).empty());  // one worker a sandbox: the new one has both
  CHECK(two.manifest.tools[0].name == "other_pid");
  CHECK(two.serve_command.back() == "other");
  CHECK(value_of(sandbox.call("one_pid", mcp::Json::object())) !=
        value_of(sandbox.call("other_pid", mcp::Json::object())));
  const auto third = sandbox.serve(test_tools(), {.load = false});
  CHECK(third.manifest.tools[0].name == "echo");
  CHECK(text_of(sandbox.call("echo", {{"text", "hello"}})).find("hello") != std::string::npos);
  CHECK(sandbox.served().size() == 3);
  CHECK(error_of([&] {
          sandbox.serve(home.write("three.py", kPython), {.name = "one"});
        }).find("as \"one\" already") != std::string::npos);
}

TEST_CASE("a crash while loading shows its own error and log") {
  Home home;
  ScopedSandbox sandbox({});
  const auto broken =
      home.write("broken.py",
                 "print('about to load')\n@expose\ndef f() -> int:\n    \"\"\"F.\"\"\"\n"
                 "raise RuntimeError('no such weights')\n");
  const std::string raised = error_of([&] { sandbox.serve(broken); });
  CHECK(raised.find("broken.py could not be loaded") != std::string::npos);
  CHECK(raised.find("no such weights") != std::string::npos);
  const auto dying =
      home.write("dying.py",
                 "import os, sys\n@expose\ndef g() -> int:\n    \"\"\"G.\"\"\"\n"
                 "print('the last words', file=sys.stderr, flush=True)\nos._exit(7)\n");
  ScopedSandbox other({});
  const std::string died = error_of([&] { other.serve(dying); });
  CHECK(died.find("exited with code 7") != std::string::npos);
  CHECK(died.find("the last words") != std::string::npos);
  // Mended, it is served.
  home.write("broken.py", kPython);
  sandbox.serve(broken);
  CHECK(value_of(sandbox.call("add", {{"a", 1}, {"b", 1}})) == 2);
}

TEST_CASE("what cannot be served says where") {
  Home home;
  ScopedSandbox sandbox({});
  const auto wrong = home.write("wrong.py", "@expose\ndef f(x: 'a thing') -> int:\n    return 1\n");
  CHECK(error_of([&] { sandbox.serve(wrong); }).find("wrong.py") != std::string::npos);
  CHECK(error_of([&] { sandbox.serve("nowhere.py"); }).find("nowhere.py") != std::string::npos);
  CHECK(error_of([&] { sandbox.call("f", mcp::Json::object()); }).find("serves nothing yet") !=
        std::string::npos);
}

TEST_CASE("wrong settings are told before anything starts") {
  Home home;
  auto wrong = [](SandboxConfig config, const std::string& name = "") {
    ScopedSandbox sandbox(std::move(config), name);
    return error_of([&] { sandbox.start(); });
  };
  CHECK(wrong({.provider = "nowhere"}).find("expected local, ssh:HOST") != std::string::npos);
  CHECK(wrong({.device = "tpu"}).find("expected auto, cpu") != std::string::npos);
  CHECK(wrong({.models = {{.name = "a", .path = "/nowhere"}}}).find("no folder /nowhere") !=
        std::string::npos);
  CHECK(wrong({.models = {{.name = "a"}, {.name = "a"}}}).find("listed twice") !=
        std::string::npos);
  CHECK(wrong({.secrets = {"GPUMCP_NO_SUCH"}}).find("GPUMCP_NO_SUCH") != std::string::npos);
  CHECK(wrong({}, "../x").find("cannot be named") != std::string::npos);
  ScopedSandbox first({}, "taken");
  first.start();
  CHECK(wrong({}, "taken").find("there is a sandbox taken already") != std::string::npos);
}

TEST_CASE("stop() gives the GPU back, the next call takes it again, terminate() is for good") {
  Home home;
  ScopedSandbox sandbox({});
  sandbox.serve(home.write("interface.py", kPython));
  const int before = sandbox.status()["pid"].get<int>();
  sandbox.stop();
  CHECK(process_began(before).empty());
  CHECK(sandbox.status().is_null());
  value_of(sandbox.call("pid", mcp::Json::object()));
  CHECK(sandbox.status()["pid"] != before);
  sandbox.terminate();
  CHECK(sandbox.status().is_null());
  CHECK(error_of([&] { sandbox.call("pid", mcp::Json::object()); }).find("was terminated") !=
        std::string::npos);
  CHECK(error_of([&] { sandbox.start(); }).find("was terminated") != std::string::npos);
}

TEST_CASE("terminate() ends calls that run, even those that ignore it") {
  Home home;
  ScopedSandbox sandbox({.cancel_grace_s = 0.2});
  sandbox.serve(test_tools());
  const int worker = sandbox.status()["pid"].get<int>();
  std::thread caller([&] {
    try {
      sandbox.call("hang", mcp::Json::object());
    } catch (const SandboxError&) {
    }
  });
  while (sandbox.status()["calls_in_flight"] == 0) std::this_thread::yield();
  sandbox.terminate();
  caller.join();
  CHECK(process_began(worker).empty());
}

TEST_CASE("a detached sandbox is found by its name, by others and by fronts") {
  Home home;
  const auto file = home.write("interface.py", kPython);
  int64_t pid = 0;
  {
    ScopedSandbox sandbox({}, "kept");
    sandbox.serve(file, {.name = "tools"});
    pid = value_of(sandbox.call("pid", mcp::Json::object()));
    sandbox.detach();
  }
  {
    auto again = ScopedSandbox::attach("kept");
    CHECK(value_of(again->call("pid", mcp::Json::object())) == pid);
    CHECK(again->served()[0].name == "tools");
  }
  const auto called = run_captured({program_path().string(), "call", "pid", "--sandbox", "kept"});
  REQUIRE(called);
  CHECK(called->out.find(std::to_string(pid)) != std::string::npos);
  const auto refused = run_captured(
      {program_path().string(), "call", "pid", "--sandbox", "kept", "--device", "cpu"});
  CHECK(refused->err.find("leave out --device") != std::string::npos);
  ScopedSandbox::attach("kept")->terminate();
  CHECK(error_of([] { ScopedSandbox::attach("kept"); }).find("there is no sandbox kept") !=
        std::string::npos);
}

TEST_CASE("the name of a program that was killed is free again") {
  Home home;
  const pid_t child = fork();
  if (child == 0) {
    ScopedSandbox sandbox({}, "orphan");
    sandbox.start();
    raise(SIGKILL);
  }
  waitpid(child, nullptr, 0);
  CHECK(ScopedSandbox::list().empty());
  ScopedSandbox sandbox({}, "orphan");
  sandbox.start();
  CHECK(ScopedSandbox::list().size() == 1);
}

TEST_CASE("a hidden model is named in no result and no error") {
  Home home;
  const auto folder = home.runtime.path() / "org--secret-9b";
  fs::create_directory(folder);
  std::ofstream(folder / "config.json") << "{}";
  ScopedSandbox sandbox({.models = {{.name = "org/secret-9b", .path = folder, .hidden = true},
                                    {.name = "org/open-1b"}}});
  sandbox.serve(home.write("names.py",
                           "@expose\ndef path() -> str:\n    \"\"\"P.\"\"\"\n    return "
                           "get_model_path('org/secret-9b')\n"
                           "@expose\ndef fail() -> str:\n    \"\"\"F.\"\"\"\n    raise "
                           "ValueError('secret-9b and open-1b')\n"));
  const auto path = sandbox.call("path", mcp::Json::object());
  CHECK_FALSE(path.isError);
  CHECK(path.structuredContent.find("secret") == std::string::npos);
  CHECK(path.structuredContent.find("model") != std::string::npos);
  CHECK(text_of(path).find("secret") == std::string::npos);
  const std::string failed = text_of(sandbox.call("fail", mcp::Json::object()));
  CHECK(failed.find("secret") == std::string::npos);
  CHECK(failed.find("open-1b") != std::string::npos);
}

TEST_CASE("an interface that does not load in time is given up") {
  Home home;
  ScopedSandbox sandbox({.load_timeout_s = 0.3});
  const auto slow = home.write("slow.py",
                               "import threading\n@expose\ndef f() -> int:\n    \"\"\"F.\"\"\"\n"
                               "threading.Event().wait()\n");
  CHECK(error_of([&] { sandbox.serve(slow); }).find("was not loaded within 0.3 s") !=
        std::string::npos);
}

TEST_CASE("a call that takes longer than it may is ended and says so") {
  Home home;
  ScopedSandbox sandbox({.call_timeout_s = 0.3});
  sandbox.serve(
      home.write("wait.py",
                 "import time\n@expose\ndef wait(s: float) -> float:\n    \"\"\"Waits.\"\"\"\n"
                 "    time.sleep(s)\n    return s\n"));
  const auto late = sandbox.call("wait", {{"s", 600}});
  CHECK(late.isError);
  CHECK(text_of(late).find("took longer than the 0.3 s") != std::string::npos);
  CHECK_FALSE(sandbox.call("wait", {{"s", 0}}).isError);
}

TEST_CASE("a native tool's time is kept too, whether it looks at its context or not") {
  Home home;
  ScopedSandbox sandbox({.call_timeout_s = 0.3, .cancel_grace_s = 3});
  sandbox.serve(test_tools());
  const int worker = sandbox.status()["pid"].get<int>();
  CHECK(text_of(sandbox.call("sleep_ms", {{"ms", 600000}})) ==
        "sleep_ms failed: it took longer than the 0.3 s that a call may take");
  CHECK(sandbox.status()["pid"] == worker);
  const std::string hung = text_of(sandbox.call("hang", mcp::Json::object()));
  CHECK(hung.find("and does not end; its worker is replaced") != std::string::npos);
  // The worker goes a moment later; a call that it has begun in that moment may be lost with it.
  const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  for (bool other = false; !other;) {
    REQUIRE(std::chrono::steady_clock::now() < limit);
    const auto answer = sandbox.call("pid", mcp::Json::object());
    other = !answer.isError && value_of(answer) != worker;
  }
}

}  // namespace
}  // namespace gpumcp::sandbox

#include "sandbox/sandbox_config.h"

#include <fstream>

#include "sandbox/system_packages.h"
#include "tests/sandbox/support.h"

namespace gpumcp::sandbox {
namespace {

SandboxConfig sample() {
  SandboxConfig config;
  config.interfaces = {"/a/x.so", "/b/y.so"};
  config.models = {{.name = "org/model", .path = "/models/m"},
                   {.name = "org/other", .dtype = "bfloat16", .hidden = true},
                   {.name = "org/tuned", .adapter = "/adapters/a", .base = "org/model"}};
  config.model_idle_of = {{"org/other", kNever}};
  config.model_idle_s = 30;
  config.host_memory = 20'000'000'000;
  config.call_timeout_s = 600;
  config.start_timeout_s = kNever;
  config.device = "cuda:1";
  config.threads = 3;
  config.idle_s = 2.5;
  return config;
}

TEST_CASE("a configuration survives the way to the worker") {
  const SandboxConfig config = sample();
  const SandboxConfig back = SandboxConfig::from_json(config.to_json());
  CHECK(back.to_json() == config.to_json());
  CHECK(back.key() == config.key());
  SandboxConfig never = sample();
  never.idle_s.reset();
  CHECK_FALSE(SandboxConfig::from_json(never.to_json()).idle_s);
}

TEST_CASE("a broken configuration is refused, not guessed") {
  CHECK_THROWS_AS(SandboxConfig::from_json(mcp::Json::object()), std::invalid_argument);
  mcp::Json wrong = sample().to_json();
  wrong["models"] = 3;
  CHECK_THROWS_AS(SandboxConfig::from_json(wrong), std::invalid_argument);
}

TEST_CASE("whatever changes what a worker is changes its key") {
  const std::string key = sample().key();
  CHECK(key.size() == 12);
  auto differs = [&](auto change) {
    SandboxConfig config = sample();
    change(config);
    return config.key() != key;
  };
  CHECK(differs([](auto& c) { c.device = "cpu"; }));
  CHECK(differs([](auto& c) { c.models[0].path = "/elsewhere"; }));
  CHECK(differs([](auto& c) { c.interfaces.pop_back(); }));
  CHECK_FALSE(differs([](auto& c) { c.idle_s.reset(); }));  // a preference, not an identity
  CHECK_FALSE(differs([](auto& c) { c.cancel_grace_s = 1; }));
  CHECK_FALSE(differs([](auto& c) { c.call_timeout_s = kNever; }));
  CHECK(differs([](auto& c) { c.threads = 1; }));
  CHECK(differs([](auto& c) { c.models[1].hidden = false; }));
  CHECK(differs([](auto& c) { c.models[2].adapter = "/adapters/b"; }));
  CHECK(differs([](auto& c) { c.pin = {"org/model"}; }));
  setenv("CUDA_VISIBLE_DEVICES", "7", 1);
  CHECK(sample().key() != key);
  unsetenv("CUDA_VISIBLE_DEVICES");
  CHECK(sample().key() == key);
}

TEST_CASE("system packages are named as package managers name them") {
  for (const char* fine :
       {"libsndfile1", "g++", "git=1:2.39.5-0+deb12u2", "python3.11", "X11:amd64"})
    CHECK(system_package_problem(fine).empty());
  for (const char* wrong : {"", "-y", "a b", "$(reboot)", "a;b", "../x", "a\n"}) {
    CAPTURE(wrong);
    CHECK(system_package_problem(wrong).find("system package") == 0);
  }
  SandboxConfig config;
  config.system_packages = {"--force"};
  CHECK(config.problem().find("--force") != std::string::npos);
  config.system_packages = {"ffmpeg"};
  CHECK(config.problem().empty());
  CHECK(config.key() != SandboxConfig().key());
  CHECK(SandboxConfig::from_json(config.to_json()).system_packages == config.system_packages);
}

// A machine whose dpkg-query is this script, and that has no other program.
struct FakeMachine {
  TemporaryRuntime folder;
  const std::string path = std::getenv("PATH");
  explicit FakeMachine(const char* query) {
    const auto file = folder.path() / "dpkg-query";
    std::ofstream(file) << "#!/bin/sh\n" << query;
    std::filesystem::permissions(file, std::filesystem::perms::owner_all);
    setenv("PATH", folder.path().c_str(), 1);
  }
  ~FakeMachine() { setenv("PATH", path.c_str(), 1); }
};

TEST_CASE("a worker that may not install says what is missing, and the command for it") {
  const FakeMachine machine(
      "for last; do :; done\n[ $last = there ] && echo installed 1.2 && exit 0\n"
      "[ $last = removed ] && echo config-files 1.2 && exit 0\nexit 1\n");
  const auto ensure = [](std::vector<std::string> names) {
    const auto done =
        ensure_system_packages(names, false, [](auto) { FAIL("nothing is installed"); });
    return done ? std::string() : done.error().message;
  };
  CHECK(ensure({}).empty());
  CHECK(ensure({"there"}).empty());
  CHECK(ensure({"there=1.2"}).empty());
  CHECK(ensure({"there=1.3"}).find("apt-get install there=1.3") != std::string::npos);
  const std::string said = ensure({"there", "removed", "absent"});
  CHECK(said.find("removed, absent are missing on the machine where the worker runs") !=
        std::string::npos);
  CHECK(said.find("sudo apt-get install removed absent") != std::string::npos);
}

TEST_CASE("a machine without a package manager cannot be asked, and says so") {
  const FakeMachine machine("exit 1\n");
  std::filesystem::remove(machine.folder.path() / "dpkg-query");
  const auto done = ensure_system_packages({"ffmpeg"}, true, [](auto) {});
  REQUIRE_FALSE(done);
  CHECK(done.error().message.find("neither dpkg nor rpm") != std::string::npos);
}

}  // namespace
}  // namespace gpumcp::sandbox

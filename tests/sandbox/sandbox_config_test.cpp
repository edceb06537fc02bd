#include "sandbox/sandbox_config.h"

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

}  // namespace
}  // namespace gpumcp::sandbox

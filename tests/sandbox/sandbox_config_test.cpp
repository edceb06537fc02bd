#include "sandbox/sandbox_config.h"

#include "tests/sandbox/support.h"

namespace gpumcp::sandbox {
namespace {

SandboxConfig sample() {
  SandboxConfig config;
  config.interfaces = {"/a/x.so", "/b/y.so"};
  config.models = {{"org/model", "/models/m"}, {"org/other", ""}};
  config.default_model = "org/model";
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
  CHECK(differs([](auto& c) { c.models["org/model"] = "/elsewhere"; }));
  CHECK(differs([](auto& c) { c.interfaces.pop_back(); }));
  CHECK_FALSE(differs([](auto& c) { c.idle_s.reset(); }));  // a preference, not an identity
  CHECK_FALSE(differs([](auto& c) { c.cancel_grace_s = 1; }));
  CHECK(differs([](auto& c) { c.threads = 1; }));
  setenv("CUDA_VISIBLE_DEVICES", "7", 1);
  CHECK(sample().key() != key);
  unsetenv("CUDA_VISIBLE_DEVICES");
  CHECK(sample().key() == key);
}

}  // namespace
}  // namespace gpumcp::sandbox

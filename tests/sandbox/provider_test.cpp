#include "sandbox/provider.h"

#include <algorithm>

#include "tests/sandbox/support.h"

namespace gpumcp::sandbox {
namespace {

using Words = std::vector<std::string>;

Words command_of(const std::string& text, SandboxConfig config = {}) {
  auto provider = Provider::parse(text);
  REQUIRE(provider);
  return provider->start_command(config, "job-1");
}

bool has(const Words& words, const std::string& word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

TEST_CASE("words are split as a shell does, and nothing is expanded") {
  CHECK(split_words("a  b\tc") == Words{"a", "b", "c"});
  CHECK(split_words(R"('a b' "c \"d" e\ f '' g"h"i)") == Words{"a b", "c \"d", "e f", "", "ghi"});
  CHECK(split_words("$HOME `x` *") == Words{"$HOME", "`x`", "*"});
  CHECK_FALSE(split_words("a 'b"));
}

TEST_CASE("a word that a shell would read otherwise is quoted") {
  CHECK(shell_word("/usr/bin/x-1.2") == "/usr/bin/x-1.2");
  CHECK(shell_word("it's $x") == R"('it'\''s $x')");
  CHECK(shell_word("") == "''");
  for (const std::string text : {"a b", "it's", "\"q\"", "$(x)", ";", ""}) {
    CAPTURE(text);
    CHECK(split_words(shell_word(text)) == Words{text});
  }
}

TEST_CASE("what is no provider is refused with what was expected") {
  for (const char* text :
       {"docker", "ssh", "ssh:", "ssh:-v", "ssh:a b", "command:", "command:'x", "slurm:'x"}) {
    CAPTURE(text);
    auto provider = Provider::parse(text);
    REQUIRE_FALSE(provider);
    CHECK(provider.error().message.find(text) != std::string::npos);
    CHECK(provider.error().message.find("expected") + provider.error().message.find("closed") !=
          2 * std::string::npos);
  }
  CHECK(Provider::parse("local")->kind == Provider::Kind::local);
}

TEST_CASE("a template is filled in word by word") {
  SandboxConfig config;
  config.gpu = "a100 80GB";
  config.gpu_count = 2;
  const Words words =
      command_of("command:docker run -i --gpus {gpu_count} -e 'GPU={gpu}' image {worker}", config);
  CHECK(words.front() == "docker");
  CHECK(has(words, "2"));
  CHECK(has(words, "GPU=a100 80GB"));
  CHECK(words[words.size() - 2] == "worker");
  CHECK(words.back() == "--config-stdin");
  const Words shell = command_of("command:sh -c 'exec {worker}'", config);
  REQUIRE(shell.size() == 3);
  CHECK(shell[2].ends_with("worker --config-stdin"));
}

TEST_CASE("Slurm is asked for the sandbox's GPUs, and its job can be taken back") {
  SandboxConfig config;
  config.gpu = "a100";
  config.gpu_count = 4;
  const Words words = command_of("slurm:--partition=gpu --time=10", config);
  CHECK(words.front() == "srun");
  CHECK(has(words, "--gres=gpu:a100:4"));
  CHECK(has(words, "--partition=gpu"));
  CHECK(has(words, "--job-name=job-1"));
  config.gpu_count = 0;
  for (auto& word : command_of("slurm", config)) CHECK(word.find("gres") == std::string::npos);
  CHECK(Provider::parse("slurm")->cancel_command("job-1")->back() == "--name=job-1");
  CHECK_FALSE(Provider::parse("ssh:host")->cancel_command("job-1"));
}

// As docs/sandbox.md shows them; tests/program/test_sandbox_doc.py runs those.
TEST_CASE(
    "the template for Docker gives a container that is this sandbox's, and one word a setting") {
  SandboxConfig config;
  config.gpu_count = 2;
  const Words words = command_of(
      "command:docker run --rm -i --init --network=none --gpus {gpu_count} "
      "--name gpumcp-{key} -v gpumcp-models:/models:ro -e GPUMCP_MODELS=/models "
      "registry.example/gpumcp:0.1 gpumcp worker --config-stdin",
      config);
  CHECK(words == Words{"docker", "run", "--rm", "-i", "--init", "--network=none", "--gpus", "2",
                       "--name", "gpumcp-" + config.key(), "-v", "gpumcp-models:/models:ro", "-e",
                       "GPUMCP_MODELS=/models", "registry.example/gpumcp:0.1", "gpumcp", "worker",
                       "--config-stdin"});
}

TEST_CASE("the template for Kubernetes asks for GPUs in JSON, and its quotes survive") {
  SandboxConfig config;
  config.gpu_count = 4;
  config.gpu = "a100";
  const Words words = command_of(
      R"(command:kubectl run gpumcp-{key} --rm -i --quiet --restart=Never --pod-running-timeout=30m )"
      R"(--image=registry.example/gpumcp:0.1 --overrides='{"spec":{"nodeSelector":{"gpu":"{gpu}"},)"
      R"("containers":[{"name":"gpumcp-{key}","image":"registry.example/gpumcp:0.1","stdin":true,)"
      R"("stdinOnce":true,"command":["gpumcp","worker","--config-stdin"],)"
      R"("resources":{"limits":{"nvidia.com/gpu":"{gpu_count}"}}}]}}')",
      config);
  REQUIRE(words.size() == 10);
  CHECK(words[2] == "gpumcp-" + config.key());
  REQUIRE(words[9].starts_with("--overrides="));
  const auto pod = mcp::parse_json(words[9].substr(12));
  REQUIRE(pod);
  const mcp::Json& container = (*pod)["spec"]["containers"][0];
  CHECK((*pod)["spec"]["nodeSelector"]["gpu"] == "a100");
  CHECK(container["resources"]["limits"]["nvidia.com/gpu"] == "4");
  CHECK(container["command"].back() == "--config-stdin");
}

TEST_CASE("what a sandbox is called reaches no shell, whatever it holds") {
  SandboxConfig config;
  config.gpu = "a100; touch /tmp/x $(id) `id` 'q' \"p\" \n|&";
  const Words words = command_of("command:run --gpu={gpu} '{gpu}' {worker}", config);
  CHECK(words[1] == "--gpu=" + config.gpu);
  CHECK(words[2] == config.gpu);
  CHECK(command_of("slurm", config)[7] == "--gres=gpu:" + config.gpu + ":1");
}

TEST_CASE("ssh gets the host as a word of its own, and options that never ask") {
  const Words words = command_of("ssh:me@gpu1");
  const auto host = std::find(words.begin(), words.end(), "me@gpu1");
  REQUIRE(host != words.end());
  CHECK(*(host - 1) == "--");
  CHECK(has(words, "BatchMode=yes"));
  CHECK(words.back().starts_with("sh -c "));
}

}  // namespace
}  // namespace gpumcp::sandbox

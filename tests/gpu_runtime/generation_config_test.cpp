// generation_config.json as transformers reads it, and what a caller may ask for.
#include "gpu_runtime/generation/generation_config.h"

#include <doctest/doctest.h>

#include "support.h"

using namespace gpumcp::gpu_runtime;

namespace {

GenerationConfig read(const std::string& generation, const std::string& config = "{}") {
  const TemporaryFolder folder;
  folder.write("config.json", config);
  if (!generation.empty()) folder.write("generation_config.json", generation);
  return GenerationConfig::from_pretrained(folder.path());
}

using Ids = std::vector<std::int32_t>;

}  // namespace

TEST_CASE("what the folder says is read") {
  const GenerationConfig config = read(
      R"({"do_sample": true, "temperature": 0.6, "top_p": 0.9, "top_k": 20, "min_p": 0.1,
          "repetition_penalty": 1.05, "eos_token_id": [7, 9], "bos_token_id": 1,
          "max_new_tokens": 99, "transformers_version": "4.40"})",
      R"({"eos_token_id": 3})");
  CHECK(config.do_sample);
  CHECK(config.temperature == 0.6);
  CHECK(config.top_p == 0.9);
  CHECK(config.top_k == 20);
  CHECK(config.min_p == 0.1);
  CHECK(config.repetition_penalty == 1.05);
  CHECK(config.max_new_tokens == 99);
  CHECK(config.eos_token_id == Ids{7, 9});
  CHECK(!config.greedy());
}

TEST_CASE(
    "without the file, and for its nulls, the defaults hold; end tokens come from config.json") {
  for (const char* text : {"", "{}", R"({"eos_token_id": null, "temperature": null})"}) {
    const GenerationConfig config = read(text, R"({"eos_token_id": 3})");
    CHECK(config.greedy());
    CHECK(config.top_k == 50);
    CHECK(config.max_new_tokens == 256);
    CHECK(config.eos_token_id == Ids{3});
  }
  CHECK(read("", R"({"text_config": {"eos_token_id": [1, 106]}})").eos_token_id == Ids{1, 106});
  CHECK(read("").eos_token_id.empty());
}

TEST_CASE("a broken file is refused by its name and key") {
  auto said = [](const std::string& text) {
    return message_of(ErrorCode::corrupt_checkpoint, [&] { read(text); });
  };
  CHECK(contains(said("{"), "generation_config.json"));
  CHECK(contains(said(R"({"temperature": -1})"), "temperature"));
  CHECK(contains(said(R"({"eos_token_id": "</s>"})"), "\"eos_token_id\" must be a token id"));
  CHECK(contains(said(R"({"eos_token_id": [1, -2]})"), "eos_token_id"));
  CHECK(contains(said(R"({"do_sample": 1})"), "do_sample"));
  CHECK(contains(said(R"({"repetition_penalty": 0})"), "more than 0"));
}

TEST_CASE("a caller's options go before the folder's") {
  GenerationConfig folder;
  folder.do_sample = true;
  folder.temperature = 0.6;
  folder.eos_token_id = {2};
  CHECK(!folder.with({}).greedy());
  CHECK(folder.with({.temperature = 0}).greedy());
  CHECK(folder.with({.do_sample = false}).greedy());
  CHECK(folder.with({.max_new_tokens = 5, .top_p = 0.5}).max_new_tokens == 5);
  CHECK(folder.with({.eos_token_id = Ids{}}).eos_token_id.empty());
  const GenerationConfig asked = GenerationConfig().with({.temperature = 0.7});
  CHECK(!asked.greedy());  // a temperature asks for sampling
  CHECK(GenerationConfig().with({.do_sample = false, .temperature = 0.7}).greedy());
}

TEST_CASE("what is out of range is refused by name, value and range") {
  auto said = [](const GenerationOptions& options) {
    return message_of(ErrorCode::invalid_argument, [&] { GenerationConfig().with(options); });
  };
  CHECK(contains(said({.max_new_tokens = 0}), "max_new_tokens is 0: expected 1 or more"));
  CHECK(contains(said({.temperature = -0.5}), "temperature is -0.5: expected 0"));
  CHECK(contains(said({.top_k = -1}), "top_k is -1"));
  CHECK(contains(said({.top_p = 0}), "top_p is 0: expected more than 0"));
  CHECK(contains(said({.top_p = 1.5}), "top_p is 1.5"));
  CHECK(contains(said({.min_p = 2}), "min_p is 2"));
  CHECK(contains(said({.repetition_penalty = 0}), "repetition_penalty is 0"));
  CHECK(contains(said({.stop = {""}}), "a stop string of 0 bytes"));
  CHECK(contains(said({.stop = std::vector<std::string>(17, "x")}), "17 stop strings"));
}

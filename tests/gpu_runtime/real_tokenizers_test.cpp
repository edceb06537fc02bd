// The real tokenizers of Gemma 2 and 3, GPT-2, Llama 3, Qwen 3 and SmolLM2 against what Hugging
// Face's package made of the same texts (tests/golden/tokenizers/make.py).
#include <doctest/doctest.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "gpu_runtime/tokenizer.h"
#include "tests/gpu_runtime/minilm.h"

using namespace gpumcp::gpu_runtime;

namespace {

using Ids = std::vector<std::int32_t>;

// $GPUMCP_TEST_TOKENIZERS, else where scripts/fetch tokenizers puts them.
std::filesystem::path tokenizers_folder() {
  if (const char* given = std::getenv("GPUMCP_TEST_TOKENIZERS"); given && *given) return given;
  return ModelStoreOptions::from_process().cache / "tokenizers-3.7.2";
}

void check_against_golden(const std::string& name, const std::filesystem::path& folder) {
  CAPTURE(name);
  const Tokenizer tokenizer = Tokenizer::from_pretrained(folder);
  const auto texts = golden_lines("minilm/texts.jsonl");
  const auto golden = golden_lines("tokenizers/" + name + ".jsonl");
  REQUIRE(golden.size() == texts.size());
  std::vector<std::string> batch;
  for (const Json& text : texts) batch.push_back(text["text"].get<std::string>());
  const auto encoded = tokenizer.encode_batch(std::span<const std::string>(batch), {}, 3);
  for (std::size_t i = 0; i < texts.size(); ++i) {
    CAPTURE(i);
    const std::string& text = batch[i];
    const Ids expected = golden[i]["ids"].get<Ids>();
    Ids with_front = golden[i]["front"].get<Ids>();
    with_front.insert(with_front.end(), expected.begin(), expected.end());
    CHECK(tokenizer.encode(text, {.add_special_tokens = false}).ids == expected);
    const Encoding tracked = tokenizer.encode(text, {.return_offsets = true});
    CHECK(tracked.ids == with_front);
    CHECK(tracked.offsets.size() == with_front.size());
    CHECK(encoded[i].ids == with_front);

    const std::string decoded = golden[i].value("decoded", text);
    CHECK(tokenizer.decode(expected, false) == decoded);
    CHECK(tokenizer.decode(expected, true) == golden[i].value("decoded_skip", decoded));
    StreamDecoder stream(tokenizer, false);
    std::string shown;
    for (const std::int32_t id : expected) shown += stream.push(id);
    CHECK(shown + stream.finish() == decoded);
  }
}

}  // namespace

TEST_CASE("the real tokenizers give Hugging Face's ids and texts") {
  const auto folder = tokenizers_folder();
  if (!std::filesystem::exists(folder)) {
    FAIL(folder.string(), " is not here: run scripts/fetch tokenizers, or set ",
         "GPUMCP_TEST_TOKENIZERS to a folder with gemma2/, gemma3/, gpt2/, llama3/, qwen3/");
  }
  for (const std::string name : {"gemma2", "gemma3", "gpt2", "llama3", "qwen3"})
    check_against_golden(name, folder / name);
}

TEST_CASE("SmolLM2's tokenizer gives Hugging Face's ids and texts") {
  const ModelPath model = ModelStore().find("HuggingFaceTB/SmolLM2-135M-Instruct");
  std::filesystem::path folder = model.folder;
  if (!model.found()) folder = tokenizers_folder() / "smollm2";
  if (!std::filesystem::exists(folder / "tokenizer.json")) {
    MESSAGE("skipped: HuggingFaceTB/SmolLM2-135M-Instruct is not on this machine");
    return;
  }
  check_against_golden("smollm2", folder);
}

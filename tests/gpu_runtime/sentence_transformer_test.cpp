// all-MiniLM-L6-v2 against what sentence-transformers makes of the same 347 texts
// (tests/golden/minilm).
#include "gpu_runtime/sentence_transformer.h"

#include <doctest/doctest.h>

#include <future>

#include "gpu_runtime/call_scope.h"
#include "gpu_runtime/tensors.h"
#include "minilm_golden.h"
#include "support.h"

using namespace gpumcp::gpu_runtime;

namespace {

constexpr float kTolerance = 1e-6f;

SentenceTransformer minilm() {
  return SentenceTransformer::from_pretrained(ModelPath(minilm_folder()), {}, &cpu_runtime());
}

}  // namespace

TEST_CASE("single texts give the golden embeddings, all 347") {
  const GoldenRows golden = golden_rows("minilm/embeddings.npy");
  const auto texts = golden_texts();
  REQUIRE(texts.size() == golden.rows);
  const SentenceTransformer model = minilm();
  float most = 0;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const std::vector<float> vector = to_vector(model.encode(texts[i]).vectors);
    REQUIRE(vector.size() == golden.dims);
    const float difference = max_difference(vector.data(), golden[i], golden.dims);
    CHECK_MESSAGE(difference <= kTolerance, "text ", i);
    most = std::max(most, difference);
  }
  MESSAGE("max abs difference, single: ", most);
}

TEST_CASE("a batch of mixed lengths gives the golden embeddings, and each row is its single row") {
  const GoldenRows golden = golden_rows("minilm/embeddings.npy");
  const auto texts = golden_texts();
  const SentenceTransformer model = minilm();
  const SentenceEmbeddings batch = model.encode(texts);
  const std::vector<float> all = to_vector(batch.vectors);
  REQUIRE(all.size() == golden.values.size());
  float most = 0, from_single = 0;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    most = std::max(most, max_difference(&all[i * golden.dims], golden[i], golden.dims));
    if (i % 7 == 0) {
      const std::vector<float> single = to_vector(model.encode(texts[i]).vectors);
      from_single =
          std::max(from_single, max_difference(&all[i * golden.dims], single.data(), golden.dims));
    }
  }
  MESSAGE("max abs difference, batched: ", most, ", from the single row: ", from_single);
  CHECK(most <= kTolerance);
  CHECK(from_single <= kTolerance);
}

TEST_CASE("without normalisation the golden means come out") {
  const GoldenRows golden = golden_rows("minilm/raw_mean.npy");
  const std::vector<float> all = to_vector(minilm().encode(golden_texts(), {.raw = true}).vectors);
  REQUIRE(all.size() == golden.values.size());
  float most = 0;  // in units of each row's length, as it counts for the normalised vectors
  for (std::size_t i = 0; i < golden.rows; ++i) {
    float norm = 0;
    for (std::size_t k = 0; k < golden.dims; ++k) norm += golden[i][k] * golden[i][k];
    most = std::max(
        most, max_difference(&all[i * golden.dims], golden[i], golden.dims) / std::sqrt(norm));
  }
  MESSAGE("max abs difference over the row's norm, raw means: ", most);
  CHECK(most <= kTolerance);
}

TEST_CASE("a text beyond the model's 256 tokens is cut, and the result and the usage say so") {
  std::string text;
  for (int i = 0; i < 200'000; ++i) text += "word ";  // 1 MB
  CallScope scope;
  const SentenceEmbeddings result = minilm().encode(text);
  CHECK(result.tokens == std::vector<std::int64_t>{256});
  CHECK(result.truncated == std::vector<bool>{true});
  CHECK(result.tokens_before == std::vector<std::int64_t>{200'002});
  CHECK(scope.usage().truncated == 1);
  CHECK(scope.usage().tokens == 256);
  CHECK(scope.usage().tokenize_ms > 0);
}

TEST_CASE("empty text, NUL and spaces are vectors; invalid UTF-8 is an error that names the byte") {
  const SentenceTransformer model = minilm();
  const auto empty = to_vector(model.encode("").vectors);
  CHECK(empty == to_vector(model.encode(std::string("\0 \t", 3)).vectors));
  message_of(ErrorCode::invalid_argument, [&] { model.encode("abc\xff"); });
  CHECK(model.encode(std::span<const std::string>{}).vectors.numel() == 0);
}

TEST_CASE("an unknown prompt is refused") {
  message_of(ErrorCode::invalid_argument, [] { minilm().encode("x", {.prompt_name = "query"}); });
}

TEST_CASE("threads that call at once share batches and get their own vectors") {
  const GoldenRows golden = golden_rows("minilm/embeddings.npy");
  const auto texts = golden_texts();
  const SentenceTransformer model = minilm();
  std::vector<std::future<float>> calls;
  for (std::size_t t = 0; t < 8; ++t) {
    calls.push_back(std::async(std::launch::async, [&, t] {
      float most = 0;
      for (std::size_t i = t; i < 64; i += 8) {
        most = std::max(most, max_difference(to_vector(model.encode(texts[i]).vectors).data(),
                                             golden[i], golden.dims));
      }
      return most;
    }));
  }
  for (auto& call : calls) CHECK(call.get() <= kTolerance);
}

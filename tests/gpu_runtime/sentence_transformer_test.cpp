// all-MiniLM-L6-v2 against what sentence-transformers makes of the same 347 texts
// (tests/golden/minilm).
#include "gpu_runtime/sentence_transformer.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
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

TEST_CASE("dims keeps the first values at length one, and no more than there are") {
  const at::Tensor whole = minilm().encode("hello world").vectors;
  const at::Tensor cut = minilm().encode("hello world", {.dims = 64}).vectors;
  REQUIRE(cut.sizes() == at::IntArrayRef({1, 64}));
  const at::Tensor expected = whole.slice(1, 0, 64) / whole.slice(1, 0, 64).norm(2, 1, true);
  CHECK((cut - expected).abs().max().item<double>() <= 1e-6);
  const at::Tensor raw = minilm().encode("hello world", {.raw = true}).vectors;
  const at::Tensor raw_cut = minilm().encode("hello world", {.raw = true, .dims = 64}).vectors;
  CHECK((raw_cut - raw.slice(1, 0, 64)).abs().max().item<double>() <= 1e-6);
  CHECK(contains(
      message_of(ErrorCode::invalid_argument, [] { minilm().encode("x", {.dims = 385}); }), "384"));
  CHECK(minilm().dims() == 384);
}

TEST_CASE("a long text's mean is that of its windows, weighted by their tokens") {
  const auto words = [](int n) {
    std::string text;
    for (int i = 0; i < n; ++i) text += "hello ";
    return text;
  };
  // 256 tokens, two of them special: windows of 254, 254 and 92 words.
  const std::vector<std::string> windows = {words(254), words(254), words(92)};
  const at::Tensor raw = minilm().encode(windows, {.raw = true}).vectors;
  at::Tensor mean = (raw[0] * 256 + raw[1] * 256 + raw[2] * 94) / 606;
  mean = mean / mean.norm();
  const std::vector<std::string> texts = {"short", words(600)};
  const auto encoded = minilm().encode(texts, {.long_text = LongText::mean});
  CHECK((encoded.vectors[1] - mean).abs().max().item<double>() <= 2e-6);
  CHECK(encoded.tokens == std::vector<std::int64_t>{3, 606});
  CHECK(encoded.truncated == std::vector<bool>{false, false});
  const auto cut = minilm().encode(texts);
  CHECK((encoded.vectors[0] - cut.vectors[0]).abs().max().item<double>() <= 2e-6);
  CHECK((encoded.vectors[1] - cut.vectors[1]).abs().max().item<double>() > 1e-4);
  CHECK(cut.truncated == std::vector<bool>{false, true});
}

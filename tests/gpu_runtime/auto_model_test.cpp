// AutoModel and AutoTokenizer as an author uses them (design 5), on the real MiniLM.
#include "gpu_runtime/auto_model.h"

#include <ATen/ops/mean.h>
#include <doctest/doctest.h>

#include "gpu_runtime/auto_tokenizer.h"
#include "gpu_runtime/tensors.h"
#include "minilm_golden.h"
#include "support.h"

using namespace gpumcp::gpu_runtime;

TEST_CASE("the author's lines give the golden mean of the last hidden state") {
  const ModelPath model_path(minilm_folder());
  auto model = AutoModel::from_pretrained(model_path, {}, &cpu_runtime());
  auto tokenizer = AutoTokenizer::from_pretrained(model_path, &cpu_runtime());
  const GoldenRows golden = golden_rows("minilm/raw_mean.npy");
  const auto texts = golden_texts();
  for (std::size_t i : {0, 5, 40}) {
    auto inputs = tokenizer(texts[i]).to(model.device());
    auto outputs = model(inputs, {.output_hidden_states = true});
    CHECK(outputs.hidden_states.size() == 7);
    auto embedding = outputs.hidden_states.back().mean(1).squeeze();
    CHECK(max_difference(to_vector(embedding).data(), golden[i], golden.dims) <= 1e-6f);
    CHECK(to_vector(embedding.slice(0, 0, 10)).size() == 10);
    CHECK(outputs.last_hidden_state.equal(outputs.hidden_states.back()));
  }
}

TEST_CASE("config and device are there without loading weights") {
  RuntimeOptions options;
  options.device = "cpu";
  options.loader = [](auto&&...) -> std::unique_ptr<BatchModel> {
    throw Error(ErrorCode::internal, "no weights, please");
  };
  Runtime runtime(options);
  auto model = AutoModel::from_pretrained(minilm_folder(), {}, &runtime);
  CHECK(model.config().num_hidden_layers == 6);
  CHECK(model.config().hidden_size == 384);
  CHECK(model.config().vocab_size == 30522);
  CHECK(model.config()["hidden_act"] == "gelu");
  message_of(ErrorCode::not_found, [&] { model.config()["no_such_key"]; });
  CHECK(model.device().str() == "cpu");
}

TEST_CASE("from_pretrained of a model that is nowhere is no error until the first call") {
  ModelPath nowhere;
  nowhere.name = "nobody/has-this-model";
  auto model = AutoModel::from_pretrained(nowhere, {}, &cpu_runtime());
  auto tokenizer = AutoTokenizer::from_pretrained(nowhere, &cpu_runtime());
  CHECK(contains(message_of(ErrorCode::not_found, [&] { tokenizer("x"); }), "gpumcp pull"));
}

TEST_CASE("texts of unequal length come as one tensor with zeros behind the shorter") {
  const ModelPath path(minilm_folder());
  auto model = AutoModel::from_pretrained(path, {}, &cpu_runtime());
  auto tokenizer = AutoTokenizer::from_pretrained(path, &cpu_runtime());
  const std::vector<std::string> texts{"one", "rather more words than one"};
  auto outputs = model(tokenizer(texts));
  CHECK(outputs.last_hidden_state.sizes() == at::IntArrayRef({2, 7, 384}));
  CHECK(to_vector(outputs.last_hidden_state.select(0, 0).slice(0, 3)) ==
        std::vector<float>(4 * 384, 0.0f));
  CHECK(outputs.hidden_states.empty());
}

TEST_CASE("AutoTokenizer cuts at what the model takes") {
  auto tokenizer = AutoTokenizer::from_pretrained(minilm_folder(), &cpu_runtime());
  std::string text;
  for (int i = 0; i < 1000; ++i) text += "word ";
  CHECK(tokenizer(text)[0].size() == 512);
  CHECK(tokenizer(text, {.max_length = 16})[0].truncated);
  CHECK(tokenizer.decode(tokenizer("hello world")[0].ids) == "hello world");
}

TEST_CASE("a tensor becomes an artifact and comes back") {
  ArtifactStore store;
  const ModelPath path(minilm_folder());
  auto model = AutoModel::from_pretrained(path, {}, &cpu_runtime());
  auto tokenizer = AutoTokenizer::from_pretrained(path, &cpu_runtime());
  const at::Tensor tensor = model(tokenizer("hello world")).last_hidden_state;
  const ArtifactInfo info = put_tensor(store, tensor, "hello");
  CHECK(info.shape == std::vector<std::int64_t>{1, 4, 384});
  CHECK(info.dtype == "float32");
  CHECK(get_tensor(store, info.uri).equal(tensor));
}

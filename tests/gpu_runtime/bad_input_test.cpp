// What callers and files may do wrong, where no other test of a part has it; and calls that are
// given up at every stage: queued (model_executor_test), tokenising, loading (weight_reader_test),
// running.
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <doctest/doctest.h>

#include "gpu_runtime/auto_model.h"
#include "gpu_runtime/call_scope.h"
#include "gpu_runtime/model_loader.h"
#include "gpu_runtime/safetensors.h"
#include "gpu_runtime/sentence_transformer.h"
#include "minilm.h"
#include "tiny_models.h"

using namespace gpumcp::gpu_runtime;

TEST_CASE("a batch of any architecture ends between its layers once nobody wants it") {
  const c10::InferenceMode inference;
  for (const auto& names : {kTinyDecoders, kTinyEncoders}) {
    for (const std::string& name : names) {
      CAPTURE(name);
      const auto model = load_model({.folder = tiny_folder(name)});
      const TokenRow row = tiny_row(name);
      const Want want{.last_hidden_state = true};
      RowResult result;
      const BatchRow one{&row, &want, &result};
      int asked = 0;
      message_of(ErrorCode::cancelled, [&] { model->run({&one, 1}, [&] { return ++asked < 2; }); });
      CHECK(asked == 2);
      CHECK_FALSE(result.last_hidden_state.defined());
      model->run({&one, 1}, [] { return true; });
      CHECK(result.last_hidden_state.defined());
    }
  }
}

TEST_CASE("a call that is given up while its texts are tokenised ends between two of them") {
  const Tokenizer tokenizer = Tokenizer::from_pretrained(minilm_folder());
  const std::vector<std::string> texts(20'000, std::string(2000, 'x') + " and some words more");
  const auto soon = std::chrono::steady_clock::now() + std::chrono::milliseconds(2);
  const CallScope scope({.deadline = soon});
  message_of(ErrorCode::deadline, [&] { tokenize(tokenizer, texts, {}); });
  const std::vector<std::string> few(texts.begin(), texts.begin() + 2);
  std::stop_source stop;
  stop.request_stop();
  const CallScope left({.stop = stop.get_token()});
  message_of(ErrorCode::cancelled, [&] { tokenize(tokenizer, few, {}); });
  message_of(ErrorCode::cancelled, [&] { tokenize_pairs(tokenizer, "query", few, {}); });
}

TEST_CASE("no texts are an error, or no vectors") {
  const auto model =
      AutoModelForCausalLM::from_pretrained(tiny_folder("llama"), {}, &cpu_runtime());
  const std::vector<TokenRow> none;
  CHECK(contains(message_of(ErrorCode::invalid_argument, [&] { model(none); }), "at least one"));
  CHECK(contains(message_of(ErrorCode::invalid_argument,
                            [&] { model.generate(BatchEncoding({}), GenerationOptions{}); }),
                 "at least one"));
  const std::vector<TokenRow> empty{{{}, {}}};
  CHECK(contains(message_of(ErrorCode::invalid_argument, [&] { model(empty); }), "without tokens"));
  const auto sentences =
      SentenceTransformer::from_pretrained(ModelPath(minilm_folder()), {}, &cpu_runtime());
  CHECK(sentences.encode(std::vector<std::string>()).vectors.numel() == 0);
}

TEST_CASE("ids beyond the vocabulary are refused with both numbers, and nobody else's call fails") {
  const auto model =
      AutoModelForCausalLM::from_pretrained(tiny_folder("llama"), {}, &cpu_runtime());
  for (const std::int32_t id : {-1, 96, 2'000'000'000}) {
    const std::vector<TokenRow> rows{{{1, id}, {}}};
    const std::string said = message_of(ErrorCode::invalid_argument, [&] { model(rows); });
    CHECK(contains(said, std::to_string(id)));
    CHECK(contains(said, "96"));
  }
  CHECK(model(std::vector<TokenRow>{{{1, 95}, {}}}).logits.defined());
}

TEST_CASE("weights that are no floating-point numbers are refused by name and type") {
  const TemporaryFolder folder;
  copy_tiny(folder, "llama", tiny_config("llama"));
  const auto file = SafetensorsFile::open(tiny_folder("llama") / "model.safetensors");
  std::vector<NamedArray> arrays;
  for (const TensorInfo& info : file->tensors()) {
    const Dtype dtype =
        info.name == "model.norm.weight" ? Dtype::i16 : info.dtype;  // as many bytes
    arrays.push_back({info.name, dtype, info.shape, file->data(info)});
  }
  folder.write("model.safetensors", write_safetensors(arrays));
  const auto model = AutoModel::from_pretrained(folder.path(), {}, &cpu_runtime());
  const std::string said =
      message_of(ErrorCode::corrupt_checkpoint, [&] { model(std::vector<TokenRow>{{{1}, {}}}); });
  CHECK(contains(said, "model.norm.weight"));
  CHECK(contains(said, "int16"));
  CHECK(contains(said, "floating point"));
}

TEST_CASE(
    "a call larger than the token budget is run in parts, with the numbers of each text alone") {
  RuntimeOptions options{.device = "cpu", .num_threads = 1};
  options.executor.token_budget = 16;
  Runtime runtime(std::move(options));
  const auto model = AutoModel::from_pretrained(tiny_folder("llama"), {}, &runtime);
  std::vector<TokenRow> rows;
  for (std::int32_t i = 0; i < 12; ++i) rows.push_back({std::vector<std::int32_t>(7, 3 + i), {}});
  const at::Tensor all = model(rows).last_hidden_state;
  CHECK(runtime.status()["models"][0]["batches"].get<int>() >= 6);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const at::Tensor alone = model(std::vector<TokenRow>{rows[i]}).last_hidden_state[0];
    CHECK((all[static_cast<std::int64_t>(i)] - alone).abs().max().item<float>() <= 1e-5f);
  }
}

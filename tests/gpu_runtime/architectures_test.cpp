// Every architecture against transformers on small random models, whose weights are large enough
// that one forgotten key of config.json moves the numbers far beyond the tolerance.
#include <doctest/doctest.h>

#include "gpu_runtime/auto_model.h"
#include "gpu_runtime/tensors.h"
#include "tiny_models.h"

using namespace gpumcp::gpu_runtime;

namespace {

constexpr float kTolerance = 1e-4f;

float difference(const std::vector<float>& got, const std::vector<float>& wanted) {
  REQUIRE(got.size() == wanted.size());
  return max_difference(got.data(), wanted.data(), got.size());
}

std::vector<float> joined(const std::vector<at::Tensor>& layers) {
  std::vector<float> all;
  for (const at::Tensor& layer : layers) {
    const std::vector<float> values = to_vector(layer);
    all.insert(all.end(), values.begin(), values.end());
  }
  return all;
}

void check_hidden_states(const std::string& name, const std::filesystem::path& folder) {
  auto model = AutoModel::from_pretrained(folder, {}, &cpu_runtime());
  const ModelOutputs outputs = model({tiny_row(name)}, {.output_hidden_states = true});
  const float most = difference(joined(outputs.hidden_states), tiny_values(name, "hidden.npy"));
  MESSAGE(name, ": hidden states differ by ", most);
  CHECK(most <= kTolerance);
  CHECK(outputs.last_hidden_state.equal(outputs.hidden_states.back()));
}

void check_logits(const std::string& name, const std::filesystem::path& folder) {
  auto model = AutoModelForCausalLM::from_pretrained(folder, {}, &cpu_runtime());
  const float most =
      difference(to_vector(model({tiny_row(name)}).logits), tiny_values(name, "logits.npy"));
  MESSAGE(name, ": logits differ by ", most);
  CHECK(most <= kTolerance);
}

}  // namespace

TEST_CASE("hidden states of every layer are transformers'") {
  for (const std::string& name : kTinyDecoders) check_hidden_states(name, tiny_folder(name));
  for (const std::string& name : kTinyEncoders) check_hidden_states(name, tiny_folder(name));
}

TEST_CASE("logits are transformers'") {
  for (const std::string& name : kTinyDecoders) check_logits(name, tiny_folder(name));
}

TEST_CASE("a config.json in the keys of transformers 4 means the same model") {
  int read = 0;
  for (const auto& names : {kTinyDecoders, kTinyEncoders}) {
    for (const std::string& name : names) {
      if (!std::filesystem::exists(tiny_folder(name) / "config.old.json")) continue;
      const TemporaryFolder folder;
      copy_tiny(folder, name, tiny_config(name, "config.old.json"));
      check_hidden_states(name, folder.path());
      ++read;
    }
  }
  CHECK(read == 8);
}

TEST_CASE("rows of a batch are what they are alone") {
  for (const auto& names : {kTinyDecoders, kTinyEncoders}) {
    for (const std::string& name : names) {
      auto model = AutoModel::from_pretrained(tiny_folder(name), {}, &cpu_runtime());
      const TokenRow whole = tiny_row(name);
      std::vector<TokenRow> rows;
      for (std::size_t length : {7, 40, 1, 12, 12, 25})
        rows.push_back(
            {{whole.ids.end() - static_cast<std::ptrdiff_t>(length), whole.ids.end()}, {}});
      const at::Tensor batch = model(rows).last_hidden_state;
      for (std::size_t i = 0; i < rows.size(); ++i) {
        const auto length = static_cast<std::int64_t>(rows[i].ids.size());
        const std::vector<float> together =
            to_vector(batch.select(0, static_cast<std::int64_t>(i)).narrow(0, 0, length));
        const float most = difference(together, to_vector(model({rows[i]}).last_hidden_state));
        CHECK_MESSAGE(most <= 2e-5f, name, " row ", i, " differs by ", most);
      }
    }
  }
}

TEST_CASE("bfloat16 weights stay near the float32 numbers") {
  for (const std::string name : {"llama", "gemma3", "mpnet"}) {
    auto model =
        AutoModel::from_pretrained(tiny_folder(name), {.dtype = "bfloat16"}, &cpu_runtime());
    const std::vector<float> half = to_vector(model({tiny_row(name, "short")}).last_hidden_state);
    auto wide = AutoModel::from_pretrained(tiny_folder(name), {}, &cpu_runtime());
    const float most =
        difference(half, to_vector(wide({tiny_row(name, "short")}).last_hidden_state));
    CHECK_MESSAGE(most <= 0.2f, std::string(name), " differs by ", most);
    CHECK(most > 0);
  }
}

TEST_CASE("asking an encoder for logits says that it predicts no tokens") {
  auto model = AutoModelForCausalLM::from_pretrained(tiny_folder("bert"), {}, &cpu_runtime());
  CHECK(contains(message_of(ErrorCode::unsupported, [&] { model({tiny_row("bert")}); }),
                 "no language model head"));
}

TEST_CASE("a text longer than the model's positions is refused with both numbers") {
  auto longest = [](const char* name) {
    auto model = AutoModel::from_pretrained(tiny_folder(name), {}, &cpu_runtime());
    TokenRow row;
    row.ids.assign(65, 5);
    return message_of(ErrorCode::invalid_argument, [&] { model({row}); });
  };
  CHECK(contains(longest("llama"), "a text of 65 tokens: the model takes at most 64"));
  CHECK(contains(longest("roberta"), "at most 62"));  // two positions are the padding's
}

TEST_CASE("what a config.json must not say is named with its key and value") {
  struct Case {
    const char *model, *key;
    Json value;
    const char* says;
    ErrorCode code;
  };
  const Json yarn{{"rope_type", "yarn"}, {"factor", 4.0}};
  for (const Case& c : std::initializer_list<Case>{
           {"llama", "model_type", "mamba", "\"mamba\" is not supported (supported: bert,",
            ErrorCode::unsupported},
           {"llama", "rope_parameters", yarn, "\"yarn\" is not supported", ErrorCode::unsupported},
           {"llama", "num_key_value_heads", 3, "no multiple of num_key_value_heads 3",
            ErrorCode::corrupt_checkpoint},
           {"llama", "head_dim", 7, "head_dim 7 is odd", ErrorCode::corrupt_checkpoint},
           {"llama", "vocab_size", 97, "has shape [96, 32], but config.json asks for [97, 32]",
            ErrorCode::corrupt_checkpoint},
           {"llama", "num_hidden_layers", 3, "no tensor \"model.layers.2.",
            ErrorCode::corrupt_checkpoint},
           {"gemma3", "layer_types", Json::array({"full_attention"}), "an array of 4 strings",
            ErrorCode::corrupt_checkpoint},
           {"gpt2", "n_head", 5, "n_embd 32 is no multiple of n_head 5",
            ErrorCode::corrupt_checkpoint},
           {"distilbert", "activation", "swoosh", "\"swoosh\"", ErrorCode::unsupported},
       }) {
    CAPTURE(c.key);
    const TemporaryFolder folder;
    Json config = tiny_config(c.model);
    config[c.key] = c.value;
    copy_tiny(folder, c.model, config);
    auto model = AutoModel::from_pretrained(folder.path(), {}, &cpu_runtime());
    CHECK(contains(message_of(c.code, [&] { model({tiny_row(c.model)}); }), c.says));
  }
}

TEST_CASE("a shard that is missing is named") {
  const TemporaryFolder folder;
  copy_tiny(folder, "qwen3", tiny_config("qwen3"));
  std::filesystem::remove(folder / "model-00002-of-00003.safetensors");
  auto model = AutoModel::from_pretrained(folder.path(), {}, &cpu_runtime());
  CHECK(contains(message_of(ErrorCode::not_found, [&] { model({tiny_row("qwen3")}); }),
                 "model-00002-of-00003.safetensors"));
}

TEST_CASE("config() knows the sizes under every family's keys") {
  auto sizes = [](const char* name) {
    const AutoConfig config =
        AutoModel::from_pretrained(tiny_folder(name), {}, &cpu_runtime()).config();
    return std::vector<std::int64_t>{config.num_hidden_layers, config.hidden_size,
                                     config.vocab_size};
  };
  CHECK(sizes("gpt2") == std::vector<std::int64_t>{2, 32, 96});
  CHECK(sizes("distilbert") == std::vector<std::int64_t>{2, 32, 96});
  CHECK(sizes("gemma2") == std::vector<std::int64_t>{3, 32, 96});
}

#include "gpu_runtime/auto_model.h"

#include <c10/core/InferenceMode.h>

#include <algorithm>

#include "gpu_runtime/error.h"
#include "gpu_runtime/models/registry.h"
#include "gpu_runtime/runtime.h"

namespace gpumcp::gpu_runtime {
namespace {

at::Tensor stack_rows(const std::vector<at::Tensor>& rows) {
  if (rows.size() == 1) return rows[0].unsqueeze(0);
  std::int64_t longest = 0;
  for (const at::Tensor& row : rows) longest = std::max(longest, row.size(0));
  at::Tensor all = at::zeros({static_cast<std::int64_t>(rows.size()), longest, rows[0].size(1)},
                             rows[0].options());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    all.select(0, static_cast<std::int64_t>(i)).narrow(0, 0, rows[i].size(0)).copy_(rows[i]);
  }
  return all;
}

template <class Pick>
at::Tensor stacked(const ModelResult& result, Pick&& pick) {
  std::vector<at::Tensor> rows;
  for (const RowResult& row : result.rows) rows.push_back(pick(row));
  return stack_rows(rows);
}

std::vector<at::Tensor> stacked_hidden_states(const ModelResult& result) {
  std::vector<at::Tensor> layers;
  for (std::size_t layer = 0; layer < result.rows[0].hidden_states.size(); ++layer) {
    layers.push_back(
        stacked(result, [&](const RowResult& row) { return row.hidden_states[layer]; }));
  }
  return layers;
}

ModelResult run(ResidentModel& model, std::vector<TokenRow> rows, const Want& want) {
  if (rows.empty()) throw Error(ErrorCode::invalid_argument, "a model needs at least one text");
  return model.run(std::move(rows), want);
}

// The first of the names that families have for one number.
std::int64_t number(const ModelConfig& config, std::initializer_list<const char*> keys) {
  for (const char* key : keys) {
    if (config.has(key)) return config.get_int(key, 0, std::int64_t{1} << 40);
  }
  return 0;
}

AutoConfig config_of(ResidentModel& model) {
  const ModelConfig& all = model.config();
  const ModelConfig text = all.has("text_config") ? all.get_object("text_config") : all;
  AutoConfig out{.model_type = all.model_type(),
                 .num_hidden_layers = number(text, {"num_hidden_layers", "n_layer", "n_layers"}),
                 .hidden_size = number(text, {"hidden_size", "n_embd", "dim"}),
                 .vocab_size = number(text, {"vocab_size"}),
                 .num_attention_heads = number(text, {"num_attention_heads", "n_head", "n_heads"}),
                 .num_key_value_heads = number(text, {"num_key_value_heads"}),
                 .head_dim = number(text, {"head_dim"}),
                 .intermediate_size = number(text, {"intermediate_size", "n_inner", "hidden_dim"}),
                 .json = all.json()};
  // As transformers fills them up.
  if (out.num_key_value_heads == 0) out.num_key_value_heads = out.num_attention_heads;
  if (out.head_dim == 0 && out.num_attention_heads > 0)
    out.head_dim = out.hidden_size / out.num_attention_heads;
  if (out.intermediate_size == 0 && all.model_type() == "gpt2")
    out.intermediate_size = 4 * out.hidden_size;
  return out;
}

}  // namespace

const Json& AutoConfig::operator[](const std::string& key) const {
  auto found = json.find(key);
  if (found == json.end())
    throw Error(ErrorCode::not_found, "config.json of this model has no \"" + key + "\"");
  return *found;
}

AutoModel AutoModel::from_pretrained(const ModelPath& path, const ModelOptions& options,
                                     Runtime* runtime) {
  return AutoModel((runtime != nullptr ? *runtime : Runtime::current()).model(path, options));
}

AutoConfig AutoModel::config() const { return config_of(*model_); }

ModelOutputs AutoModel::operator()(const BatchEncoding& inputs,
                                   const ModelCallOptions& options) const {
  return (*this)(inputs.token_rows(), options);
}

ModelOutputs AutoModel::operator()(std::vector<TokenRow> rows,
                                   const ModelCallOptions& options) const {
  const ModelResult result =
      run(*model_, std::move(rows),
          {.last_hidden_state = true, .hidden_states = options.output_hidden_states});
  c10::InferenceMode inference;
  return {.last_hidden_state =
              stacked(result, [](const RowResult& row) { return row.last_hidden_state; }),
          .hidden_states = stacked_hidden_states(result)};
}

bool is_language_model(const ModelPath& path) {
  const std::filesystem::path& folder = path.require();
  if (!std::filesystem::is_directory(folder)) return false;  // a module's file
  std::error_code ignored;
  if (std::filesystem::exists(folder / "modules.json", ignored)) return false;
  return predicts_text(ModelConfig::from_pretrained(folder));
}

AutoModelForCausalLM AutoModelForCausalLM::from_pretrained(const ModelPath& path,
                                                           const ModelOptions& options,
                                                           Runtime* runtime) {
  return AutoModelForCausalLM(
      (runtime != nullptr ? *runtime : Runtime::current()).model(path, options));
}

AutoConfig AutoModelForCausalLM::config() const { return config_of(*model_); }

CausalLMOutputs AutoModelForCausalLM::operator()(const BatchEncoding& inputs,
                                                 const ModelCallOptions& options) const {
  return (*this)(inputs.token_rows(), options);
}

CausalLMOutputs AutoModelForCausalLM::operator()(std::vector<TokenRow> rows,
                                                 const ModelCallOptions& options) const {
  const ModelResult result = run(*model_, std::move(rows),
                                 {.hidden_states = options.output_hidden_states, .logits = true});
  c10::InferenceMode inference;
  return {.logits = stacked(result, [](const RowResult& row) { return row.logits; }),
          .hidden_states = stacked_hidden_states(result)};
}

std::vector<std::vector<at::Tensor>> AutoModelForCausalLM::capture(
    std::vector<TokenRow> rows) const {
  ModelResult result = run(*model_, std::move(rows), {});
  std::vector<std::vector<at::Tensor>> out;
  for (RowResult& row : result.rows) out.push_back(std::move(row.captures));
  return out;
}

Generation AutoModelForCausalLM::generate(const std::string& prompt,
                                          const GenerationOptions& options,
                                          const OnText& on_text) const {
  // Not cut to the model's length: an answer to half a prompt is no answer.
  const BatchEncoding inputs(tokenize(model_->tokenizer(), {&prompt, 1}, {}));
  return std::move(generate(inputs, options, on_text).at(0));
}

std::vector<Generation> AutoModelForCausalLM::generate(const BatchEncoding& inputs,
                                                       const GenerationOptions& options,
                                                       const OnText& on_text) const {
  std::vector<std::vector<std::int32_t>> prompts;
  for (const Encoding& row : inputs.rows()) prompts.push_back(row.ids);
  return generate_texts(*model_, std::move(prompts), options, on_text);
}

std::vector<std::pair<std::int32_t, double>> AutoModelForCausalLM::next_tokens(
    TokenRow row, std::int64_t count) const {
  std::vector<TokenRow> rows{std::move(row)};
  const ModelResult result = run(*model_, std::move(rows), {.last_logits = true});
  c10::InferenceMode inference;
  const at::Tensor probabilities = at::softmax(result.rows[0].logits[0], 0);
  const std::int64_t most = std::min(std::max<std::int64_t>(count, 1), probabilities.size(0));
  auto [best, where] = at::topk(probabilities, most);
  best = best.cpu();
  where = where.cpu();
  std::vector<std::pair<std::int32_t, double>> out;
  for (std::int64_t i = 0; i < most; ++i) {
    out.emplace_back(static_cast<std::int32_t>(where.const_data_ptr<std::int64_t>()[i]),
                     best.const_data_ptr<float>()[i]);
  }
  return out;
}

std::vector<float> AutoModelForCausalLM::token_log_probabilities(TokenRow row) const {
  std::vector<TokenRow> rows{std::move(row)};
  const ModelResult result = run(*model_, std::move(rows), {.log_probabilities = true});
  const at::Tensor& values = result.rows[0].log_probabilities;
  const float* first = values.const_data_ptr<float>();
  return {first, first + values.size(0)};
}

}  // namespace gpumcp::gpu_runtime

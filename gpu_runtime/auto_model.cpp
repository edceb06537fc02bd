#include "gpu_runtime/auto_model.h"

#include <c10/core/InferenceMode.h>

#include <algorithm>

#include "gpu_runtime/error.h"
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

AutoConfig AutoModel::config() const {
  constexpr std::int64_t kMost = std::int64_t{1} << 40;
  const ModelConfig& config = model_->config();
  return {.model_type = config.model_type(),
          .num_hidden_layers = config.get_int("num_hidden_layers", 0, kMost, 0),
          .hidden_size = config.get_int("hidden_size", 0, kMost, 0),
          .vocab_size = config.get_int("vocab_size", 0, kMost, 0),
          .json = config.json()};
}

ModelOutputs AutoModel::operator()(const BatchEncoding& inputs,
                                   const ModelCallOptions& options) const {
  if (inputs.size() == 0)
    throw Error(ErrorCode::invalid_argument, "a model needs at least one text");
  ModelResult result =
      model_->run(inputs.token_rows(),
                  {.last_hidden_state = true, .hidden_states = options.output_hidden_states});
  c10::InferenceMode inference;
  auto stacked = [&](auto&& pick) {
    std::vector<at::Tensor> rows;
    for (const RowResult& row : result.rows) rows.push_back(pick(row));
    return stack_rows(rows);
  };
  ModelOutputs outputs;
  outputs.last_hidden_state = stacked([](const RowResult& row) { return row.last_hidden_state; });
  for (std::size_t layer = 0; layer < result.rows[0].hidden_states.size(); ++layer) {
    outputs.hidden_states.push_back(
        stacked([&](const RowResult& row) { return row.hidden_states[layer]; }));
  }
  return outputs;
}

}  // namespace gpumcp::gpu_runtime

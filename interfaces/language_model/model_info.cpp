// get_model_info: what the language model is, from its small files; never loads its weights.
#include "gpu_runtime/error.h"
#include "gpu_runtime/runtime.h"
#include "interfaces/language_model/language_model.h"
#include "interfaces/result_size.h"

namespace gpumcp::interfaces {
namespace {

struct LanguageModelInfo {
  std::string model, model_type;
  int64_t num_layers, hidden_size, num_heads, num_kv_heads, head_dim, intermediate_size, vocab_size;
  std::optional<int64_t> max_tokens;
  std::vector<int64_t> eos_token_id;
  bool chat, sample;
  std::string device, dtype;
  bool loaded;
  std::optional<std::vector<std::string>> adapters;
};
GPUMCP_DESCRIBE_DOC(
    LanguageModelInfo, (model, "The model's name."),
    (model_type, "Its architecture, as config.json says."), (num_layers, "Transformer layers."),
    (hidden_size, "Width of a layer."), (num_heads, "Attention heads of a layer."),
    (num_kv_heads, "Heads of its keys and values."), (head_dim, "Width of a head."),
    (intermediate_size, "Neurons of a layer."), (vocab_size, "Tokens that it knows."),
    (max_tokens, "Prompt and answer together have at most so many tokens."),
    (eos_token_id, "Tokens that end a text."), (chat, "true if it has a chat template."),
    (sample, "true if it samples where no temperature is given."), (device, "Where it runs."),
    (dtype, "The type of its weights there."), (loaded, "true while its weights are in memory."),
    (adapters, "LoRA adapters that calls may name, the first 10 that fit; the model's own first."))

constexpr size_t kShownAdapters = 10;

bool has_chat_template(const LanguageModel& lm) {
  try {
    lm.tokenizer.chat_template();
    return true;
  } catch (const gpu_runtime::Error& error) {
    if (error.code() == gpu_runtime::ErrorCode::unsupported) return false;
    throw;
  }
}

bool is_loaded(const ModelPath& path) {
  const auto status = gpu_runtime::Runtime::current().status();
  for (const auto& model : status["models"]) {
    if (model["name"] == path.name && model["folder"] == path.folder.string() &&
        model["state"] == "hot")
      return true;
  }
  return false;
}

}  // namespace

void expose_model_info(Interface& interface, const LanguageModel& lm) {
  interface.expose(
      {.name = "get_model_info",
       .description = "Describe the language model " + lm.name +
                      ": architecture, layers, widths, heads, vocabulary, context length, device, "
                      "type of weights, and whether it chats and is loaded. Fast; loads nothing.",
       .annotations = model_tool("Language model")},
      [lm] {
        const auto config = lm.model.config();
        const auto generation = lm.model.generation_config();
        LanguageModelInfo out{.model = lm.name,
                              .model_type = config.model_type,
                              .num_layers = config.num_hidden_layers,
                              .hidden_size = config.hidden_size,
                              .num_heads = config.num_attention_heads,
                              .num_kv_heads = config.num_key_value_heads,
                              .head_dim = config.head_dim,
                              .intermediate_size = config.intermediate_size,
                              .vocab_size = config.vocab_size,
                              .eos_token_id = {},
                              .chat = has_chat_template(lm),
                              .sample = !generation.greedy(),
                              .device = lm.model.device().str(),
                              .dtype = lm.model.dtype(),
                              .loaded = is_loaded(lm.model.path())};
        if (!lm.adapters.served.empty()) {
          out.adapters.emplace();
          if (!lm.adapters.own.empty()) out.adapters->push_back(lm.adapters.own);
          for (const std::string& name : lm.adapters.served) {
            if (name != lm.adapters.own && out.adapters->size() < kShownAdapters)
              out.adapters->push_back(name);
          }
        }
        if (const auto limit = lm.tokenizer.max_length())
          out.max_tokens = static_cast<int64_t>(*limit);
        for (const int32_t id : generation.eos_token_id) out.eos_token_id.push_back(id);
        fit_result(out, [&] {
          if (!out.adapters || out.adapters->empty()) return false;
          out.adapters->pop_back();
          return true;
        });
        return out;
      });
}

}  // namespace gpumcp::interfaces

#include "interfaces/language_model/language_model.h"

#include <limits>

namespace gpumcp::interfaces {
namespace {

constexpr const char* kModel = "HuggingFaceTB/SmolLM2-135M-Instruct";

}  // namespace

gpu_runtime::BatchEncoding LanguageModel::encode(const std::string& text,
                                                 bool add_special_tokens) const {
  return tokenizer(text, {.add_special_tokens = add_special_tokens,
                          .max_length = std::numeric_limits<std::size_t>::max()});
}

std::string token_text(const LanguageModel& lm, int32_t id) {
  return lm.tokenizer.decode(std::span(&id, 1), false);
}

mcp::ToolAnnotations model_tool(std::string title) {
  return {.title = std::move(title), .readOnlyHint = true, .openWorldHint = false};
}

}  // namespace gpumcp::interfaces

GPUMCP_INTERFACE(language_model, interface) {
  using namespace gpumcp::interfaces;
  const std::string name = interface.default_model(kModel, gpumcp::is_language_model);
  const gpumcp::ModelPath path = interface.get_model_path(name);
  const LanguageModel lm{.name = shown_model(interface, name),
                         .model = gpumcp::AutoModelForCausalLM::from_pretrained(path),
                         .tokenizer = gpumcp::AutoTokenizer::from_pretrained(path),
                         .adapters = adapters_of(name)};
  expose_generate(interface, lm);
  expose_next_tokens(interface, lm);
  expose_score_text(interface, lm);
  expose_tokenize(interface, lm);
  expose_model_info(interface, lm);
}

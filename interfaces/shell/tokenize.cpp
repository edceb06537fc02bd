// gpumcp_tokenize and gpumcp_detokenize: texts to token ids and back, for gpumcp tokenize. Neither
// loads the model's weights.
#include "gpu_runtime/auto_tokenizer.h"
#include "gpu_runtime/runtime.h"
#include "interfaces/shell/shell_tools.h"

namespace gpumcp::interfaces {
namespace {

struct Tokens {
  std::vector<std::vector<int64_t>> ids;
};
GPUMCP_DESCRIBE_DOC(Tokens, (ids, "The token ids of each text, not truncated."))

struct Texts {
  std::vector<std::string> texts;
};
GPUMCP_DESCRIBE_DOC(Texts, (texts, "The text of each list of ids."))

Tokens tokenize(const std::string& model, const std::vector<std::string>& texts, bool special) {
  const auto tokenizer = AutoTokenizer::from_pretrained(shell_model(model));
  Tokens out;
  for (const auto& encoding :
       gpu_runtime::tokenize(tokenizer.tokenizer(), texts, {.add_special_tokens = special})) {
    out.ids.emplace_back(encoding.ids.begin(), encoding.ids.end());
  }
  return out;
}

Texts detokenize(const std::string& model, const std::vector<std::vector<int64_t>>& lists,
                 bool special) {
  const auto tokenizer = AutoTokenizer::from_pretrained(shell_model(model));
  Texts out;
  for (size_t i = 0; i < lists.size(); ++i) {
    std::vector<int32_t> ids;
    for (const int64_t id : lists[i]) {
      if (id < 0 || id > INT32_MAX || !tokenizer.tokenizer().id_to_token(static_cast<int32_t>(id)))
        throw ToolError("ids[" + std::to_string(i) + "]: " + std::to_string(id) +
                        " is no token of " + model);
      ids.push_back(static_cast<int32_t>(id));
    }
    out.texts.push_back(tokenizer.decode(ids, !special));
  }
  return out;
}

}  // namespace

void expose_shell_tokenize(Interface& interface) {
  const auto model = arg("model", "Its name, or its folder's absolute path.");
  interface.expose_to_shell(
      {.name = kShellTokenize, .description = "Texts to token ids, for gpumcp tokenize."},
      [](const std::string& name, const std::vector<std::string>& texts, bool special) {
        return tokenize(name, texts, special);
      },
      model, arg("texts", ""),
      arg("special", "With the tokens that a model wants round it.", true));
  interface.expose_to_shell(
      {.name = kShellDetokenize,
       .description = "Token ids to texts, for gpumcp tokenize --decode."},
      [](const std::string& name, const std::vector<std::vector<int64_t>>& ids, bool special) {
        return detokenize(name, ids, special);
      },
      model, arg("ids", ""), arg("special", "Keep the texts of special tokens.", true));
}

}  // namespace gpumcp::interfaces

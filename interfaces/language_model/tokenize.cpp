// tokenize: a text as the model's tokens; loads no weights.
#include <algorithm>

#include "interfaces/language_model/language_model.h"
#include "interfaces/result_size.h"

namespace gpumcp::interfaces {
namespace {

struct Tokens {
  int64_t count;
  std::vector<int64_t> ids;
  std::vector<std::string> tokens;
  std::optional<int64_t> left_out;
};
GPUMCP_DESCRIBE_DOC(Tokens, (count, "How many tokens the text has."), (ids, "Their numbers."),
                    (tokens, "Their texts."),
                    (left_out,
                     "Tokens beyond those shown; ask for a part of the text to see them."))

constexpr size_t kShown = 40;
constexpr size_t kShownBytes = 400;

}  // namespace

void expose_tokenize(Interface& interface, const LanguageModel& lm) {
  interface.expose(
      {.name = "tokenize",
       .description = "A text as the tokens of the language model " + lm.name +
                      ": their count, ids and texts (the first 40). Loads no weights.",
       .annotations = model_tool("Tokenize")},
      [lm](const std::string& text, bool special_tokens) {
        const auto ids = lm.encode(text, special_tokens).rows().at(0).ids;
        Tokens out{.count = static_cast<int64_t>(ids.size()), .ids = {}, .tokens = {}};
        size_t bytes = 0;
        for (const int32_t id : ids) {
          std::string token = token_text(lm, id);
          bytes += token.size();
          if (out.ids.size() == kShown || bytes > kShownBytes) break;  // the rest would not fit
          out.ids.push_back(id);
          out.tokens.push_back(std::move(token));
        }
        const auto count_left_out = [&] {
          if (out.ids.size() < ids.size())
            out.left_out = static_cast<int64_t>(ids.size() - out.ids.size());
        };
        count_left_out();
        fit_result(out, [&] {  // control characters cost six bytes each
          out.ids.pop_back();
          out.tokens.pop_back();
          count_left_out();
          return !out.ids.empty();
        });
        return out;
      },
      arg("text", "The text."),
      arg("special_tokens", "With those that the model's tokenizer adds, such as a first one.",
          true));
}

}  // namespace gpumcp::interfaces

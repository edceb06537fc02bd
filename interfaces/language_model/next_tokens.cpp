// next_tokens: what the model thinks comes next, with probabilities.
#include <cmath>

#include "interfaces/language_model/language_model.h"
#include "interfaces/result_size.h"

namespace gpumcp::interfaces {
namespace {

struct NextToken {
  std::string token;
  int64_t id;
  double probability;
};
GPUMCP_DESCRIBE_DOC(NextToken, (token, "Its text."), (id, "Its number."),
                    (probability, "From 0 to 1, before any sampling setting."))

struct NextTokens {
  int64_t prompt_tokens;
  std::vector<NextToken> tokens;
  std::optional<int64_t> left_out;
};
GPUMCP_DESCRIBE_DOC(NextTokens, (prompt_tokens, "Tokens of the text."),
                    (tokens, "The likeliest next tokens, the likeliest first."),
                    (left_out, "The least likely of them that did not fit here."))

}  // namespace

void expose_next_tokens(Interface& interface, const LanguageModel& lm) {
  interface.expose(
      {.name = "next_tokens",
       .description = "The likeliest next tokens behind a text, with their probabilities, from the "
                      "language model " +
                      lm.name + ". Generates nothing.",
       .annotations = model_tool("Next tokens")},
      [lm](const std::string& text, int64_t top_k, const std::vector<SteeringInput>& steering,
           const std::string& adapter) {
        auto rows = lm.encode(text, true).token_rows();
        rows[0].taps = lm.taps(steering, adapter, static_cast<int64_t>(rows[0].ids.size()));
        NextTokens out{.prompt_tokens = static_cast<int64_t>(rows[0].ids.size()), .tokens = {}};
        for (const auto& [id, probability] : lm.model.next_tokens(rows[0], top_k))
          out.tokens.push_back(
              {cut_word(token_text(lm, id)), id, std::round(probability * 1e6) / 1e6});
        fit_result(out, [&] {
          out.tokens.pop_back();
          out.left_out = out.left_out.value_or(0) + 1;
          return out.tokens.size() > 1;
        });
        return out;
      },
      arg("text", "The text so far.").min_length(1),
      arg("top_k", "So many tokens.", 10).minimum(1).maximum(20), steering_arg(),
      adapter_arg(lm.adapters));
}

}  // namespace gpumcp::interfaces

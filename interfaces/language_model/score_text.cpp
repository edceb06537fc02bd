// score_text: how likely the model finds a text, token by token.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "interfaces/language_model/language_model.h"

namespace gpumcp::interfaces {
namespace {

struct ScoredToken {
  int64_t index;
  std::string token;
  double log_probability;
};
GPUMCP_DESCRIBE_DOC(ScoredToken, (index, "Its place among the text's tokens."),
                    (token, "Its text."), (log_probability, "Natural logarithm, given all before."))

struct TextScore {
  int64_t tokens;
  double log_probability, mean_log_probability, perplexity;
  std::vector<ScoredToken> least_likely;
};
GPUMCP_DESCRIBE_DOC(TextScore,
                    (tokens, "Tokens that were scored: all but the first, which nothing precedes."),
                    (log_probability, "Of the whole text, natural logarithm."),
                    (mean_log_probability, "A token's on average."),
                    (perplexity,
                     "exp(-mean): of how many equally likely tokens the model chose on average."),
                    (least_likely, "The tokens that surprised the model most."))

constexpr size_t kLeastLikely = 5;

}  // namespace

void expose_score_text(Interface& interface, const LanguageModel& lm) {
  interface.expose(
      {.name = "score_text",
       .description =
           "How likely the language model " + lm.name +
           " finds a text: log-probability, perplexity, and the tokens that surprised it most. "
           "Compare texts by mean_log_probability or perplexity.",
       .annotations = model_tool("Score a text")},
      [lm](const std::string& text, const std::vector<SteeringInput>& steering,
           const std::string& adapter) {
        auto rows = lm.encode(text, true).token_rows();
        rows[0].taps = lm.taps(steering, adapter, static_cast<int64_t>(rows[0].ids.size()));
        if (rows[0].ids.size() < 2)
          throw ToolError("a text of one token has nothing to score: give a longer one");
        const std::vector<float> scores = lm.model.token_log_probabilities(rows[0]);
        const double sum = std::accumulate(scores.begin(), scores.end(), 0.0);
        const double mean = sum / static_cast<double>(scores.size());
        TextScore out{.tokens = static_cast<int64_t>(scores.size()),
                      .log_probability = sum,
                      .mean_log_probability = mean,
                      .perplexity = std::exp(-mean),
                      .least_likely = {}};
        std::vector<size_t> order(scores.size());
        std::iota(order.begin(), order.end(), size_t{0});
        const size_t shown = std::min(kLeastLikely, order.size());
        std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(shown),
                          order.end(), [&](size_t a, size_t b) { return scores[a] < scores[b]; });
        for (size_t i = 0; i < shown; ++i) {
          const size_t at = order[i];
          out.least_likely.push_back({static_cast<int64_t>(at + 1),
                                      token_text(lm, rows[0].ids[at + 1]),
                                      static_cast<double>(scores[at])});
        }
        return out;
      },
      arg("text", "The text to score.").min_length(1), steering_arg(), adapter_arg(lm.adapters));
}

}  // namespace gpumcp::interfaces

// score_text: how likely the model finds a text, token by token.
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "interfaces/language_model/language_model.h"
#include "interfaces/result_size.h"
#include "interfaces/tensor_io.h"

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
  std::string uri;
};
GPUMCP_DESCRIBE_DOC(TextScore,
                    (tokens, "Tokens that were scored: all but the first, which nothing precedes."),
                    (log_probability, "Of the whole text, natural logarithm."),
                    (mean_log_probability, "A token's on average."),
                    (perplexity,
                     "exp(-mean): of how many equally likely tokens the model chose on average."),
                    (least_likely, "The tokens that surprised the model most."),
                    (uri, "The log-probabilities of all tokens that were scored, [tokens]."))

constexpr size_t kLeastLikely = 5;

double rounded(double value) { return std::round(value * 1e6) / 1e6; }

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
        const KeptTensor kept =
            keep_tensor(at::tensor(scores, at::kFloat), "log-probabilities",
                        "log-probabilities of a text's tokens, from the second on; axis token");
        TextScore out{.tokens = static_cast<int64_t>(scores.size()),
                      .log_probability = rounded(sum),
                      .mean_log_probability = rounded(mean),
                      .perplexity = rounded(std::exp(-mean)),
                      .least_likely = {},
                      .uri = kept.uri};
        std::vector<size_t> order(scores.size());
        std::iota(order.begin(), order.end(), size_t{0});
        const size_t shown = std::min(kLeastLikely, order.size());
        std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(shown),
                          order.end(), [&](size_t a, size_t b) { return scores[a] < scores[b]; });
        for (size_t i = 0; i < shown; ++i) {
          const size_t at = order[i];
          out.least_likely.push_back({static_cast<int64_t>(at + 1),
                                      cut_word(token_text(lm, rows[0].ids[at + 1])),
                                      rounded(scores[at])});
        }
        return mcp::WithContent<TextScore>{std::move(out), {link_to(kept)}};
      },
      arg("text", "The text to score.").min_length(1), steering_arg(), adapter_arg(lm.adapters));
}

}  // namespace gpumcp::interfaces

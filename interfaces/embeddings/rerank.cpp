// rerank: which texts answer a query best, by a cross-encoder that reads the query and each text
// together. Slower than search and better: it is for the few that a search found.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "gpu_runtime/cross_encoder.h"
#include "interfaces/adapter.h"
#include "interfaces/embeddings/embeddings.h"

namespace gpumcp::interfaces {
namespace {

constexpr const char* kReranker = "cross-encoder/ms-marco-MiniLM-L6-v2";
constexpr size_t kRerankedCharacters = 80;

struct RankedText {
  int64_t index;
  double score;
  std::optional<std::string> text;
};
GPUMCP_DESCRIBE_DOC(RankedText, (index, "Place in texts, from 0."),
                    (score, "Higher is better; compare inside one result only."),
                    (text, "The beginning of the text, where it fits."))

struct Reranked {
  std::vector<RankedText> matches;
  std::string model;
  int64_t compared;
  std::optional<int64_t> truncated;
};
GPUMCP_DESCRIBE_DOC(Reranked, (matches, "Best first."), (model, "The cross-encoder's name."),
                    (compared, "How many texts were scored."),
                    (truncated,
                     "How many of them were longer, with the query, than the model reads; the "
                     "ends did not count."))

Reranked rerank(const gpu_runtime::CrossEncoder& model, const std::string& name,
                const std::string& query, const std::vector<std::string>& texts, int64_t top_k) {
  const gpu_runtime::PairScores scored = model.scores(query, texts);
  for (const float score : scored.scores) {
    if (!std::isfinite(score))
      throw ToolError("the model " + name +
                      " gave a score that is no finite number: its weights are broken; pull the "
                      "model anew");
  }
  std::vector<size_t> order(texts.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return scored.scores[a] > scored.scores[b]; });
  order.resize(std::min(order.size(), static_cast<size_t>(top_k)));
  Reranked out{.matches = {},
               .model = name,
               .compared = static_cast<int64_t>(texts.size()),
               .truncated = {}};
  if (const auto cut = std::count(scored.truncated.begin(), scored.truncated.end(), true); cut > 0)
    out.truncated = cut;
  for (const size_t at : order) {
    out.matches.push_back(
        {.index = static_cast<int64_t>(at),
         .score = std::round(scored.scores[at] * 1e6) / 1e6,
         .text = cut_text(texts[at], kRerankedCharacters, 4 * kRerankedCharacters)});
  }
  fit_matches(out, out.matches);  // the worst lose their text first
  return out;
}

// The configured model that scores pairs, or the usual one, so that the error of a call says how to
// get it.
std::string choose_reranker(const Interface& interface) {
  const std::string name = interface.default_model(kReranker, gpu_runtime::is_cross_encoder);
  try {
    const ModelPath path = interface.get_model_path(name);
    return !path.found() || gpu_runtime::is_cross_encoder(path) ? name : kReranker;
  } catch (const std::exception&) {
    return name;  // broken: the call that loads it says how
  }
}

}  // namespace

void expose_rerank(Interface& interface) {
  const std::string name = choose_reranker(interface);
  const auto model = gpu_runtime::CrossEncoder::from_pretrained(interface.get_model_path(name));
  const std::string shown = shown_model(interface, name);
  interface.expose(
      {.name = "rerank",
       .description =
           "Order texts by how well they answer a query, best first, with a cross-encoder that "
           "reads query and text together: more exact than search and slower, so give it what "
           "search found. Needs a reranking model, as --model " +
           std::string(kReranker) + ".",
       .annotations = read_only("Rerank texts")},
      [model, shown](const std::string& query, const std::vector<std::string>& texts,
                     int64_t top_k) { return rerank(model, shown, query, texts, top_k); },
      arg("query", "The question, or what to look for.").min_length(1),
      arg("texts", "1 to " + std::to_string(kMaxTexts) + " texts to order; each may be empty.")
          .min_items(1)
          .max_items(kMaxTexts),
      arg("top_k", "How many of them to return at most.", int64_t{10}).minimum(1).maximum(20));
}

}  // namespace gpumcp::interfaces

// logit_lens: what the model would say if it ended after a layer.
#include <ATen/ops/softmax.h>
#include <ATen/ops/topk.h>

#include <algorithm>

#include "interfaces/interpretability/interpretability.h"
#include "interfaces/result_size.h"
#include "interfaces/tensor_io.h"

namespace gpumcp::interfaces {
namespace {

namespace rt = gpu_runtime;

struct LensLayer {
  int64_t layer;
  std::vector<std::string> tokens;
  std::vector<double> probabilities;
  std::optional<double> target;
  std::optional<int64_t> rank;
};
GPUMCP_DESCRIBE_DOC(LensLayer, (layer, "After which."), (tokens, "The likeliest next tokens."),
                    (probabilities, "Theirs."), (target, "Probability of `target`."),
                    (rank, "Place of `target` among all tokens, from 0."))

struct Lens {
  std::string token;
  std::vector<LensLayer> layers;
};
GPUMCP_DESCRIBE_DOC(Lens, (token, "The one behind which it is asked."),
                    (layers, "In order; where all do not fit: some, evenly, the last always."))

constexpr size_t kReadingsShown = 8;

// At most so many of them, evenly, the last one always.
template <class T>
std::vector<T> some_of(const std::vector<T>& all, size_t most) {
  if (all.size() <= most) return all;
  std::vector<T> out;
  for (size_t i = 0; i < most; ++i) out.push_back(all[(i + 1) * all.size() / most - 1]);
  return out;
}

Lens logit_lens(const Subject& subject, const std::string& text, int64_t position,
                const std::vector<int64_t>& wanted, int64_t top_k,
                const std::optional<std::string>& target, bool chat,
                const std::vector<SteeringInput>& steering) {
  auto ids = subject.encode(text, chat);
  const auto count = static_cast<int64_t>(ids.size());
  const int64_t place = position < 0 ? position + count : position;
  if (place < 0 || place >= count) {
    throw ToolError("arguments.position: " + std::to_string(position) +
                    " is none: the text has tokens 0 to " + std::to_string(count - 1));
  }
  const std::vector<int64_t> layers =
      some_of(chosen_layers(wanted, subject.layers()), kReadingsShown);
  rt::RowTaps taps;
  if (const auto steered = steering_taps(steering, subject.layers(), count)) taps = *steered;
  for (const int64_t layer : layers)
    taps.captures.push_back({{rt::SiteKind::resid_post, layer}, {.list = {place}}, true});
  std::optional<int32_t> wanted_token;
  if (target) wanted_token = subject.first_token(*target, "target");
  Lens out{.token = cut_word(subject.token(ids[static_cast<size_t>(place)])), .layers = {}};
  std::vector<rt::TokenRow> rows;
  rows.push_back(subject.row(std::move(ids), std::move(taps)));
  const auto captured = subject.model.capture(std::move(rows)).at(0);
  for (size_t i = 0; i < layers.size(); ++i) {
    const at::Tensor p = at::softmax(captured[i][0].to(at::kCPU), -1);
    auto [best, where] = at::topk(p, top_k);
    LensLayer layer{.layer = layers[i], .tokens = {}, .probabilities = {}};
    for (int64_t k = 0; k < top_k; ++k) {
      layer.tokens.push_back(cut_word(subject.token(where[k].item<int32_t>())));
      layer.probabilities.push_back(*shown(best[k].item<double>()));
    }
    if (wanted_token) {
      const at::Tensor one = p[*wanted_token];
      layer.target = shown(one.item<double>());
      layer.rank = p.gt(one).sum().item<int64_t>();
    }
    out.layers.push_back(std::move(layer));
  }
  fit_result(out, [&] {  // long tokens, three a layer: fewer layers
    out.layers = some_of(out.layers, out.layers.size() - 1);
    return out.layers.size() > 1;
  });
  return out;
}

}  // namespace

void expose_logit_lens(Interface& interface, const Subject& subject) {
  interface.expose(
      {.name = "logit_lens",
       .description = "See what the language model " + subject.name +
                      " leans to say after each layer (logit lens): the likeliest next tokens, "
                      "and how a `target` token rises.",
       .annotations = tensor_tool("Logit lens")},
      [subject](const std::string& text, int64_t position, const std::vector<int64_t>& layers,
                int64_t top_k, const std::optional<std::string>& target, bool chat,
                const std::vector<SteeringInput>& steering) {
        return logit_lens(subject, text, position, layers, top_k, target, chat, steering);
      },
      arg("text", "The text so far.").min_length(1),
      arg("position", "Behind which token, from the end where negative.", int64_t{-1}),
      arg("layers", "Which; left out, or above 8: 8 of them, evenly.", std::vector<int64_t>()),
      arg("top_k", "So many tokens a layer.", int64_t{2}).minimum(1).maximum(3),
      arg("target", "A text whose first token is followed: \" Paris\"."), chat_arg(),
      steering_arg());
}

}  // namespace gpumcp::interfaces

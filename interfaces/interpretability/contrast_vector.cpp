// contrast_vector: the direction from one set of texts to another, layer by layer.
#include <ATen/ops/stack.h>

#include <algorithm>
#include <numeric>

#include "interfaces/interpretability/interpretability.h"
#include "interfaces/tensor_io.h"

namespace gpumcp::interfaces {
namespace {

namespace rt = gpu_runtime;

struct LayerContrast {
  int64_t layer;
  double norm;
  std::optional<double> effect;
  double accuracy;
};
GPUMCP_DESCRIBE_DOC(LayerContrast, (layer, "Which."), (norm, "Length of its vector."),
                    (effect,
                     "How far apart the two sets lie along it, in standard deviations; left out "
                     "where the texts of a set do not differ, as with one text a side."),
                    (accuracy, "Part of the texts that lie on their own side of the middle."))

struct ContrastVector {
  std::string uri;
  std::vector<int64_t> shape;
  std::vector<std::string> axes;
  std::vector<LayerContrast> layers;
  int64_t best_layer;
};
GPUMCP_DESCRIBE_DOC(ContrastVector, (uri, "The vectors: mean of positive less mean of negative."),
                    (shape, "[d] for one layer, else [layers, d]."), (axes, "What they are."),
                    (layers, "Up to 8 of them, by effect; ordered by layer."),
                    (best_layer,
                     "Where the sets lie farthest apart by effect (without one: by norm, beside "
                     "the hidden states' own); its row is uri?slice=INDEX among the layers asked "
                     "for."))

constexpr size_t kLayersShown = 8;

// [texts, layers, d], float64.
at::Tensor read(const Subject& subject, const std::vector<std::string>& texts,
                const std::vector<int64_t>& layers, const std::string& site, bool mean, bool chat) {
  std::vector<rt::TokenRow> rows;
  for (const std::string& text : texts) {
    auto ids = subject.encode(text, chat);
    const auto count = static_cast<int64_t>(ids.size());
    rt::RowTaps taps;
    for (const int64_t layer : layers)
      taps.captures.push_back({site_in(site, layer), {.begin = mean ? 0 : count - 1}});
    rows.push_back(subject.row(std::move(ids), std::move(taps)));
  }
  std::vector<at::Tensor> all;
  for (const auto& captures : subject.model.capture(std::move(rows))) {
    std::vector<at::Tensor> one;
    for (const at::Tensor& capture : captures)
      one.push_back(capture.to(at::kCPU, at::kDouble).mean(0).flatten());  // heads end to end
    all.push_back(at::stack(one));
  }
  return at::stack(all);
}

double deviation(const at::Tensor& values) {
  return values.numel() > 1 ? values.std(/*unbiased=*/true).item<double>() : 0;
}

// What is told of a layer, and how far apart the sets lie there, to compare layers by.
struct Measured {
  LayerContrast told;
  double apart;
};

Measured measure(int64_t layer, const at::Tensor& vector, const at::Tensor& positive,
                 const at::Tensor& negative) {
  const double norm = vector.norm().item<double>();
  const at::Tensor unit = vector / std::max(norm, 1e-12);
  const at::Tensor a = positive.matmul(unit), b = negative.matmul(unit);
  const double middle = (a.mean() + b.mean()).item<double>() / 2;
  // A single text does not vary; the other set's spread then stands for both.
  const double va = std::pow(deviation(a), 2), vb = std::pow(deviation(b), 2);
  const double spread =
      std::sqrt(a.numel() > 1 && b.numel() > 1 ? (va + vb) / 2 : std::max(va, vb));
  const auto right = a.gt(middle).sum().item<int64_t>() + b.lt(middle).sum().item<int64_t>();
  const double length = (positive.norm(2, 1).mean() + negative.norm(2, 1).mean()).item<double>();
  Measured out{.told = {.layer = layer,
                        .norm = *shown(norm),
                        .effect = {},
                        .accuracy = *shown(static_cast<double>(right) /
                                           static_cast<double>(a.numel() + b.numel()))},
               .apart = norm / std::max(length, 1e-12)};
  if (spread > 1e-6 * norm && spread > 0) {
    out.apart = (a.mean() - b.mean()).item<double>() / spread;
    out.told.effect = shown(out.apart);
  }
  return out;
}

mcp::WithContent<ContrastVector> contrast_vector(
    const Subject& subject, const std::vector<std::string>& positive,
    const std::vector<std::string>& negative, const std::vector<int64_t>& wanted,
    const std::string& site, const std::string& positions, bool normalize, bool chat) {
  const rt::SiteKind kind = site_in(site, 0).kind;
  if (kind == rt::SiteKind::pattern || kind == rt::SiteKind::scores) {
    throw ToolError("arguments.site: " + site +
                    " has numbers for pairs of tokens; take a site that has values for each token, "
                    "as attn.hook_z or resid_post");
  }
  const std::vector<int64_t> layers = chosen_layers(wanted, subject.layers());
  const bool mean = positions == "mean";
  // Both sets in one batch.
  std::vector<std::string> texts = positive;
  texts.insert(texts.end(), negative.begin(), negative.end());
  const at::Tensor all = read(subject, texts, layers, site, mean, chat);
  const auto count = static_cast<int64_t>(positive.size());
  const at::Tensor a = all.narrow(0, 0, count), b = all.narrow(0, count, all.size(0) - count);
  at::Tensor vectors = a.mean(0) - b.mean(0);
  std::vector<Measured> measured;
  for (size_t i = 0; i < layers.size(); ++i) {
    const auto at = static_cast<int64_t>(i);
    measured.push_back(measure(layers[i], vectors[at], a.select(1, at), b.select(1, at)));
  }
  std::ranges::stable_sort(measured, std::greater<>(), [](const Measured& one) {
    return std::pair(one.told.effect.has_value(), one.apart);
  });
  ContrastVector out{.best_layer = measured[0].told.layer};
  measured.resize(std::min(measured.size(), kLayersShown));
  for (const Measured& one : measured) out.layers.push_back(one.told);
  std::ranges::sort(out.layers, std::less<>(), &LayerContrast::layer);
  if (normalize) vectors = vectors / vectors.norm(2, 1, true).clamp_min(1e-12);
  out.axes = {"layer", "value"};
  if (layers.size() == 1) {
    vectors = vectors[0];
    out.axes = {"value"};
  }
  std::string about = "contrast at " + site + " of layers";
  for (size_t i = 0; i < layers.size() && i < 40; ++i) (about += " ") += std::to_string(layers[i]);
  const KeptTensor kept = keep_tensor(vectors.to(at::kFloat), "contrast", about);
  out.uri = kept.uri;
  out.shape = kept.shape;
  return {std::move(out), {link_to(kept)}};
}

}  // namespace

void expose_contrast_vector(Interface& interface, const Subject& subject) {
  interface.expose(
      {.name = "contrast_vector",
       .description = "Find a steering direction in the language model " + subject.name +
                      ": the difference of mean activations between two sets of texts "
                      "(positive less negative), for each layer, with how well it tells them "
                      "apart. Give it to steer.",
       .annotations = tensor_tool("Contrast vector")},
      [subject](const std::vector<std::string>& positive, const std::vector<std::string>& negative,
                const std::vector<int64_t>& layers, const std::string& site,
                const std::string& positions, bool normalize, bool chat) {
        return contrast_vector(subject, positive, negative, layers, site, positions, normalize,
                               chat);
      },
      texts_arg("positive", "Texts that have the property: 1 to 64.", 1),
      texts_arg("negative", "Texts like them that lack it: 1 to 64.", 1),
      arg("layers", "Which layers, from the end where negative; left out: all.",
          std::vector<int64_t>()),
      site_arg(),
      arg("positions", "Of which tokens: last, or the mean of all.", "last")
          .one_of({"last", "mean"}),
      arg("normalize", "Make each vector's length 1.", false), chat_arg());
}

}  // namespace gpumcp::interfaces

// train_probe and apply_probe: a linear probe (logistic regression) on activations. The loss is
// scikit-learn's: l2 / 2 * |w|^2 + the sum of the rows' losses, the bias free; its one minimum is
// found by Newton's method, so the same rows give the same probe.
#include <ATen/ops/binary_cross_entropy_with_logits.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/linalg_qr.h>
#include <ATen/ops/linalg_solve.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/zeros.h>

#include <cmath>

#include "interfaces/interpretability/interpretability.h"
#include "interfaces/tensor_io.h"

namespace gpumcp::interfaces {
namespace {

struct Probe {
  std::string probe, direction;
  int64_t dims;
  double accuracy;
  std::optional<double> held_out_accuracy;
  int64_t rows, held_out;
  double bias, norm;
};
GPUMCP_DESCRIBE_DOC(Probe, (probe, "URI for apply_probe: weights and, last, the bias."),
                    (direction, "URI of the weights alone, of length 1: a vector for steer."),
                    (dims, "Values that it reads."), (accuracy, "On the rows it was trained on."),
                    (held_out_accuracy, "On rows it did not see."), (rows, "Trained on."),
                    (held_out, "Not seen."), (bias, "Added to the score."),
                    (norm, "Length of the weights."))

struct ProbeScores {
  std::vector<int64_t> shape;
  double positive;
  std::optional<std::vector<double>> probabilities;
  std::optional<std::string> uri;
};
GPUMCP_DESCRIBE_DOC(ProbeScores, (shape, "Of the rows."),
                    (positive, "Part of the rows with a probability above 0.5."),
                    (probabilities, "That each row is positive, of up to 64 rows."),
                    (uri, "Else the tensor of them."))

constexpr int64_t kProbabilitiesShown = 64, kMaxSteps = 100;

struct Fit {
  at::Tensor weights;  // [d]
  double bias = 0;
};

double loss_of(const at::Tensor& scores, const at::Tensor& labels, const at::Tensor& w, double l2) {
  return at::binary_cross_entropy_with_logits(scores, labels, {}, {}, at::Reduction::Sum)
             .item<double>() +
         l2 / 2 * w.square().sum().item<double>();
}

Fit fit(const at::Tensor& rows, const at::Tensor& labels, double l2) {
  const int64_t n = rows.size(0);
  // Fewer rows than columns: the weights lie in what the rows span, where all is smaller.
  at::Tensor x = rows, basis;
  if (n < rows.size(1)) {
    auto [q, r] = at::linalg_qr(rows.t());
    basis = q;
    x = r.t();
  }
  const int64_t d = x.size(1);
  const at::Tensor with_bias = at::cat({x, at::ones({n, 1}, x.options())}, 1);
  at::Tensor penalty = at::ones({d + 1}, x.options()) * l2;
  penalty[d] = 0;
  at::Tensor w = at::zeros({d + 1}, x.options());
  double loss = loss_of(with_bias.matmul(w), labels, w.narrow(0, 0, d), l2);
  for (int64_t step = 0; step < kMaxSteps; ++step) {
    const at::Tensor p = at::sigmoid(with_bias.matmul(w));
    const at::Tensor gradient = with_bias.t().matmul(p - labels) + penalty * w;
    if (gradient.abs().max().item<double>() < 1e-9 * std::max<double>(1, static_cast<double>(n)))
      break;
    const at::Tensor curvature =
        with_bias.t().matmul(with_bias * (p * (1 - p)).unsqueeze(1)) + (penalty + 1e-12).diag();
    const at::Tensor direction = at::linalg_solve(curvature, gradient);
    // Halved until it helps: far from the minimum a whole step may not.
    double length = 1;
    at::Tensor next;
    double next_loss = 0;
    for (int halving = 0; halving < 40; ++halving, length /= 2) {
      next = w - direction * length;
      next_loss = loss_of(with_bias.matmul(next), labels, next.narrow(0, 0, d), l2);
      if (next_loss <= loss) break;
    }
    if (next_loss > loss) break;
    w = next;
    loss = next_loss;
  }
  const at::Tensor weights = w.narrow(0, 0, d);
  return {basis.defined() ? basis.matmul(weights) : weights.clone(), w[d].item<double>()};
}

double accuracy_of(const Fit& fit, const at::Tensor& rows, const at::Tensor& labels) {
  return (rows.matmul(fit.weights) + fit.bias)
      .gt(0)
      .eq(labels.gt(0.5))
      .to(at::kDouble)
      .mean()
      .item<double>();
}

// Rows [n, d] of [n, 1, d] too, as get_activations gives them for one site.
at::Tensor probe_rows(const TensorRef& given, const char* argument) {
  const at::Tensor tensor = numbers_of(given, argument, 1, 8);
  if (tensor.dim() == 1) return tensor.unsqueeze(0);
  at::Tensor rows = tensor;
  for (int64_t d = rows.dim() - 2; d >= 1; --d) {
    if (rows.size(d) == 1) rows = rows.squeeze(d);
  }
  if (rows.dim() != 2) {
    throw ToolError("arguments." + std::string(argument) + ": its shape is " +
                    spelled(tensor.sizes()) +
                    ", but rows [n, d] are needed: take one site, ?slice=:,3 behind the uri");
  }
  return rows;
}

mcp::WithContent<Probe> train(const TensorRef& positive, const TensorRef& negative, double l2,
                              double held_out) {
  const at::Tensor a = probe_rows(positive, "positive"), b = probe_rows(negative, "negative");
  if (a.size(1) != b.size(1)) {
    throw ToolError("positive rows have " + std::to_string(a.size(1)) +
                    " values and negative ones " + std::to_string(b.size(1)) +
                    ": both must come from the same site");
  }
  // The last rows of each set are held out, and none where that would leave a set empty.
  auto seen = [&](const at::Tensor& rows) {
    const auto n = static_cast<double>(rows.size(0));
    return std::max<int64_t>(1, rows.size(0) - static_cast<int64_t>(std::floor(n * held_out)));
  };
  const int64_t na = seen(a), nb = seen(b);
  const at::Tensor rows = at::cat({a.narrow(0, 0, na), b.narrow(0, 0, nb)});
  const at::Tensor labels = at::cat({at::ones({na}, at::kDouble), at::zeros({nb}, at::kDouble)});
  const Fit probe = fit(rows, labels, l2);
  const double norm = probe.weights.norm().item<double>();
  const KeptTensor kept =
      keep_tensor(at::cat({probe.weights, at::ones({1}, at::kDouble) * probe.bias}).to(at::kFloat),
                  "probe", "linear probe: weights, then the bias");
  const KeptTensor direction = keep_tensor((probe.weights / std::max(norm, 1e-12)).to(at::kFloat),
                                           "probe-direction", "weights of " + kept.uri);
  Probe out{.probe = kept.uri,
            .direction = direction.uri,
            .dims = rows.size(1),
            .accuracy = *shown(accuracy_of(probe, rows, labels)),
            .rows = na + nb,
            .held_out = a.size(0) - na + b.size(0) - nb,
            .bias = *shown(probe.bias),
            .norm = *shown(norm)};
  if (out.held_out > 0) {
    const at::Tensor unseen =
        at::cat({a.narrow(0, na, a.size(0) - na), b.narrow(0, nb, b.size(0) - nb)});
    const at::Tensor truth = at::cat(
        {at::ones({a.size(0) - na}, at::kDouble), at::zeros({b.size(0) - nb}, at::kDouble)});
    out.held_out_accuracy = shown(accuracy_of(probe, unseen, truth));
  }
  return {std::move(out), {link_to(kept), link_to(direction)}};
}

mcp::WithContent<ProbeScores> apply(const TensorRef& given, const TensorRef& tensor) {
  const at::Tensor probe = numbers_of(given, "probe", 1, 1), rows = probe_rows(tensor, "tensor");
  const int64_t d = probe.size(0) - 1;
  if (rows.size(1) != d) {
    throw ToolError("arguments.tensor: rows of " + std::to_string(rows.size(1)) +
                    " values, but the probe reads " + std::to_string(d));
  }
  const at::Tensor p = at::sigmoid(rows.matmul(probe.narrow(0, 0, d)) + probe[d]);
  ProbeScores out{.shape = rows.sizes().vec(),
                  .positive = *shown(p.gt(0.5).to(at::kDouble).mean().item<double>())};
  if (p.size(0) > kProbabilitiesShown) {
    const KeptTensor kept =
        keep_tensor(p.to(at::kFloat), "probe-scores", "probabilities of " + given.uri());
    out.uri = kept.uri;
    return {std::move(out), {link_to(kept)}};
  }
  out.probabilities.emplace();
  for (const auto& one : preview_of(p, kProbabilitiesShown)) out.probabilities->push_back(*one);
  return {std::move(out)};
}

}  // namespace

void expose_probe(Interface& interface) {
  interface.expose(
      {.name = "train_probe",
       .description = "Train a linear probe (logistic regression) that tells two sets of "
                      "activations apart; says its accuracy on rows that it did not see, and "
                      "gives its direction for steer.",
       .annotations = tensor_tool("Train a linear probe")},
      [](const TensorRef& positive, const TensorRef& negative, double l2, double held_out) {
        return train(positive, negative, l2, held_out);
      },
      arg("positive", "URI of rows [n, d] that have the property."),
      arg("negative", "URI of rows [m, d] that lack it."),
      arg("l2", "Strength of the penalty on large weights (1 / C of scikit-learn).", 1.0)
          .minimum(1e-6)
          .maximum(1e6),
      arg("held_out", "Part of each set's rows, from its end, that is kept for the test.", 0.2)
          .minimum(0)
          .maximum(0.9));
  interface.expose(
      {.name = "apply_probe",
       .description = "Apply a linear probe of train_probe to activations: how likely each row has "
                      "the property.",
       .annotations = tensor_tool("Apply a linear probe")},
      [](const TensorRef& probe, const TensorRef& tensor) { return apply(probe, tensor); },
      arg("probe", "URI that train_probe gave."), arg("tensor", "URI of rows [n, d]."));
}

}  // namespace gpumcp::interfaces

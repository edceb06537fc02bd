// cluster: k-means. Begins as k-means++ does, several times, with a generator of its own, so that a
// seed gives the same clusters on every machine; the best of the runs counts.
#include <ATen/ops/cat.h>
#include <ATen/ops/cdist.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include "interfaces/tensor_io.h"
#include "interfaces/tensors/tensors.h"

namespace gpumcp::interfaces {
namespace {

struct Clusters {
  std::string labels, centers;
  std::optional<std::vector<int64_t>> label_of_row;
  std::vector<int64_t> sizes, nearest;
  double inertia;
  int64_t iterations;
};
GPUMCP_DESCRIBE_DOC(Clusters, (labels, "URI of each row's cluster, [n]."),
                    (centers, "URI of the clusters' means, [k, d]."),
                    (label_of_row, "The labels, of up to 64 rows."),
                    (sizes, "Rows in each cluster, the largest cluster first."),
                    (nearest, "Of each cluster: the row that is nearest to its mean."),
                    (inertia, "Sum of the rows' squared distances to their cluster's mean."),
                    (iterations, "That the best run took."))

constexpr int64_t kShown = 64, kRuns = 8, kMaxIterations = 300;

class Random {  // splitmix64
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  double next() {  // in [0, 1)
    uint64_t z = (state_ += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return static_cast<double>((z ^ (z >> 31)) >> 11) * 0x1.0p-53;
  }

 private:
  uint64_t state_;
};

at::Tensor squared_distances(const at::Tensor& rows, const at::Tensor& centers) {
  return at::cdist(rows, centers, 2, /*compute_mode=*/2).square();  // 2: no product, exact
}

// Each next centre is a row, the likelier the farther it is from those before it.
at::Tensor first_centers(const at::Tensor& rows, int64_t k, Random& random) {
  const int64_t n = rows.size(0);
  auto row = [&](int64_t i) { return rows.narrow(0, i, 1); };
  at::Tensor centers = row(static_cast<int64_t>(random.next() * static_cast<double>(n)));
  while (centers.size(0) < k) {
    const at::Tensor nearest = squared_distances(rows, centers).amin(1).contiguous();
    const double* weight = nearest.const_data_ptr<double>();
    double left = random.next() * nearest.sum().item<double>();
    int64_t chosen = n - 1;
    for (int64_t i = 0; i < n; ++i) {
      left -= weight[i];
      if (left < 0) {
        chosen = i;
        break;
      }
    }
    centers = at::cat({centers, row(chosen)});
  }
  return centers;
}

struct Run {
  at::Tensor labels, centers, distances;
  double inertia = 0;
  int64_t iterations = 0;
};

Run run_once(const at::Tensor& rows, int64_t k, Random& random) {
  Run run{.centers = first_centers(rows, k, random)};
  for (run.iterations = 1; run.iterations <= kMaxIterations; ++run.iterations) {
    run.distances = squared_distances(rows, run.centers);
    const at::Tensor labels = run.distances.argmin(1);
    const bool settled = run.labels.defined() && labels.equal(run.labels);
    run.labels = labels;
    if (settled) break;
    const at::Tensor sums =
        at::zeros({k, rows.size(1)}, rows.options()).index_add_(0, labels, rows);
    const at::Tensor counts =
        at::zeros({k}, rows.options()).index_add_(0, labels, rows.new_ones({rows.size(0)}));
    // A cluster that lost its rows stays where it was.
    run.centers =
        at::where(counts.gt(0).unsqueeze(1), sums / counts.clamp_min(1).unsqueeze(1), run.centers);
  }
  run.inertia = run.distances.amin(1).sum().item<double>();
  return run;
}

mcp::WithContent<Clusters> cluster(const TensorRef& given, int64_t k, int64_t seed) {
  const std::string& uri = given.uri();
  const at::Tensor rows = numbers_of(given, "tensor", 2, 2);
  if (k > rows.size(0)) {
    throw ToolError("arguments.k: " + std::to_string(k) + " clusters of " +
                    std::to_string(rows.size(0)) + " rows: ask for at most one for each row");
  }
  Random random(static_cast<uint64_t>(seed));
  Run best;
  for (int64_t i = 0; i < kRuns; ++i) {
    Run run = run_once(rows, k, random);
    if (!best.labels.defined() || run.inertia < best.inertia) best = std::move(run);
  }
  // The largest first, so that numbers mean the same however a run began.
  const at::Tensor counts = at::zeros({k}, rows.options().dtype(at::kLong))
                                .index_add_(0, best.labels, best.labels.new_ones({rows.size(0)}));
  const at::Tensor order = std::get<1>(counts.sort(true, 0, true));
  at::Tensor rank = at::zeros_like(order);
  rank.index_put_({order}, order.new_ones({k}).cumsum(0) - 1);
  const at::Tensor labels = rank.index_select(0, best.labels);
  const at::Tensor centers = best.centers.index_select(0, order);
  const KeptTensor kept_labels = keep_tensor(labels, "cluster-labels", "k-means of " + uri);
  const KeptTensor kept_centers =
      keep_tensor(centers.to(at::kFloat), "cluster-centers", "k-means of " + uri + "; axes k, d");
  Clusters out{.labels = kept_labels.uri,
               .centers = kept_centers.uri,
               .inertia = *shown(best.inertia),
               .iterations = best.iterations};
  const at::Tensor nearest = best.distances.index_select(1, order).argmin(0);
  for (int64_t i = 0; i < k; ++i) {
    out.sizes.push_back(counts[order[i].item<int64_t>()].item<int64_t>());
    out.nearest.push_back(nearest[i].item<int64_t>());
  }
  if (rows.size(0) <= kShown) {
    out.label_of_row.emplace();
    for (int64_t i = 0; i < rows.size(0); ++i)
      out.label_of_row->push_back(labels[i].item<int64_t>());
  }
  return {std::move(out), {link_to(kept_labels), link_to(kept_centers)}};
}

}  // namespace

void expose_cluster(Interface& interface) {
  interface.expose(
      {.name = "cluster",
       .description = "Group a tensor's rows into k clusters (k-means): each row's label, the "
                      "clusters' means and sizes, and a typical row of each.",
       .annotations = tensor_tool("Cluster rows")},
      [](const TensorRef& tensor, int64_t k, int64_t seed) { return cluster(tensor, k, seed); },
      arg("tensor", "URI of rows [n, d]."), arg("k", "How many clusters.").minimum(1).maximum(32),
      arg("seed", "The same seed gives the same clusters.", int64_t{0}).minimum(0));
}

}  // namespace gpumcp::interfaces

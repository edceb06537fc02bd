#include "interfaces/embeddings/cosine.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace gpumcp::interfaces {

double dot(std::span<const float> a, std::span<const float> b) {
  // Eight sums side by side, which the compiler turns into vector instructions.
  std::array<double, 8> sums{};
  size_t i = 0;
  for (; i + sums.size() <= a.size(); i += sums.size()) {
    for (size_t j = 0; j < sums.size(); ++j) sums[j] += double{a[i + j]} * double{b[i + j]};
  }
  for (size_t j = 0; i < a.size(); ++i, ++j) sums[j] += double{a[i]} * double{b[i]};
  double total = 0;
  for (double sum : sums) total += sum;
  return total;
}

double norm(std::span<const float> a) { return std::sqrt(dot(a, a)); }

size_t find_not_finite(std::span<const float> values) {
  return static_cast<size_t>(
      std::find_if(values.begin(), values.end(), [](float v) { return !std::isfinite(v); }) -
      values.begin());
}

std::vector<std::pair<size_t, double>> nearest(std::span<const float> query, const Matrix& corpus,
                                               size_t k) {
  const double query_norm = norm(query);
  std::vector<std::pair<size_t, double>> scores(corpus.rows());
  for (size_t i = 0; i < scores.size(); ++i) {
    const double both = query_norm * norm(corpus.row(i));
    scores[i] = {i, both > 0 ? dot(query, corpus.row(i)) / both : 0.0};
  }
  k = std::min(k, scores.size());
  std::partial_sort(scores.begin(), scores.begin() + static_cast<std::ptrdiff_t>(k), scores.end(),
                    [](const auto& a, const auto& b) {
                      return a.second != b.second ? a.second > b.second : a.first < b.first;
                    });
  scores.resize(k);
  return scores;
}

}  // namespace gpumcp::interfaces

// Cosine similarity and the best k of a corpus, over row-major float matrices. Pure functions.
#pragma once

#include <cstddef>
#include <span>
#include <utility>
#include <vector>

namespace gpumcp::interfaces {

// Rows of equal length; values.size() == rows() * dims.
struct Matrix {
  size_t dims = 0;
  std::vector<float> values;
  size_t rows() const { return dims ? values.size() / dims : 0; }
  std::span<const float> row(size_t i) const { return std::span(values).subspan(i * dims, dims); }
};

// Summed in double precision, so it does not depend on the order of rows.
double dot(std::span<const float> a, std::span<const float> b);
double norm(std::span<const float> a);
// The first value that is no finite number, or values.size().
size_t find_not_finite(std::span<const float> values);

// The k rows of `corpus` nearest to `query`, best first, equal scores in the corpus' order. A row
// of zeros has no direction and scores 0.
std::vector<std::pair<size_t, double>> nearest(std::span<const float> query, const Matrix& corpus,
                                               size_t k);

}  // namespace gpumcp::interfaces

#include "interfaces/embeddings/cosine.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

using namespace gpumcp::interfaces;

TEST_CASE("nearest() ranks by cosine, not by length, and keeps the order of equals") {
  const Matrix corpus{.dims = 2, .values = {0, 5, 3, 0, 100, 100, 1, 0, 0, 0}};
  const std::vector<float> query = {2, 0};
  const auto best = nearest(query, corpus, 10);
  REQUIRE(best.size() == 5);
  CHECK(best[0] == std::pair<size_t, double>(1, 1.0));
  CHECK(best[1] == std::pair<size_t, double>(3, 1.0));
  CHECK(best[2].first == 2);
  CHECK(best[2].second == doctest::Approx(std::sqrt(0.5)));
  CHECK(best[3] == std::pair<size_t, double>(0, 0.0));
  CHECK(best[4] == std::pair<size_t, double>(4, 0.0));
  CHECK(nearest(query, corpus, 2).size() == 2);
}

TEST_CASE("dot() sums every element at any length") {
  for (size_t n = 0; n < 40; ++n) {
    std::vector<float> a(n), b(n, 1.0f);
    for (size_t i = 0; i < n; ++i) a[i] = static_cast<float>(i + 1);
    CHECK(dot(a, b) == static_cast<double>(n * (n + 1) / 2));
  }
}

TEST_CASE("find_not_finite() finds the first NaN or infinity") {
  const float nan = std::numeric_limits<float>::quiet_NaN(),
              infinity = std::numeric_limits<float>::infinity();
  CHECK(find_not_finite(std::vector<float>{1, 2, 3}) == 3);
  CHECK(find_not_finite(std::vector<float>{1, nan, infinity}) == 1);
  CHECK(find_not_finite(std::vector<float>{1, 2, -infinity}) == 2);
}

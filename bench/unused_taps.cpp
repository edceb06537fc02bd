// What taps cost a batch that uses none: forward passes of a language model by turns, without taps
// and with rows that carry empty ones (so that every named site is visited and none is asked for).
// Usage: unused_taps MODEL_FOLDER [ROWS] [TOKENS] [TURNS]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "gpu_runtime/auto_model.h"
#include "gpu_runtime/runtime.h"

namespace rt = gpumcp::gpu_runtime;

namespace {

double ms_of(const rt::AutoModelForCausalLM& model, const std::vector<rt::TokenRow>& rows) {
  const auto began = std::chrono::steady_clock::now();
  model.capture(rows);
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - began)
      .count();
}

double middle(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2),
                   values.end());
  return values[values.size() / 2];
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: unused_taps MODEL_FOLDER [ROWS] [TOKENS] [TURNS]\n");
    return 1;
  }
  auto number = [&](int at, int otherwise) { return argc > at ? std::atoi(argv[at]) : otherwise; };
  const int rows = number(2, 4), tokens = number(3, 32), turns = number(4, 60);
  rt::Runtime runtime({.device = "cpu"});
  const auto model = rt::AutoModelForCausalLM::from_pretrained(argv[1], {}, &runtime);
  std::vector<rt::TokenRow> plain, tapped;
  for (int row = 0; row < rows; ++row) {
    std::vector<std::int32_t> ids;
    for (int i = 0; i < tokens; ++i) ids.push_back(100 + (row * 31 + i * 7) % 1000);
    // Both read one place at the end, so that all layers run and the same comes back.
    rt::RowTaps end;
    end.captures.push_back({{rt::SiteKind::final_norm, 0}, {.begin = tokens - 1}});
    tapped.push_back({ids, {}, std::make_shared<rt::RowTaps>(end)});
    plain.push_back({ids, {}});
  }
  for (int i = 0; i < 3; ++i) {
    ms_of(model, plain);
    ms_of(model, tapped);
  }
  std::vector<double> without, with, difference;
  for (int i = 0; i < turns; ++i) {
    // Which goes first changes, so that neither always finds warmer caches.
    double a = 0, b = 0;
    if (i % 2 == 0) a = ms_of(model, plain);
    b = ms_of(model, tapped);
    if (i % 2 != 0) a = ms_of(model, plain);
    without.push_back(a);
    with.push_back(b);
    difference.push_back(b - a);
  }
  const double base = middle(without);
  std::printf("%d rows of %d tokens, %d turns\n", rows, tokens, turns);
  std::printf("| | median ms |\n|---|---|\n| no taps | %.3f |\n| one place read a row | %.3f |\n",
              base, middle(with));
  std::printf("| median of the paired differences | %.3f (%.2f %%) |\n", middle(difference),
              100 * middle(difference) / base);
  return 0;
}

// What taps cost a batch that uses none: forward passes of a language model by turns, without taps
// and with one place read in each row (so that every named site is visited and none but the last is
// asked for). Beside it the same without taps against itself, which says what a difference must
// exceed to be one. Usage: unused_taps MODEL_FOLDER [ROWS] [TOKENS] [TURNS]
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

// The value below which such a part of the values lies.
double part(std::vector<double> values, double of) {
  const auto at = static_cast<std::ptrdiff_t>(of * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), values.begin() + at, values.end());
  return values[static_cast<size_t>(at)];
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
  std::vector<double> without, with, again, difference, of_itself;
  for (int i = 0; i < turns; ++i) {
    // Which goes first changes, so that none always finds warmer caches.
    double ms[3] = {};
    for (int k = 0; k < 3; ++k) {
      const int arm = (i / 3 % 2 == 0 ? i + k : i + 3 - k) % 3;
      ms[arm] = ms_of(model, arm == 1 ? tapped : plain);
    }
    without.push_back(ms[0]);
    with.push_back(ms[1]);
    again.push_back(ms[2]);
    difference.push_back(ms[1] - ms[0]);
    of_itself.push_back(ms[2] - ms[0]);
  }
  const double base = part(without, 0.5);
  std::printf("%d rows of %d tokens, %d turns\n", rows, tokens, turns);
  std::printf("| | median ms | paired difference: median | its quartiles |\n|---|---|---|---|\n");
  std::printf("| no taps | %.3f | | |\n", base);
  const auto row = [&](const char* name, const std::vector<double>& times,
                       const std::vector<double>& paired) {
    std::printf("| %s | %.3f | %+.3f ms (%+.2f %%) | %+.3f, %+.3f |\n", name, part(times, 0.5),
                part(paired, 0.5), 100 * part(paired, 0.5) / base, part(paired, 0.25),
                part(paired, 0.75));
  };
  row("no taps, again", again, of_itself);
  row("one place read a row", with, difference);
  return 0;
}

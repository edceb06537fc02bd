#pragma once

// The goldens of all-MiniLM-L6-v2 as rows, and a runtime for the CPU.
#include <cmath>
#include <cstring>

#include "gpu_runtime/npy.h"
#include "gpu_runtime/runtime.h"
#include "minilm.h"

namespace gpumcp::gpu_runtime {

struct GoldenRows {
  std::size_t rows = 0, dims = 0;
  std::vector<float> values;
  const float* operator[](std::size_t row) const { return &values[row * dims]; }
};

inline GoldenRows golden_rows(const std::string& name) {
  const std::string bytes = read_text_file(golden_folder() / name);
  const NpyView view = read_npy(bytes, name);
  REQUIRE(view.shape.size() == 2);
  GoldenRows golden{
      static_cast<std::size_t>(view.shape[0]), static_cast<std::size_t>(view.shape[1]), {}};
  golden.values.resize(golden.rows * golden.dims);
  std::memcpy(golden.values.data(), view.data.data(), view.data.size());
  return golden;
}

inline std::vector<std::string> golden_texts() {
  std::vector<std::string> texts;
  for (const Json& line : golden_lines("minilm/texts.jsonl"))
    texts.push_back(line.at("text").get<std::string>());
  return texts;
}

inline float max_difference(const float* a, const float* b, std::size_t count) {
  float most = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const float difference = std::fabs(a[i] - b[i]);
    if (!(difference <= most)) most = difference;  // a NaN shows
  }
  return most;
}

inline Runtime& cpu_runtime() {
  static Runtime runtime([] {
    RuntimeOptions options;
    options.device = "cpu";
    return options;
  }());
  return runtime;
}

}  // namespace gpumcp::gpu_runtime

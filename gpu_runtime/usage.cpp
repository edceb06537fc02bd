#include "gpu_runtime/usage.h"

#include <cmath>

namespace gpumcp::gpu_runtime {
namespace {

// Microseconds are noise in a millisecond figure that an agent reads.
double rounded(double value) { return std::round(value * 1000) / 1000; }

}  // namespace

nlohmann::ordered_json Usage::to_json() const {
  nlohmann::ordered_json json{{"queue_ms", rounded(queue_ms)},
                              {"load_ms", rounded(load_ms)},
                              {"tokenize_ms", rounded(tokenize_ms)},
                              {"gpu_ms", rounded(gpu_ms)},
                              {"batch_size", batch_size},
                              {"tokens", tokens},
                              {"cold", cold},
                              {"gpu_held_s", rounded(gpu_held_s)}};
  if (truncated > 0) json["truncated"] = truncated;
  return json;
}

}  // namespace gpumcp::gpu_runtime

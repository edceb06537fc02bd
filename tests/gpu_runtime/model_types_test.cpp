#include "gpu_runtime/model_types.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "gpu_runtime/models/registry.h"

using namespace gpumcp::gpu_runtime;

TEST_CASE("what programs without libtorch call supported is what the registry loads") {
  std::vector<std::string> listed(kModelTypes.begin(), kModelTypes.end());
  std::vector<std::string> loaded = supported_model_types();
  std::ranges::sort(listed);
  std::ranges::sort(loaded);
  CHECK(listed == loaded);
}

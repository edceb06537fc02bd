#pragma once

// The real SmolLM2-135M-Instruct for tests, with what transformers makes of it
// (tests/golden/smollm2). A missing model fails the test: scripts/test puts it there.
#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>

#include "minilm_golden.h"

namespace gpumcp::gpu_runtime {

// $GPUMCP_TEST_SMOLLM2, else the model store.
inline std::filesystem::path smollm2_folder() {
  const char* given = std::getenv("GPUMCP_TEST_SMOLLM2");
  const ModelPath model = given != nullptr && *given != '\0'
                              ? ModelPath(std::filesystem::absolute(given))
                              : ModelStore().find("HuggingFaceTB/SmolLM2-135M-Instruct");
  if (!model.found()) {
    FAIL(
        "SmolLM2-135M-Instruct is not here: run scripts/test, which fetches it, or set "
        "GPUMCP_TEST_SMOLLM2");
  }
  return model.require();
}

}  // namespace gpumcp::gpu_runtime

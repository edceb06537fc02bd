#pragma once

// The real all-MiniLM-L6-v2 for tests, and the goldens. A missing model fails the test: it is no
// reason to skip, because scripts/test puts it there.
#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "gpu_runtime/json.h"
#include "gpu_runtime/model_store.h"

namespace gpumcp::gpu_runtime {

// $GPUMCP_TEST_MINILM, else the model store.
inline std::filesystem::path minilm_folder() {
  const char* given = std::getenv("GPUMCP_TEST_MINILM");
  const ModelPath model = given != nullptr && *given != '\0'
                              ? ModelPath(std::filesystem::absolute(given))
                              : ModelStore().find("sentence-transformers/all-MiniLM-L6-v2");
  if (!model.found()) {
    FAIL(
        "all-MiniLM-L6-v2 is not here: run scripts/test, which fetches it, or set "
        "GPUMCP_TEST_MINILM");
  }
  return model.require();
}

inline std::filesystem::path golden_folder() { return std::filesystem::path(GPUMCP_TEST_GOLDEN); }

// The lines of a golden .jsonl, parsed.
inline std::vector<Json> golden_lines(const std::string& name) {
  std::ifstream file(golden_folder() / name);
  REQUIRE_MESSAGE(file.good(), name, " is missing in tests/golden");
  std::vector<Json> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(parse_json(line, name));
  return lines;
}

}  // namespace gpumcp::gpu_runtime

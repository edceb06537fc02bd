#pragma once

// The random models of tests/golden/tiny_models (make.py there says what is in them), each with
// what transformers computes for it.
#include <filesystem>
#include <string>
#include <vector>

#include "gpu_runtime/npy.h"
#include "gpu_runtime/packing.h"
#include "minilm_golden.h"
#include "support.h"

namespace gpumcp::gpu_runtime {

inline const std::vector<std::string> kTinyDecoders{"llama", "llama_biased", "mistral", "qwen2",
                                                    "qwen3", "gemma2",       "gemma3",  "gpt2"};
inline const std::vector<std::string> kTinyEncoders{
    "bert", "roberta", "xlm_roberta", "distilbert", "mpnet", "gemma3_bidirectional"};

inline std::filesystem::path tiny_folder(const std::string& name) {
  return golden_folder() / "tiny_models" / name;
}

inline Json tiny_expected(const std::string& name) {
  return read_json_file(tiny_folder(name) / "expected.json");
}

inline TokenRow tiny_row(const std::string& name, const char* key = "ids") {
  return {tiny_expected(name).at(key).get<std::vector<std::int32_t>>(), {}};
}

// A .npy of the folder, whatever its shape.
inline std::vector<float> tiny_values(const std::string& name, const std::string& file) {
  const std::string bytes = read_text_file(tiny_folder(name) / file);
  const NpyView view = read_npy(bytes, file);
  std::vector<float> values(view.data.size() / sizeof(float));
  std::memcpy(values.data(), view.data.data(), view.data.size());
  return values;
}

// The folder's files in a folder that a test may change; config.json is `config`.
inline void copy_tiny(const TemporaryFolder& to, const std::string& name, const Json& config) {
  for (const auto& entry : std::filesystem::directory_iterator(tiny_folder(name)))
    std::filesystem::copy(entry.path(), to / entry.path().filename().string());
  to.write("config.json", config.dump());
}

inline Json tiny_config(const std::string& name, const char* file = "config.json") {
  return read_json_file(tiny_folder(name) / file);
}

}  // namespace gpumcp::gpu_runtime

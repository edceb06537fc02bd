#pragma once

// The model_type values of config.json that models/registry.cpp loads, for programs that do not
// load libtorch. A test holds the two lists together.
#include <array>
#include <string_view>

namespace gpumcp::gpu_runtime {

inline constexpr std::array<std::string_view, 13> kModelTypes{
    "bert",    "distilbert", "gemma2", "gemma3", "gemma3_text", "gpt2",       "llama",
    "mistral", "mpnet",      "qwen2",  "qwen3",  "roberta",     "xlm-roberta"};

}  // namespace gpumcp::gpu_runtime

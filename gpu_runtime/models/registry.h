#pragma once

// The architectures that this build knows, by config.json's model_type. A new family is one file in
// models/ and one row in registry.cpp. Free functions, callable from any thread.
#include <memory>
#include <string>
#include <vector>

#include "gpu_runtime/checkpoint.h"
#include "gpu_runtime/export.h"
#include "gpu_runtime/model_config.h"
#include "gpu_runtime/models/transformer.h"

namespace gpumcp::gpu_runtime {

// Reads the weights onto the device. Error(unsupported) names the model_type and what is supported;
// Error of the checkpoint's own kinds for files that do not fit their config.json.
std::unique_ptr<Transformer> load_transformer(const ModelConfig& config,
                                              const Checkpoint& checkpoint, at::ScalarType dtype,
                                              c10::Device device);

// Error(unsupported) as above, before any weight is read.
void check_model_type(const ModelConfig& config);

// Whether models of this type predict text. Unknown ones do not, nor do those that score classes.
bool predicts_text(const ModelConfig& config);

GPUMCP_RUNTIME_API std::vector<std::string> supported_model_types();

}  // namespace gpumcp::gpu_runtime

#pragma once

// How config.json tells rotary positions: transformers 5 has "rope_parameters" (for Gemma 3 one a
// kind of layer), older files "rope_theta" and "rope_scaling". Both are read. Error(unsupported)
// names the kind of scaling and those that are known.
#include <string_view>

#include "gpu_runtime/layers/rotary.h"
#include "gpu_runtime/model_config.h"

namespace gpumcp::gpu_runtime {

// For models whose layers all turn alike.
RopeConfig read_rope(const ModelConfig& config, double default_theta = 10000);

// Gemma 3's: layer_type is "sliding_attention" or "full_attention".
RopeConfig read_layer_rope(const ModelConfig& config, std::string_view layer_type);

}  // namespace gpumcp::gpu_runtime

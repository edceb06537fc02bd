#include "gpu_runtime/models/rope_config.h"

#include <string>

#include "gpu_runtime/error.h"

namespace gpumcp::gpu_runtime {
namespace {

constexpr double kMost = 1e12;

// `scaling` is rope_parameters or rope_scaling: the kind and its numbers.
RopeConfig read_scaling(const ModelConfig& scaling, double theta) {
  RopeConfig rope{.theta = scaling.get_number("rope_theta", 1e-6, kMost, theta)};
  const std::string type = scaling.get_string("rope_type", scaling.get_string("type", "default"));
  if (scaling.get_number("partial_rotary_factor", 0, 1, 1) != 1) {
    throw Error(ErrorCode::unsupported,
                scaling.origin() + ": partial_rotary_factor other than 1 is not supported");
  }
  if (type == "default") return rope;
  if (type != "linear" && type != "llama3") {
    throw Error(ErrorCode::unsupported, scaling.origin() + ": rope_type \"" + type.substr(0, 60) +
                                            "\" is not supported (default, linear, llama3 are)");
  }
  rope.type = type == "linear" ? RopeType::linear : RopeType::llama3;
  rope.factor = scaling.get_number("factor", 1e-6, kMost);
  if (rope.type == RopeType::llama3) {
    rope.low_freq_factor = scaling.get_number("low_freq_factor", 1e-6, kMost);
    rope.high_freq_factor = scaling.get_number("high_freq_factor", 1e-6, kMost);
    rope.original_max_position =
        scaling.get_int("original_max_position_embeddings", 1, std::int64_t{1} << 40);
    if (rope.high_freq_factor <= rope.low_freq_factor) {
      throw Error(ErrorCode::corrupt_checkpoint,
                  scaling.origin() + ": high_freq_factor must be more than low_freq_factor");
    }
  }
  return rope;
}

}  // namespace

RopeConfig read_rope(const ModelConfig& config, double default_theta) {
  const double theta = config.get_number("rope_theta", 1e-6, kMost, default_theta);
  for (const char* key : {"rope_parameters", "rope_scaling"}) {
    if (config.has(key)) return read_scaling(config.get_object(key), theta);
  }
  return {.theta = theta};
}

RopeConfig read_layer_rope(const ModelConfig& config, std::string_view layer_type) {
  const bool full = layer_type == "full_attention";
  const double usual = full ? 1e6 : 1e4;
  if (config.has("rope_parameters")) {
    const ModelConfig tables = config.get_object("rope_parameters");
    return tables.has(layer_type) ? read_scaling(tables.get_object(layer_type), usual)
                                  : RopeConfig{.theta = usual};
  }
  if (!full) return {.theta = config.get_number("rope_local_base_freq", 1e-6, kMost, usual)};
  return read_rope(config, usual);
}

}  // namespace gpumcp::gpu_runtime

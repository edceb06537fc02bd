// Steering as tools name it: a vector that is added to what some layers compute, or a direction
// that is taken out of it, for the tokens of one call and no other. Given inline, or by the URI
// that steer and ablate_direction keep it under: an artifact of the caller's own, which goes by
// itself. Values and free functions, callable from any thread.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "gpu_runtime/taps.h"
#include "interfaces/interface.h"

namespace gpumcp::interfaces {

struct SteeringInput {
  std::optional<std::string> handle;
  std::optional<TensorRef> vector;
  std::optional<std::vector<int64_t>> layers;
  std::optional<double> strength;
  std::optional<std::string> mode, positions, site;
};
GPUMCP_DESCRIBE_DOC(
    SteeringInput, (handle, "URI that steer or ablate_direction gave; needs nothing else."),
    (vector, "Inline: URI of a vector as wide as the model, or of a row for each of `layers`."),
    (layers,
     "Inline: the layers, from the end where negative; left out: the middle one, all of an "
     "ablation, or one for each row of `vector` where it has as many."),
    (strength, "Inline: factor of the vector, default 1; negative steers away."),
    (mode, "Inline: add (default), or ablate: take the direction out."),
    (positions,
     "Inline: all (default), prompt, generated, last (of the prompt), or token places \"0,5,-1\"."),
    (site, "Inline: where in a layer, as TransformerLens names it; default resid_post."))

// What stands in a handle.
struct SteeringPlan {
  std::string vector;  // the URI it was made from, for people
  std::vector<int64_t> layers;
  double strength = 1;
  std::string mode = "add", positions = "all", site = "resid_post";
  at::Tensor rows;  // float32 [1 or layers.size(), width]
};

// Checked against a model of so many layers. ToolError names `argument` and what is wrong.
GPUMCP_RUNTIME_API SteeringPlan plan_steering(const SteeringInput& input, int64_t num_layers,
                                              const std::string& argument);
// The handle's URI.
GPUMCP_RUNTIME_API std::string keep_steering(const SteeringPlan& plan);

// A layer as a caller names it, from the end where negative. ToolError names the argument, and the
// layers that there are.
GPUMCP_RUNTIME_API int64_t chosen_layer(int64_t layer, int64_t count, const std::string& argument);

// Token places of a text whose prompt has so many tokens: all, prompt, generated, last, or indices
// joined by commas, from the prompt's end where negative. ToolError for anything else: it names the
// argument, and `known` as what it may be.
inline constexpr std::string_view kSteeredPlaces =
    "all, prompt, generated, last, or indices such as 0,5,-1";
GPUMCP_RUNTIME_API gpu_runtime::TokenPlaces parse_places(const std::string& positions,
                                                         int64_t prompt_tokens,
                                                         const std::string& argument,
                                                         std::string_view known = kSteeredPlaces);

// What all of them do to one text, in their order; null where there are none.
GPUMCP_RUNTIME_API std::shared_ptr<gpu_runtime::RowTaps> steering_taps(
    const std::vector<SteeringInput>& steering, int64_t num_layers, int64_t prompt_tokens);

// The parameter of tools that can be steered.
inline mcp::Arg steering_arg() {
  return arg("steering",
             "Steer this call: handles of steer or ablate_direction ({\"handle\": URI}), or a "
             "vector inline. They add up; other calls are not touched.",
             std::vector<SteeringInput>())
      .max_items(16);
}

}  // namespace gpumcp::interfaces

// steer and ablate_direction: handles that later calls name; nothing changes until they do.
#include "interfaces/interpretability/interpretability.h"
#include "interfaces/result_size.h"
#include "interfaces/tensor_io.h"

namespace gpumcp::interfaces {
namespace {

struct SteeringHandle {
  std::string handle, mode;
  std::vector<int64_t> layers;
  std::optional<int64_t> left_out;
  double strength;
  std::string site, positions;
  double vector_norm;
  std::string use;
};
GPUMCP_DESCRIBE_DOC(SteeringHandle, (handle, "Names this steering in the session's later calls."),
                    (mode, "add or ablate."), (layers, "Where it acts, up to 12 of them."),
                    (left_out, "The layers beyond those, where there are more."),
                    (strength, "Factor of the vector."), (site, "Where in a layer."),
                    (positions, "On which tokens; the first 60 characters."),
                    (vector_norm,
                     "Length of the vector (of the first, of several): compare "
                     "with get_activations' mean_norms."),
                    (use, "What to do with it."))

constexpr size_t kSteeredShown = 12;

SteeringHandle keep(const Subject& subject, const SteeringInput& input) {
  // What a caller got wrong is named as this tool's own argument.
  const int64_t width = subject.model.config().hidden_size;
  SteeringPlan plan;
  try {
    plan = plan_steering(input, subject.layers(), "");
  } catch (const ToolError& e) {
    std::string said = e.what();
    if (const size_t at = said.find("arguments.."); at == 0) said.erase(9, 1);
    throw ToolError(said);
  }
  const auto kind = site_in(plan.site, 0).kind;
  using Kind = gpu_runtime::SiteKind;
  const bool residual = kind != Kind::z && kind != Kind::mlp_post && kind != Kind::q &&
                        kind != Kind::k && kind != Kind::v;  // those check their width when used
  if (residual && plan.rows.size(1) != width) {
    throw ToolError("arguments.vector: it has " + std::to_string(plan.rows.size(1)) +
                    " values, but " + subject.name + " is " + std::to_string(width) +
                    " wide: it must come from this model");
  }
  SteeringHandle out{.handle = keep_steering(plan),
                     .mode = plan.mode,
                     .layers = plan.layers,
                     .strength = plan.strength,
                     .site = plan.site,
                     .positions = cut_text(plan.positions, 60, 60),
                     .vector_norm = *shown(plan.rows[0].norm().item<double>()),
                     .use =
                         "pass steering: [{\"handle\": …}] to generate, chat, next_tokens, "
                         "get_activations or logit_lens"};
  if (out.layers.size() > kSteeredShown) {
    out.left_out = static_cast<int64_t>(out.layers.size() - kSteeredShown);
    out.layers.resize(kSteeredShown);
  }
  return out;
}

mcp::Arg places_arg() {
  return positions_arg(
             "On which tokens: all, prompt, generated, last (of the prompt), or indices "
             "\"0,5,-1\".")
      .default_value("\"all\"");
}

}  // namespace

void expose_steer(Interface& interface, const Subject& subject) {
  interface.expose(
      {.name = "steer",
       .description = "Make a steering for the language model " + subject.name +
                      ": a vector that is added to what layers compute. Returns a handle of this "
                      "session's own; calls that name it are steered, all others are not.",
       .annotations = tensor_tool("Steer")},
      [subject](const TensorRef& vector, const std::vector<int64_t>& layers, double strength,
                const std::string& positions, const std::string& site) {
        SteeringInput input{.vector = vector,
                            .strength = strength,
                            .mode = "add",
                            .positions = positions,
                            .site = site};
        if (!layers.empty()) input.layers = layers;
        return keep(subject, input);
      },
      arg("vector",
          "URI of a vector, of contrast_vector or another tool; or of a row for "
          "each layer."),
      arg("layers",
          "Which layers, from the end where negative; left out: the middle one, or all where the "
          "vector has a row for each.",
          std::vector<int64_t>())
          .max_items(1000),
      arg("strength", "Factor of the vector; negative steers away.", 1.0)
          .minimum(-1e6)
          .maximum(1e6),
      places_arg(), site_arg());
  interface.expose(
      {.name = "ablate_direction",
       .description = "Make a steering that takes a direction out of the language model " +
                      subject.name +
                      "'s hidden states, so that it cannot use what lies along it. Returns a "
                      "handle, as steer does.",
       .annotations = tensor_tool("Ablate a direction")},
      [subject](const TensorRef& vector, const std::vector<int64_t>& layers, double strength,
                const std::string& positions, const std::string& site) {
        SteeringInput input{.vector = vector,
                            .strength = strength,
                            .mode = "ablate",
                            .positions = positions,
                            .site = site};
        if (!layers.empty()) input.layers = layers;
        return keep(subject, input);
      },
      arg("vector", "URI of the direction; its length does not matter."),
      arg("layers", "Which layers, from the end where negative; left out: all.",
          std::vector<int64_t>())
          .max_items(1000),
      arg("strength", "1 takes all of it out, 0.5 half.", 1.0).minimum(-10).maximum(10),
      places_arg(),
      arg("site",
          "Where in a layer; resid_post stands for the residual stream wherever the layer "
          "reads it.",
          "resid_post"));
}

}  // namespace gpumcp::interfaces

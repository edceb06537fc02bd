#include "interfaces/interpretability/interpretability.h"

#include <algorithm>
#include <limits>

#include "gpu_runtime/error.h"

namespace gpumcp::interfaces {
namespace {

constexpr const char* kModel = "HuggingFaceTB/SmolLM2-135M-Instruct";
constexpr size_t kMaxTexts = 64;

}  // namespace

namespace {

std::vector<int32_t> ids_of(const AutoTokenizer& tokenizer, const std::string& whole, bool chat) {
  auto ids = tokenizer(whole, {.add_special_tokens = !chat,
                               .max_length = std::numeric_limits<std::size_t>::max()})
                 .rows()
                 .at(0)
                 .ids;
  if (ids.empty()) throw ToolError("a text has no tokens: give one that is not empty");
  return ids;
}

}  // namespace

std::vector<int32_t> Subject::encode(const std::string& text, bool chat) const {
  return chat ? encode(std::vector<Message>{{"user", text}}) : ids_of(tokenizer, text, false);
}

std::vector<int32_t> Subject::encode(const std::vector<Message>& messages) const {
  return ids_of(tokenizer, render_chat(tokenizer, messages), true);
}

std::string Subject::token(int32_t id) const { return tokenizer.decode(std::span(&id, 1), false); }

int32_t Subject::first_token(const std::string& text, std::string_view argument) const {
  const auto ids = tokenizer(text, {.add_special_tokens = false}).rows().at(0).ids;
  if (ids.empty())
    throw ToolError("arguments." + std::string(argument) + ": the text has no tokens");
  return ids[0];
}

std::vector<int64_t> chosen_layers(const std::vector<int64_t>& layers, int64_t count) {
  std::vector<int64_t> out;
  for (const int64_t layer : layers) out.push_back(chosen_layer(layer, count, "layers"));
  for (int64_t i = 0; layers.empty() && i < count; ++i) out.push_back(i);
  std::ranges::sort(out);
  const auto repeated = std::ranges::unique(out);
  out.erase(repeated.begin(), repeated.end());
  return out;
}

gpu_runtime::Site site_in(const std::string& kind, int64_t layer) {
  try {
    return gpu_runtime::parse_site("blocks." + std::to_string(layer) + "." + kind);
  } catch (const gpu_runtime::Error& e) {
    throw ToolError("arguments.site: " + std::string(e.what()));
  }
}

mcp::Arg texts_arg(std::string name, std::string description, size_t least) {
  return arg(std::move(name), std::move(description)).min_items(least).max_items(kMaxTexts);
}
mcp::Arg chat_arg() {
  return arg("chat", "Put each text as a user's message into the model's chat template.", false);
}
mcp::Arg site_arg() {
  return arg("site",
             "Where in a layer, as TransformerLens names it: resid_pre, attn_out, resid_mid, "
             "mlp_out, resid_post; also mlp.hook_post, attn.hook_q, _k, _v, _z.",
             "resid_post");
}
mcp::Arg positions_arg(std::string description) {
  return arg("positions", std::move(description), "last").min_length(1).max_length(1000);
}

}  // namespace gpumcp::interfaces

GPUMCP_INTERFACE(interpretability, interface) {
  using namespace gpumcp::interfaces;
  const std::string name = interface.default_model(kModel, gpumcp::is_language_model);
  const gpumcp::ModelPath path = interface.get_model_path(name);
  const Subject subject{.name = shown_model(interface, name),
                        .model = gpumcp::AutoModelForCausalLM::from_pretrained(path),
                        .tokenizer = gpumcp::AutoTokenizer::from_pretrained(path),
                        .adapters = adapters_of(name)};
  expose_get_activations(interface, subject);
  expose_contrast_vector(interface, subject);
  expose_steer(interface, subject);
  expose_logit_lens(interface, subject);
  expose_patch_activations(interface, subject);
  expose_attention_pattern(interface, subject);
  expose_get_weights(interface, subject);
  expose_probe(interface);
}

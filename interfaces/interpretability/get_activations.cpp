// get_activations: what stands at named sites while the model reads texts.
#include <ATen/ops/cat.h>
#include <ATen/ops/stack.h>

#include "gpu_runtime/error.h"
#include "interfaces/interpretability/interpretability.h"
#include "interfaces/tensor_io.h"

namespace gpumcp::interfaces {
namespace {

namespace rt = gpu_runtime;

struct Activations {
  std::string uri;
  std::vector<int64_t> shape;
  std::vector<std::string> axes;
  std::string dtype;
  std::vector<int64_t> tokens;
  std::vector<double> mean_norms;
  std::vector<std::optional<double>> preview;
};
GPUMCP_DESCRIBE_DOC(Activations, (uri, "Names the tensor for other tools."),
                    (shape, "Its dimensions."), (axes, "What they are."),
                    (dtype, "Type of its values."), (tokens, "Of each text, up to 16 texts."),
                    (mean_norms,
                     "Of each site (up to 16): the mean length of its vectors, a "
                     "measure for steering strengths."),
                    (preview, "The first 6 values."))

constexpr size_t kCountsShown = 16;
constexpr std::string_view kReadPlaces = "last, mean, all, or indices such as 0,5,-1";
constexpr int64_t kMaxValues = int64_t{1} << 27;  // half a gigabyte

// "blocks.*.hook_mlp_out" stands for one in each layer.
std::vector<rt::Site> sites_of(const std::vector<std::string>& names, int64_t layers) {
  std::vector<rt::Site> out;
  for (size_t i = 0; i < names.size(); ++i) {
    try {
      const size_t star = names[i].find('*');
      for (int64_t layer = 0; layer < (star == std::string::npos ? 1 : layers); ++layer) {
        std::string name = names[i];
        if (star != std::string::npos) name.replace(star, 1, std::to_string(layer));
        out.push_back(rt::parse_site(name));
      }
    } catch (const rt::Error& e) {
      throw ToolError("arguments.sites[" + std::to_string(i) + "]: " + e.what());
    }
    if (out.back().kind == rt::SiteKind::pattern || out.back().kind == rt::SiteKind::scores)
      throw ToolError("arguments.sites: attention_pattern shows who looks at what");
  }
  return out;
}

// What is read: texts, each as it stands or as a user's message, or one conversation.
struct Reading {
  std::vector<std::string> texts;
  std::vector<Message> messages;
  bool chat = false;
};

std::vector<std::vector<int32_t>> encode_all(const Subject& subject, const Reading& reading) {
  if (reading.texts.empty() == reading.messages.empty())
    throw ToolError("give texts, or the messages of one conversation");
  std::vector<std::vector<int32_t>> out;
  if (!reading.messages.empty()) out.push_back(subject.encode(reading.messages));
  for (const std::string& text : reading.texts) out.push_back(subject.encode(text, reading.chat));
  return out;
}

mcp::WithContent<Activations> get_activations(const Subject& subject, const Reading& reading,
                                              const std::vector<std::string>& names,
                                              const std::string& positions,
                                              const std::vector<SteeringInput>& steering,
                                              const std::string& adapter) {
  const std::vector<rt::Site> sites = sites_of(names, subject.layers());
  const bool mean = positions == "mean";
  std::vector<rt::TokenRow> rows;
  Activations out{};
  int64_t places = 0;
  for (std::vector<int32_t>& ids : encode_all(subject, reading)) {
    const auto count = static_cast<int64_t>(ids.size());
    const rt::TokenPlaces where =
        mean ? rt::TokenPlaces() : parse_places(positions, count, "positions", kReadPlaces);
    places += where.list.empty() ? std::min(where.end, count) - std::min(where.begin, count)
                                 : static_cast<int64_t>(where.list.size());
    rt::RowTaps taps;
    if (const auto steered = steering_taps(steering, subject.layers(), count)) taps = *steered;
    for (const rt::Site site : sites) taps.captures.push_back({site, where});
    if (out.tokens.size() < kCountsShown) out.tokens.push_back(count);
    rows.push_back(subject.row(std::move(ids), std::move(taps), adapter));
  }
  const int64_t values =
      places * static_cast<int64_t>(sites.size()) * subject.model.config().hidden_size;
  if (values > kMaxValues) {
    throw ToolError("these activations are about " + std::to_string(values) +
                    " numbers, more than the limit of " + std::to_string(kMaxValues) +
                    ": ask for fewer texts or sites, or positions last or mean");
  }
  const auto captured = subject.model.capture(std::move(rows));
  std::vector<at::Tensor> by_text;
  for (const auto& of_text : captured) {
    std::vector<at::Tensor> by_site;
    for (const at::Tensor& one : of_text) {
      if (!one.defined())
        throw ToolError("arguments.positions: \"" + positions +
                        "\" names no token that the model reads here: give " +
                        std::string(kReadPlaces));
      const at::Tensor wide = one.to(at::kCPU, at::kFloat);
      by_site.push_back(mean || positions == "last" ? wide.mean(0) : wide);
      if (by_site.back().sizes() != by_site[0].sizes())
        throw ToolError("these sites differ in width: ask for those of one kind in a call");
    }
    by_text.push_back(at::stack(by_site));
    if (by_text.back().sizes() != by_text[0].sizes()) {
      throw ToolError("the texts have different numbers of tokens, so positions \"" + positions +
                      "\" do not make one array: use last or mean, or one text in a call");
    }
  }
  const at::Tensor all = at::stack(by_text);
  out.axes = {"text", "site"};
  if (!mean && positions != "last") out.axes.push_back("token");
  const bool heads = sites[0].kind == rt::SiteKind::z || sites[0].kind == rt::SiteKind::q ||
                     sites[0].kind == rt::SiteKind::k || sites[0].kind == rt::SiteKind::v;
  if (heads) out.axes.push_back("head");
  out.axes.push_back("value");
  std::string about = "activations of " + subject.name + " at " + names[0];
  if (names.size() > 1) about += " and " + std::to_string(names.size() - 1) + " more";
  about += "; axes";
  for (const std::string& axis : out.axes) about += " " + axis;
  const KeptTensor kept = keep_tensor(all, "activations", about);
  out.uri = kept.uri;
  out.shape = kept.shape;
  out.dtype = kept.dtype;
  out.preview = kept.preview;
  const at::Tensor norms = all.norm(2, -1);
  for (int64_t i = 0; i < all.size(1) && i < static_cast<int64_t>(kCountsShown); ++i)
    out.mean_norms.push_back(*shown(norms.select(1, i).mean().item<double>()));
  return {std::move(out), {link_to(kept)}};
}

}  // namespace

void expose_get_activations(Interface& interface, const Subject& subject) {
  interface.expose(
      {.name = "get_activations",
       .description = "Read hidden states (activations) of the language model " + subject.name +
                      " while it reads texts, at TransformerLens' sites. Returns one tensor by "
                      "uri, [text, site, (token,) value], for the tools of tensors, "
                      "train_probe, steer.",
       .annotations = tensor_tool("Get activations")},
      [subject](const std::vector<std::string>& texts, const std::vector<std::string>& sites,
                const std::string& positions, bool chat, const std::vector<SteeringInput>& steering,
                const std::vector<Message>& messages, const std::string& adapter) {
        return get_activations(subject, {texts, messages, chat}, sites, positions, steering,
                               adapter);
      },
      arg("texts", "The texts to read, up to 64.", std::vector<std::string>()).max_items(64),
      arg("sites",
          "Where: \"blocks.10.hook_resid_post\" (also hook_resid_pre, hook_resid_mid, "
          "hook_attn_out, hook_mlp_out, mlp.hook_post, attn.hook_q, attn.hook_k, attn.hook_v, "
          "attn.hook_z), \"blocks.*.hook_resid_post\" "
          "for every layer (the default), \"ln_final.hook_normalized\".",
          std::vector<std::string>{"blocks.*.hook_resid_post"})
          .min_items(1)
          .max_items(256),
      positions_arg("Of which tokens: last, mean of all, all, or indices \"0,5,-1\"."), chat_arg(),
      steering_arg(),
      arg("messages",
          "Instead of texts: one conversation, oldest message first, in the model's chat template.",
          std::vector<Message>())
          .max_items(1000),
      adapter_arg(subject.adapters));
}

}  // namespace gpumcp::interfaces

// attention_pattern: which tokens look at which.
#include "interfaces/interpretability/interpretability.h"
#include "interfaces/picture.h"
#include "interfaces/result_size.h"
#include "interfaces/tensor_io.h"

namespace gpumcp::interfaces {
namespace {

namespace rt = gpu_runtime;

struct Attended {
  int64_t token;
  std::string text;
  double weight;
};
GPUMCP_DESCRIBE_DOC(Attended, (token, "Which, from 0."), (text, "That token."),
                    (weight, "How much of its attention goes there."))

struct Pattern {
  std::string uri;
  int64_t layer;
  std::vector<int64_t> shape;
  std::vector<std::string> axes;
  std::vector<Attended> last_token;
  double on_first, on_previous, on_self;
};
GPUMCP_DESCRIBE_DOC(Pattern, (uri, "The pattern; each row adds up to 1."),
                    (layer, "Of which layer."), (shape, "Its dimensions."),
                    (axes, "What they are."),
                    (last_token, "Where the last token looks most (mean of heads, if of several)."),
                    (on_first, "Mean weight on the first token."),
                    (on_previous, "… on the token before."), (on_self, "… on itself."))

constexpr int64_t kKeysShown = 5, kMaxTokens = 2048;

mcp::WithContent<Pattern> attention_pattern(const Subject& subject, const std::string& text,
                                            std::optional<int64_t> wanted,
                                            std::optional<int64_t> head, bool chat) {
  auto ids = subject.encode(text, chat);
  const auto n = static_cast<int64_t>(ids.size());
  if (n > kMaxTokens) {
    throw ToolError("a pattern of " + std::to_string(n) + " tokens: the limit is " +
                    std::to_string(kMaxTokens) + "; shorten the text");
  }
  const int64_t layer =
      chosen_layer(wanted.value_or(subject.layers() / 2), subject.layers(), "layer");
  std::vector<rt::TokenRow> rows;
  rows.push_back(subject.row(ids, {{{{rt::SiteKind::pattern, layer}, {}}}, {}}));
  at::Tensor pattern = subject.model.capture(std::move(rows)).at(0).at(0).to(at::kCPU);
  if (head) {
    const int64_t heads = pattern.size(0), at = *head < 0 ? *head + heads : *head;
    if (at < 0 || at >= heads) {
      throw ToolError("arguments.head: " + std::to_string(*head) +
                      " is none: the layer's heads are 0 to " + std::to_string(heads - 1) +
                      ", or -1 to " + std::to_string(-heads) + " from the end");
    }
    pattern = pattern[at];
  }
  const KeptTensor kept =
      keep_tensor(pattern, "attention",
                  "blocks." + std::to_string(layer) + ".attn.hook_pattern; axes" +
                      (head ? "" : " head,") + " looking token, token looked at");
  const at::Tensor mean = (head ? pattern : pattern.mean(0)).to(at::kDouble).contiguous();
  Pattern out{.uri = kept.uri, .layer = layer, .shape = kept.shape, .axes = {"query", "key"}};
  if (!head) out.axes.insert(out.axes.begin(), "head");
  const at::Tensor last = mean[n - 1];
  const at::Tensor order = std::get<1>(last.sort(true, 0, true));
  for (int64_t i = 0; i < std::min(kKeysShown, n); ++i) {
    const int64_t token = order[i].item<int64_t>();
    out.last_token.push_back({token, cut_word(subject.token(ids[static_cast<size_t>(token)])),
                              *shown(last[token].item<double>())});
  }
  out.on_first = *shown(mean.select(1, 0).mean().item<double>());
  out.on_previous = n > 1 ? *shown(mean.diagonal(-1).mean().item<double>()) : 0;
  out.on_self = *shown(mean.diagonal().mean().item<double>());
  std::vector<mcp::ContentBlock> content{link_to(kept)};
  if (n <= kMaxCells) {
    content.push_back(heat_map_image(
        draw_heat_map({mean.const_data_ptr<double>(), static_cast<size_t>(n * n)}, n, n)));
  }
  return {std::move(out), std::move(content)};
}

}  // namespace

void expose_attention_pattern(Interface& interface, const Subject& subject) {
  interface.expose(
      {.name = "attention_pattern",
       .description = "See which tokens of a text attend to which in one layer of the language "
                      "model " +
                      subject.name +
                      ", of one head or all, with a heat map (rows look, columns "
                      "are looked at).",
       .annotations = tensor_tool("Attention pattern")},
      [subject](const std::string& text, std::optional<int64_t> layer, std::optional<int64_t> head,
                bool chat) { return attention_pattern(subject, text, layer, head, chat); },
      arg("text", "The text.").min_length(1),
      arg("layer", "Which, from the end where negative; left out: the middle one."),
      arg("head",
          "Which, from the end where negative; left out: all, and their mean in the picture."),
      chat_arg());
}

}  // namespace gpumcp::interfaces

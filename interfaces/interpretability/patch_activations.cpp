// patch_activations: which places carry what makes the difference between two texts. A row of the
// batch for each layer and token: the corrupted text, with that one hidden state from the clean
// one.
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>

#include "interfaces/interpretability/interpretability.h"
#include "interfaces/picture.h"
#include "interfaces/result_size.h"
#include "interfaces/tensor_io.h"

namespace gpumcp::interfaces {
namespace {

namespace rt = gpu_runtime;

struct Effect {
  int64_t layer, token;
  std::string text;
  double effect;
};
GPUMCP_DESCRIBE_DOC(Effect, (layer, "Which layer."), (token, "Which token, from 0."),
                    (text, "That token."), (effect, "0: nothing restored, 1: all."))

struct Patching {
  double clean, corrupted;
  std::vector<int64_t> shape;
  std::string effects;
  std::vector<Effect> largest;
  int64_t tokens;
};
GPUMCP_DESCRIBE_DOC(Patching,
                    (clean,
                     "The measure on the clean text: log p(answer), or less "
                     "log p(wrong) where given."),
                    (corrupted, "On the corrupted text."), (shape, "Layers by tokens."),
                    (effects, "URI of the table: how much of the difference each patch restores."),
                    (largest, "The 5 largest."), (tokens, "Of the texts."))

constexpr size_t kEffectsShown = 5;
constexpr int64_t kMaxPatches = 4096;

rt::Capture end_scores(int64_t tokens) {
  return {{rt::SiteKind::final_norm, 0}, {.list = {tokens - 1}}, true};
}

mcp::WithContent<Patching> patch(const Subject& subject, const std::string& clean_text,
                                 const std::string& corrupted_text, const std::string& answer,
                                 const std::optional<std::string>& wrong, const std::string& site,
                                 const std::vector<int64_t>& wanted, bool chat) {
  const auto clean = subject.encode(clean_text, chat),
             corrupted = subject.encode(corrupted_text, chat);
  if (clean.size() != corrupted.size()) {
    throw ToolError("the clean text has " + std::to_string(clean.size()) +
                    " tokens and the corrupted one " + std::to_string(corrupted.size()) +
                    ": word them so that both have as many (tokenize shows them)");
  }
  const auto n = static_cast<int64_t>(clean.size());
  const rt::SiteKind kind = site_in(site, 0).kind;
  if (kind == rt::SiteKind::pattern || kind == rt::SiteKind::scores) {
    throw ToolError("arguments.site: " + site +
                    " has numbers for pairs of tokens; patch a site that has values for each "
                    "token, as attn.hook_z or resid_post");
  }
  const std::vector<int64_t> layers = chosen_layers(wanted, subject.layers());
  // Before the first token that differs nothing can.
  int64_t first = 0;
  while (first < n && clean[static_cast<size_t>(first)] == corrupted[static_cast<size_t>(first)])
    ++first;
  if (first == n) throw ToolError("the two texts are the same");
  const int64_t patches = (n - first) * static_cast<int64_t>(layers.size());
  if (patches > kMaxPatches) {
    throw ToolError(std::to_string(patches) + " patches are more than the limit of " +
                    std::to_string(kMaxPatches) + ": name fewer layers, or shorten the texts");
  }
  const int32_t right_token = subject.first_token(answer, "answer");
  std::optional<int32_t> wrong_token;
  if (wrong) wrong_token = subject.first_token(*wrong, "wrong");
  auto measure = [&](const at::Tensor& scores) {
    const at::Tensor p = at::log_softmax(scores[0].to(at::kCPU, at::kDouble), -1);
    const double right = p[right_token].item<double>();
    return wrong_token ? right - p[*wrong_token].item<double>() : right;
  };

  rt::RowTaps reading;
  reading.captures.push_back(end_scores(n));
  for (const int64_t layer : layers) reading.captures.push_back({site_in(site, layer), {}});
  std::vector<rt::TokenRow> rows;
  rows.push_back(subject.row(clean, reading));
  rows.push_back(subject.row(corrupted, {{end_scores(n)}, {}}));
  const auto base = subject.model.capture(std::move(rows));
  Patching out{.clean = measure(base[0][0]), .corrupted = measure(base[1][0])};
  const double whole = out.clean - out.corrupted;
  if (std::abs(whole) < 1e-6)
    throw ToolError("both texts give the answer the same score: there is nothing to restore");

  rows.clear();
  for (size_t i = 0; i < layers.size(); ++i) {
    for (int64_t token = first; token < n; ++token) {
      rt::RowTaps taps;
      taps.captures.push_back(end_scores(n));
      taps.edits.push_back({.site = site_in(site, layers[i]),
                            .kind = rt::EditKind::replace,
                            .vector = base[0][i + 1].narrow(0, token, 1).flatten(1),
                            .places = {.list = {token}}});
      rows.push_back(subject.row(corrupted, std::move(taps)));
    }
  }
  const auto patched = subject.model.capture(std::move(rows));
  at::Tensor effects = at::zeros({static_cast<int64_t>(layers.size()), n}, at::kDouble);
  std::vector<Effect> all;
  size_t next = 0;
  for (size_t i = 0; i < layers.size(); ++i) {
    for (int64_t token = first; token < n; ++token) {
      const double effect = (measure(patched[next++][0]) - out.corrupted) / whole;
      effects.mutable_data_ptr<double>()[static_cast<int64_t>(i) * n + token] = effect;
      all.push_back({layers[i], token,
                     cut_word(subject.token(corrupted[static_cast<size_t>(token)])), effect});
    }
  }
  std::ranges::stable_sort(all, std::greater<>(), &Effect::effect);
  for (size_t i = 0; i < std::min(kEffectsShown, all.size()); ++i) {
    all[i].effect = *shown(all[i].effect);
    out.largest.push_back(all[i]);
  }
  const KeptTensor kept = keep_tensor(effects.to(at::kFloat), "patching",
                                      "effects of patching " + site + "; axes layer, token");
  out.effects = kept.uri;
  out.shape = kept.shape;
  out.tokens = n;
  out.clean = *shown(out.clean);
  out.corrupted = *shown(out.corrupted);
  std::vector<mcp::ContentBlock> content{link_to(kept)};
  if (effects.size(0) <= kMaxCells && n <= kMaxCells) {
    content.push_back(heat_map_image(
        draw_heat_map({effects.const_data_ptr<double>(), static_cast<size_t>(effects.numel())},
                      effects.size(0), n)));
  }
  return {std::move(out), std::move(content)};
}

}  // namespace

void expose_patch_activations(Interface& interface, const Subject& subject) {
  interface.expose(
      {.name = "patch_activations",
       .description = "Find where the language model " + subject.name +
                      " keeps what decides an answer (activation patching): runs a corrupted "
                      "text, with one hidden state at a time from a clean text, and says how much "
                      "of the answer each restores. With a heat map, layers by tokens.",
       .annotations = tensor_tool("Activation patching")},
      [subject](const std::string& clean, const std::string& corrupted, const std::string& answer,
                const std::optional<std::string>& wrong, const std::string& site,
                const std::vector<int64_t>& layers, bool chat) {
        return patch(subject, clean, corrupted, answer, wrong, site, layers, chat);
      },
      arg("clean", "The text that leads to the answer.").min_length(1),
      arg("corrupted", "One like it that does not, of as many tokens.").min_length(1),
      arg("answer", "What follows the clean text; its first token counts: \" Paris\".")
          .min_length(1),
      arg("wrong",
          "What follows the corrupted one: \" Rome\". The measure is then the difference."),
      site_arg(),
      arg("layers", "Which, from the end where negative; left out: all.", std::vector<int64_t>()),
      chat_arg());
}

}  // namespace gpumcp::interfaces

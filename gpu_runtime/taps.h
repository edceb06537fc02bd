#pragma once

// Named places in a causal model's layers, read and changed for one row of a batch:
//
//   TokenRow row = …;
//   row.taps = std::make_shared<RowTaps>(RowTaps{
//       .captures = {{.site = parse_site("blocks.3.hook_resid_post"), .positions = {-1}}},
//       .edits = {{.site = parse_site("blocks.2.hook_resid_post"), .vector = direction * 4}}});
//
// Taps are inputs and outputs of the forward pass: rows with and without them ride in one batch,
// and what one row asks for changes no bit of another's. Sites have TransformerLens' names. At a
// site edits come first, in their order, then captures; so a capture shows what the next layer
// sees. Values, shared between threads once made; vectors must not change after.
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "gpu_runtime/export.h"
#include "gpu_runtime/lora.h"

namespace gpumcp::gpu_runtime {

// In the order in which a layer computes them; `d` is hidden_size. Queries, keys and values are as
// their projections give them, before any norm and rotation. Scores and patterns may be edited in
// whole texts only, and replaced only.
enum class SiteKind : std::uint8_t {
  resid_pre,   // blocks.L.hook_resid_pre, [tokens, d]: what goes into the layer
  q,           // blocks.L.attn.hook_q, [tokens, heads, head_dim]
  k,           // blocks.L.attn.hook_k, [tokens, kv_heads, head_dim]
  v,           // blocks.L.attn.hook_v, [tokens, kv_heads, head_dim]
  scores,      // blocks.L.attn.hook_attn_scores, [heads, tokens, tokens]: -inf where unseen
  pattern,     // blocks.L.attn.hook_pattern, [heads, tokens, tokens]: their softmax
  z,           // blocks.L.attn.hook_z, [tokens, heads, head_dim]: before the output projection
  attn_out,    // blocks.L.hook_attn_out, [tokens, d]: what attention adds
  resid_mid,   // blocks.L.hook_resid_mid, [tokens, d]
  mlp_post,    // blocks.L.mlp.hook_post, [tokens, intermediate_size]: the neurons
  mlp_out,     // blocks.L.hook_mlp_out, [tokens, d]: what the feed-forward part adds
  resid_post,  // blocks.L.hook_resid_post, [tokens, d]: what comes out of the layer
  final_norm,  // ln_final.hook_normalized, [tokens, d]: what the head reads (weights applied)
};
inline constexpr std::size_t kSiteKinds = 13;

struct Site {
  SiteKind kind = SiteKind::resid_post;
  std::int64_t layer = 0;  // 0 for final_norm
  bool operator==(const Site&) const = default;
};

// TransformerLens' full name, or a shorter one: "blocks.3.resid_post". Error(invalid_argument)
// names those that there are.
GPUMCP_RUNTIME_API Site parse_site(std::string_view name);
GPUMCP_RUNTIME_API std::string to_string(Site site);

// Places in a text, prompt and generated tokens alike, from 0: those of `list`, or, where it is
// empty, from `begin` up to before `end`.
struct TokenPlaces {
  std::int64_t begin = 0, end = std::numeric_limits<std::int64_t>::max();
  std::vector<std::int64_t> list;  // ascending
};

struct Capture {
  Site site;
  TokenPlaces places;      // of scores and patterns: all
  bool as_logits = false;  // of resid_* and final_norm: the head's scores of the next token, by way
                           // of the final norm, in their place ("logit lens")
};

enum class EditKind : std::uint8_t {
  add,      // + scale * vector
  ablate,   // - scale * (its part along the vector)
  replace,  // the vector's rows, one for each of places.list; scores, pattern: all of it
};

struct Edit {
  Site site;
  EditKind kind = EditKind::add;
  // [width of the site]; for replace [places.list.size(), width], of scores and patterns
  // [heads, tokens, tokens].
  at::Tensor vector;
  double scale = 1;
  TokenPlaces places;
};

struct RowTaps {
  std::vector<Capture> captures;
  std::vector<Edit> edits;
  std::shared_ptr<const LoraAdapter> adapter = nullptr;   // the row's model is the base with it
  std::shared_ptr<const PlacedAdapter> placed = nullptr;  // … where the model is; it sets this
};

// What an architecture offers; zero: it has no taps.
struct TapFacts {
  std::int64_t layers = 0, hidden_size = 0, heads = 0, z_width = 0, mlp_width = 0;
  std::int64_t kv_heads = 0, kv_width = 0;
  std::int64_t width(SiteKind kind) const;
};

// Error(unsupported) for a model without taps, Error(invalid_argument) for a layer, a place or a
// vector that does not fit. `length`: tokens of the text, or nothing while it is being generated,
// where patterns cannot be captured.
void check_taps(const RowTaps& taps, const TapFacts& facts, std::int64_t length, bool generating);

// The same with vectors where and as the model's numbers are; ablated directions have length 1.
std::shared_ptr<RowTaps> taps_on(const RowTaps& taps, c10::Device device, at::ScalarType dtype);

}  // namespace gpumcp::gpu_runtime

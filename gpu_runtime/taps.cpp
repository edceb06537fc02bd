#include "gpu_runtime/taps.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "gpu_runtime/error.h"

namespace gpumcp::gpu_runtime {
namespace {

struct SiteName {
  SiteKind kind;
  std::string_view full, brief;  // behind "blocks.L."
};
constexpr std::array<SiteName, 12> kNames{
    {{SiteKind::resid_pre, "hook_resid_pre", "resid_pre"},
     {SiteKind::q, "attn.hook_q", "q"},
     {SiteKind::k, "attn.hook_k", "k"},
     {SiteKind::v, "attn.hook_v", "v"},
     {SiteKind::scores, "attn.hook_attn_scores", "attn_scores"},
     {SiteKind::pattern, "attn.hook_pattern", "pattern"},
     {SiteKind::z, "attn.hook_z", "z"},
     {SiteKind::attn_out, "hook_attn_out", "attn_out"},
     {SiteKind::resid_mid, "hook_resid_mid", "resid_mid"},
     {SiteKind::mlp_post, "mlp.hook_post", "mlp_post"},
     {SiteKind::mlp_out, "hook_mlp_out", "mlp_out"},
     {SiteKind::resid_post, "hook_resid_post", "resid_post"}}};
constexpr std::string_view kFinal = "ln_final.hook_normalized", kBlocks = "blocks.";

[[noreturn]] void refuse(const std::string& why) { throw Error(ErrorCode::invalid_argument, why); }

void check_places(const TokenPlaces& places, std::int64_t length, Site site) {
  std::int64_t before = -1;
  for (const std::int64_t place : places.list) {
    if (place < 0 || place >= length) {
      refuse(to_string(site) + ": token " + std::to_string(place) + " of a text of " +
             std::to_string(length) + " tokens (they count from 0)");
    }
    if (place <= before) refuse(to_string(site) + ": its token places must ascend");
    before = place;
  }
}

void check_site(Site site, const TapFacts& facts) {
  if (site.kind != SiteKind::final_norm && (site.layer < 0 || site.layer >= facts.layers)) {
    refuse(to_string(site) + ": the model's layers are 0 to " + std::to_string(facts.layers - 1));
  }
}

bool is_square(SiteKind kind) { return kind == SiteKind::scores || kind == SiteKind::pattern; }

bool in_residual_stream(SiteKind kind) {
  return kind == SiteKind::resid_pre || kind == SiteKind::resid_mid ||
         kind == SiteKind::resid_post || kind == SiteKind::final_norm;
}

std::string edit_shape(const at::Tensor& v) {
  if (!v.defined()) return "none";
  std::string shape = "shape [";
  for (std::int64_t i = 0; i < v.dim(); ++i)
    shape += (i > 0 ? ", " : "") + std::to_string(v.size(i));
  return shape + "]";
}

// Who looks at what: one number for each pair of tokens.
void check_square_edit(const Edit& edit, const TapFacts& facts, std::int64_t length,
                       bool generating) {
  const std::string name = to_string(edit.site);
  if (generating) refuse(name + " is changed in a whole text, not while one is generated");
  if (edit.kind != EditKind::replace) refuse(name + " can be replaced, not added to");
  const at::Tensor& v = edit.vector;
  if (v.defined() && v.dim() == 3 && v.size(0) == facts.heads && v.size(1) == length &&
      v.size(2) == length && at::isFloatingType(v.scalar_type()))
    return;
  refuse(name + ": [" + std::to_string(facts.heads) + ", " + std::to_string(length) + ", " +
         std::to_string(length) + "] numbers are needed for this text, got " + edit_shape(v));
}

void check_edit(const Edit& edit, const TapFacts& facts, std::int64_t length, bool generating) {
  const std::string name = to_string(edit.site);
  if (is_square(edit.site.kind)) return check_square_edit(edit, facts, length, generating);
  check_places(edit.places, length, edit.site);
  const std::int64_t width = facts.width(edit.site.kind);
  const bool rows = edit.kind == EditKind::replace;
  const auto count = static_cast<std::int64_t>(edit.places.list.size());
  if (rows && count == 0) refuse(name + ": what is replaced needs its token places");
  const at::Tensor& v = edit.vector;
  const bool fits = v.defined() && v.dim() == (rows ? 2 : 1) && v.size(-1) == width &&
                    (!rows || v.size(0) == count) && at::isFloatingType(v.scalar_type());
  if (!fits) {
    refuse(name + ": a vector of " + std::to_string(width) + " values is needed" +
           (rows ? " for each of " + std::to_string(count) + " tokens" : "") + ", got " +
           edit_shape(v) + ": it must come from the same model and the same kind of site");
  }
}

}  // namespace

Site parse_site(std::string_view name) {
  if (name == kFinal || name == "final_norm") return {SiteKind::final_norm, 0};
  std::string_view rest = name;
  if (rest.starts_with(kBlocks)) rest.remove_prefix(kBlocks.size());
  std::int64_t layer = 0;
  const auto [end, problem] = std::from_chars(rest.data(), rest.data() + rest.size(), layer);
  if (problem == std::errc() && layer >= 0) {
    rest.remove_prefix(static_cast<std::size_t>(end - rest.data()));
    for (const SiteName& one : kNames) {
      if (rest.size() > 1 && rest[0] == '.' &&
          (rest.substr(1) == one.full || rest.substr(1) == one.brief))
        return {one.kind, layer};
    }
  }
  std::string said = "site ";
  said += name.substr(0, 100);
  said += " is none: write blocks.L. and one of";
  for (const SiteName& one : kNames) (said += " ") += one.full;
  refuse((said += "; or ") += kFinal);
}

std::string to_string(Site site) {
  for (const SiteName& one : kNames) {
    if (one.kind == site.kind)
      return std::string(kBlocks) + std::to_string(site.layer) + "." + std::string(one.full);
  }
  return std::string(kFinal);
}

std::int64_t TapFacts::width(SiteKind kind) const {
  switch (kind) {
    case SiteKind::q:
    case SiteKind::z:
      return z_width;
    case SiteKind::k:
    case SiteKind::v:
      return kv_width;
    case SiteKind::mlp_post:
      return mlp_width;
    default:
      return hidden_size;
  }
}

void check_taps(const RowTaps& taps, const TapFacts& facts, std::int64_t length, bool generating) {
  if (facts.layers == 0 && !taps.adapter) {
    throw Error(ErrorCode::unsupported,
                "the model's layers cannot be read or changed: that works for causal language "
                "models (Llama, Mistral, Qwen, Gemma, GPT-2), not for encoders and compiled "
                "modules");
  }
  for (const Capture& capture : taps.captures) {
    check_site(capture.site, facts);
    check_places(capture.places, length, capture.site);
    if (generating && is_square(capture.site.kind))
      refuse(to_string(capture.site) + " is read from a whole text, not while one is generated");
    if (capture.as_logits && !in_residual_stream(capture.site.kind))
      refuse(to_string(capture.site) +
             " is no part of the residual stream: the head reads hook_resid_*");
  }
  for (const Edit& edit : taps.edits) {
    check_site(edit.site, facts);
    check_edit(edit, facts, length, generating);
  }
}

std::shared_ptr<RowTaps> taps_on(const RowTaps& taps, c10::Device device, at::ScalarType dtype) {
  auto out = std::make_shared<RowTaps>(taps);
  for (Edit& edit : out->edits) {
    if (edit.kind == EditKind::ablate) {
      const at::Tensor wide = edit.vector.to(device, at::kFloat);
      edit.vector = wide / wide.norm().clamp_min(1e-12);
    } else if (is_square(edit.site.kind)) {
      edit.vector = edit.vector.to(device, at::kFloat);
    } else {
      edit.vector = (edit.vector.to(device, at::kFloat) * edit.scale).to(dtype);
    }
  }
  return out;
}

}  // namespace gpumcp::gpu_runtime

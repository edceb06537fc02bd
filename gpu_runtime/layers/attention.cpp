#include "gpu_runtime/layers/attention.h"

#include <optional>

#include "gpu_runtime/batch_taps.h"
#include "gpu_runtime/kv_cache.h"

namespace gpumcp::gpu_runtime {
namespace {

at::Tensor attend(const at::Tensor& qkv, LengthGroup group, std::int64_t heads,
                  const AttentionBias& bias) {
  const std::int64_t width = qkv.size(1) / 3;
  at::Tensor split =
      qkv.view({group.count, group.length, 3, heads, width / heads}).permute({2, 0, 3, 1, 4});
  at::Tensor mixed =
      at::scaled_dot_product_attention(split.select(0, 0), split.select(0, 1), split.select(0, 2),
                                       bias ? std::optional(bias(group.length)) : std::nullopt);
  return mixed.transpose(1, 2).reshape({group.count * group.length, width});
}

// f(begin, tokens, index) for each group; the parts, joined.
template <class F>
at::Tensor for_each_group(std::span<const LengthGroup> groups, F&& f) {
  if (groups.size() == 1) return f(0, groups[0].count * groups[0].length, std::size_t{0});
  std::vector<at::Tensor> parts;
  parts.reserve(groups.size());
  std::int64_t begin = 0;
  for (std::size_t i = 0; i < groups.size(); ++i) {
    const std::int64_t tokens = groups[i].count * groups[i].length;
    parts.push_back(f(begin, tokens, i));
    begin += tokens;
  }
  return at::cat(parts);
}

// Which keys each of the last `rows` tokens of `all` may see; bool [rows, all].
at::Tensor visible(std::int64_t rows, std::int64_t all, const AttentionConfig& config,
                   c10::Device device) {
  const auto options = at::TensorOptions(device).dtype(at::kLong);
  const at::Tensor distance =
      at::arange(all - rows, all, options).unsqueeze(1) - at::arange(all, options);
  at::Tensor seen = config.causal ? distance.ge(0) : at::ones_like(distance, at::kBool);
  if (config.window > 0) seen = seen.logical_and(distance.abs().lt(config.window));
  return seen;
}

// q [texts, heads, n, d]; k, v [texts, heads, m, d]; the mask may be undefined.
at::Tensor product(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                   const at::Tensor& mask, bool causal, const AttentionConfig& config) {
  if (config.soft_cap == 0) {
    return at::scaled_dot_product_attention(
        q, k, v, mask.defined() ? std::optional(mask) : std::nullopt, 0.0, causal, config.scale);
  }
  at::Tensor scores = at::matmul(q, k.transpose(2, 3)).mul_(config.scale);
  scores = scores.div_(config.soft_cap).tanh_().mul_(config.soft_cap);
  if (mask.defined())
    scores.masked_fill_(mask.logical_not(), -std::numeric_limits<float>::infinity());
  return at::matmul(at::softmax(scores, -1, at::kFloat).to(v.scalar_type()), v);
}

// The last n of m tokens attend: q [texts, heads, n, d], k and v [texts, kv_heads, m, d]; gives
// [texts * n, heads * d].
at::Tensor attend_grouped(const at::Tensor& q, at::Tensor k, at::Tensor v,
                          const AttentionConfig& config) {
  const std::int64_t texts = q.size(0), n = q.size(2), d = config.head_dim;
  const std::int64_t group = config.heads / config.kv_heads;
  if (n == 1 && config.causal) {  // no mask: what is too old is left out; a group's heads are rows
    if (config.window > 0 && k.size(2) > config.window) {
      k = k.narrow(2, k.size(2) - config.window, config.window);
      v = v.narrow(2, v.size(2) - config.window, config.window);
    }
    return product(q.reshape({texts, config.kv_heads, group, d}), k, v, {}, false, config)
        .reshape({texts, config.heads * d});
  }
  const std::int64_t m = k.size(2);
  const bool windowed = config.window > 0 && m > config.window;
  const bool plain_causal = config.causal && !windowed && n == m && config.soft_cap == 0;
  at::Tensor mask;
  if (windowed || (config.causal && !plain_causal)) mask = visible(n, m, config, q.device());
  if (group > 1) {
    auto repeated = [&](const at::Tensor& x) {
      return x.unsqueeze(2)
          .expand({texts, config.kv_heads, group, m, d})
          .reshape({texts, config.heads, m, d});
    };
    k = repeated(k);
    v = repeated(v);
  }
  return product(q, k, v, mask, plain_causal, config)
      .transpose(1, 2)
      .reshape({texts * n, config.heads * d});
}

// [n, kv_heads, d] with each head as often as queries share it: [n, heads, d].
at::Tensor repeated_heads(const at::Tensor& x, const AttentionConfig& config) {
  const std::int64_t n = x.size(0), group = config.heads / config.kv_heads;
  return x.unsqueeze(2)
      .expand({n, config.kv_heads, group, config.head_dim})
      .reshape({n, config.heads, config.head_dim});
}

// How much each token looks at each: float32 [heads, n, n] of one text's queries [n, heads, d] and
// keys [n, kv_heads, d], before the softmax.
at::Tensor scores_of(const at::Tensor& queries, const at::Tensor& keys,
                     const AttentionConfig& config) {
  const std::int64_t n = queries.size(0);
  const at::Tensor k = repeated_heads(keys, config);
  at::Tensor scores =
      at::matmul(queries.transpose(0, 1), k.permute({1, 2, 0})).to(at::kFloat).mul_(config.scale);
  if (config.soft_cap > 0) scores = scores.div_(config.soft_cap).tanh_().mul_(config.soft_cap);
  scores.masked_fill_(visible(n, n, config, scores.device()).logical_not(),
                      -std::numeric_limits<float>::infinity());
  return scores;
}

}  // namespace

at::Tensor self_attention(const at::Tensor& qkv, std::span<const LengthGroup> groups,
                          std::int64_t heads, const AttentionBias& bias) {
  return for_each_group(groups, [&](std::int64_t begin, std::int64_t tokens, std::size_t i) {
    return attend(qkv.narrow(0, begin, tokens), groups[i], heads, bias);
  });
}

void tap_query_key_value(const PackedBatch& batch, std::int64_t layer, const at::Tensor& flat,
                         const AttentionConfig& config) {
  if (batch.taps == nullptr) return;
  const std::int64_t q = config.heads * config.head_dim, kv = config.kv_heads * config.head_dim;
  batch.tap(SiteKind::q, layer, flat.narrow(1, 0, q));
  batch.tap(SiteKind::k, layer, flat.narrow(1, q, kv));
  batch.tap(SiteKind::v, layer, flat.narrow(1, q + kv, kv));
}

at::Tensor grouped_attention(const at::Tensor& queries, const at::Tensor& keys,
                             const at::Tensor& values, const PackedBatch& batch, std::size_t layer,
                             const AttentionConfig& config) {
  const auto number = static_cast<std::int64_t>(layer);
  at::Tensor mixed =
      for_each_group(batch.groups, [&](std::int64_t begin, std::int64_t tokens, std::size_t i) {
        const LengthGroup group = batch.groups[i];
        auto texts = [&](const at::Tensor& x) {  // [texts, heads, length, d]
          return x.narrow(0, begin, tokens)
              .view({group.count, group.length, x.size(1), x.size(2)})
              .transpose(1, 2);
        };
        if (batch.caches.empty())
          return attend_grouped(texts(queries), texts(keys), texts(values), config);
        auto [all_keys, all_values] = batch.caches[i]->append(layer, keys.narrow(0, begin, tokens),
                                                              values.narrow(0, begin, tokens));
        return attend_grouped(texts(queries), all_keys, all_values, config);
      });
  if (batch.taps != nullptr && batch.taps->looks_at_patterns(number)) {
    batch.taps->take_patterns(
        number,
        [&](std::int64_t begin, std::int64_t tokens) {
          return scores_of(queries.narrow(0, begin, tokens), keys.narrow(0, begin, tokens), config);
        },
        [&](std::int64_t begin, std::int64_t tokens, const at::Tensor& pattern) {
          const at::Tensor v = repeated_heads(values.narrow(0, begin, tokens), config);
          const at::Tensor z = at::matmul(pattern.to(v.scalar_type()), v.transpose(0, 1));
          mixed.narrow(0, begin, tokens).copy_(z.transpose(0, 1).reshape({tokens, -1}));
        });
  }
  batch.tap(SiteKind::z, number, mixed);
  return mixed;
}

}  // namespace gpumcp::gpu_runtime

#include "gpu_runtime/layers/attention.h"

namespace gpumcp::gpu_runtime {
namespace {

at::Tensor attend(const at::Tensor& qkv, LengthGroup group, std::int64_t heads) {
  const std::int64_t width = qkv.size(1) / 3;
  at::Tensor split =
      qkv.view({group.count, group.length, 3, heads, width / heads}).permute({2, 0, 3, 1, 4});
  at::Tensor mixed =
      at::scaled_dot_product_attention(split.select(0, 0), split.select(0, 1), split.select(0, 2));
  return mixed.transpose(1, 2).reshape({group.count * group.length, width});
}

}  // namespace

at::Tensor self_attention(const at::Tensor& qkv, std::span<const LengthGroup> groups,
                          std::int64_t heads) {
  if (groups.size() == 1) return attend(qkv, groups[0], heads);
  std::vector<at::Tensor> parts;
  parts.reserve(groups.size());
  std::int64_t begin = 0;
  for (const LengthGroup& group : groups) {
    const std::int64_t tokens = group.count * group.length;
    parts.push_back(attend(qkv.narrow(0, begin, tokens), group, heads));
    begin += tokens;
  }
  return at::cat(parts);
}

}  // namespace gpumcp::gpu_runtime

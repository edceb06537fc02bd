#include "gpu_runtime/packing.h"

#include <algorithm>
#include <numeric>

#include "gpu_runtime/batch_taps.h"
#include "gpu_runtime/error.h"
#include "gpu_runtime/kv_cache.h"

namespace gpumcp::gpu_runtime {
namespace {

at::Tensor to_device(const at::Tensor& host, c10::Device device) {
  // Pinned, so that the copy runs beside the CPU; torch keeps the buffer until the copy is done.
  return device.is_cpu() ? host : host.pin_memory().to(device, /*non_blocking=*/true);
}

}  // namespace

void PackedBatch::between_layers() const {
  if (wanted != nullptr && *wanted && !(*wanted)())
    throw Error(ErrorCode::cancelled, "the call was cancelled");
}

void PackedBatch::tap_rows(SiteKind kind, std::int64_t layer, const at::Tensor& x) const {
  taps->at(kind, layer, x);
}

void PackedBatch::adapt_rows(LinearSite site, std::int64_t layer, const at::Tensor& x,
                             const at::Tensor& y) const {
  taps->adapt(site, layer, x, y);
}

std::vector<std::vector<std::size_t>> plan_chunks(std::span<const std::size_t> lengths,
                                                  std::int64_t max_tokens) {
  std::vector<std::size_t> order(lengths.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return lengths[a] < lengths[b]; });
  std::vector<std::vector<std::size_t>> chunks;
  std::int64_t tokens = 0;
  for (std::size_t row : order) {
    const auto length = static_cast<std::int64_t>(lengths[row]);
    if (chunks.empty() || tokens + length > max_tokens) {
      chunks.emplace_back();
      tokens = 0;
    }
    chunks.back().push_back(row);
    tokens += length;
  }
  return chunks;
}

PackedBatch pack(std::span<const TokenRow* const> rows, c10::Device device) {
  PackedBatch batch;
  bool typed = false;
  for (const TokenRow* row : rows) {
    const auto length = static_cast<std::int64_t>(row->ids.size());
    if (batch.groups.empty() || batch.groups.back().length != length)
      batch.groups.push_back({0, length});
    ++batch.groups.back().count;
    batch.tokens += length;
    typed = typed || std::any_of(row->type_ids.begin(), row->type_ids.end(),
                                 [](std::int32_t t) { return t != 0; });
  }
  batch.rows = static_cast<std::int64_t>(rows.size());
  const auto options = at::TensorOptions(at::kLong);
  at::Tensor ids = at::empty({batch.tokens}, options),
             positions = at::empty({batch.tokens}, options);
  auto* id = ids.mutable_data_ptr<std::int64_t>();
  auto* position = positions.mutable_data_ptr<std::int64_t>();
  for (const TokenRow* row : rows) {
    id = std::copy(row->ids.begin(), row->ids.end(), id);
    std::iota(position, position + row->ids.size(), std::int64_t{0});
    position += row->ids.size();
  }
  batch.ids = to_device(ids, device);
  batch.positions = to_device(positions, device);
  if (typed) {
    at::Tensor types = at::zeros({batch.tokens}, options);
    auto* type = types.mutable_data_ptr<std::int64_t>();
    for (const TokenRow* row : rows) {
      std::copy(row->type_ids.begin(), row->type_ids.end(), type);
      type += row->ids.size();
    }
    batch.type_ids = to_device(types, device);
  }
  return batch;
}

PackedBatch pack(std::span<const SequenceInput> rows, c10::Device device) {
  PackedBatch batch;
  for (const SequenceInput& row : rows) {
    batch.groups.push_back({1, static_cast<std::int64_t>(row.tokens.size())});
    batch.caches.push_back(row.cache);
    batch.tokens += batch.groups.back().length;
  }
  batch.rows = static_cast<std::int64_t>(rows.size());
  at::Tensor ids = at::empty({batch.tokens}, at::kLong),
             positions = at::empty({batch.tokens}, at::kLong);
  auto* id = ids.mutable_data_ptr<std::int64_t>();
  auto* position = positions.mutable_data_ptr<std::int64_t>();
  for (const SequenceInput& row : rows) {
    id = std::copy(row.tokens.begin(), row.tokens.end(), id);
    std::iota(position, position + row.tokens.size(), row.cache->length());
    position += row.tokens.size();
  }
  batch.ids = to_device(ids, device);
  batch.positions = to_device(positions, device);
  return batch;
}

}  // namespace gpumcp::gpu_runtime

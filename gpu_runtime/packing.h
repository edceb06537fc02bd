#pragma once

// A batch without padding: the tokens of all texts stand end to end, texts of one length side by
// side, so that attention takes each length in one call and every other layer sees a plain [tokens,
// d] matrix. On 2 CPU cores this runs mixed texts (4 to 256 tokens) about three times as fast as
// padding to the longest does. Values; built and read on the thread that owns the model.
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "gpu_runtime/export.h"
#include "gpu_runtime/taps.h"

namespace gpumcp::gpu_runtime {

class BatchTaps;
class KvCache;

// Whether what is being done is still wanted: false once every caller left. Asked between the
// layers of a batch and between the tensors of a load, by the thread that works.
using StillWanted = std::function<bool()>;

// One text as a model sees it. type_ids is empty (all 0) or as long as ids.
struct TokenRow {
  std::vector<std::int32_t> ids, type_ids;
  std::shared_ptr<const RowTaps> taps = nullptr;  // what is read and changed on its way (taps.h)
};

// `count` texts of `length` tokens each, side by side.
struct LengthGroup {
  std::int64_t count = 0, length = 0;
};

struct PackedBatch {
  at::Tensor ids, positions;  // int64 [tokens]
  at::Tensor type_ids;        // int64 [tokens]; undefined: all 0
  std::vector<LengthGroup> groups;
  std::vector<KvCache*> caches;  // empty, or one a group; each group is one text then
  std::int64_t tokens = 0, rows = 0;
  const StillWanted* wanted = nullptr;  // null: always
  BatchTaps* taps = nullptr;            // null: no row has any
  // Layers to compute; where only taps are wanted, the later ones may be left out.
  std::int64_t layers = std::numeric_limits<std::int64_t>::max();

  // What a model calls at each named site, before anybody else reads x: the taps may change it.
  void tap(SiteKind kind, std::int64_t layer, const at::Tensor& x) const {
    if (taps != nullptr) tap_rows(kind, layer, x);
  }
  // What a model calls behind a linear layer that adapters may change; may change y.
  void adapt(LinearSite site, std::int64_t layer, const at::Tensor& x, const at::Tensor& y) const {
    if (taps != nullptr) adapt_rows(site, layer, x, y);
  }
  // What a model calls before each layer: Error(cancelled) when nobody waits for the batch.
  GPUMCP_RUNTIME_API void between_layers() const;

 private:
  void tap_rows(SiteKind kind, std::int64_t layer, const at::Tensor& x) const;
  void adapt_rows(LinearSite site, std::int64_t layer, const at::Tensor& x,
                  const at::Tensor& y) const;
};

// Which rows go together: indices into the rows, longest last, in chunks of at most max_tokens
// tokens (a longer row goes alone). One chunk after the other is faster than all at once where the
// activations would not fit the caches.
GPUMCP_RUNTIME_API std::vector<std::vector<std::size_t>> plan_chunks(
    std::span<const std::size_t> lengths, std::int64_t max_tokens);

// What a sequence adds to what its cache holds: its prompt or a part of it, or its newest token.
struct SequenceInput {
  std::span<const std::int32_t> tokens;
  KvCache* cache = nullptr;
};

// The rows in their order, each at the positions behind what its cache holds.
GPUMCP_RUNTIME_API PackedBatch pack(std::span<const SequenceInput> rows, c10::Device device);

// The rows must be sorted by length. On a device beside the CPU what is packed lies in pinned
// memory and its copy is only begun: the kernels that follow on the stream find it done.
GPUMCP_RUNTIME_API PackedBatch pack(std::span<const TokenRow* const> rows, c10::Device device);

}  // namespace gpumcp::gpu_runtime

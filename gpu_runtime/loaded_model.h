#pragma once

// A Hugging Face folder on a device: the transformer, and the pooling that its
// sentence-transformers files describe. Made, used and destroyed on an executor's owner thread,
// inside c10::InferenceMode.
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "gpu_runtime/batch_model.h"
#include "gpu_runtime/checkpoint.h"
#include "gpu_runtime/generation/decode_model.h"
#include "gpu_runtime/model_loader.h"
#include "gpu_runtime/models/transformer.h"
#include "gpu_runtime/pooling.h"

namespace gpumcp::gpu_runtime {

class LoadedModel final : public BatchModel, public DecodeModel {
 public:
  // Throws Error for everything that is wrong with the folder.
  explicit LoadedModel(const LoadRequest& request);
  ~LoadedModel() override;

  // Error(invalid_argument): no tokens, too many, an id or type beyond the model's tables.
  void check(const TokenRow& row) const override;
  // Error(corrupt_checkpoint) names the first weight that holds a NaN when results are not finite.
  void run(std::span<const BatchRow> rows, const StillWanted& wanted) override;
  // On a CPU as run(); beside a GPU the kernels are handed over and finish() waits for them.
  std::unique_ptr<PendingBatch> start(std::span<const BatchRow> rows,
                                      const StillWanted& wanted) override;
  std::uint64_t nbytes() const override { return nbytes_; }

  // Itself, for an architecture that keeps what went before.
  DecodeModel* decoder() override;
  DecodeFacts decode_facts() const override;
  void check_prompt(std::span<const std::int32_t> tokens) const override;
  std::shared_ptr<const RowTaps> prepare_taps(const RowTaps& taps) const override;
  std::unique_ptr<KvCache> make_cache(std::int64_t tokens) override;
  // Error(unsupported) for a checkpoint without a language model head.
  at::Tensor decode(std::span<const DecodeRow> rows) override;

 private:
  struct Chunk;
  class Pending;
  std::unique_ptr<Pending> launch(std::span<const BatchRow> rows, const StillWanted& wanted);
  Chunk launch_chunk(std::vector<const BatchRow*> rows, const StillWanted& wanted);
  void settle(Chunk& chunk);
  const Pooling& pooling();  // read at the first use: a model that never pools need not have it
  at::Tensor logits_of(const at::Tensor& hidden) const;
  // Of the chunk's texts, [texts, labels].
  at::Tensor class_scores_of(const at::Tensor& hidden, std::span<const LengthGroup> groups) const;
  at::Tensor log_probabilities_of(const at::Tensor& hidden, const at::Tensor& ids) const;
  // taps_on() this model, its adapter too.
  std::shared_ptr<const RowTaps> place(const RowTaps& taps) const;
  std::shared_ptr<const PlacedAdapter> place(
      const std::shared_ptr<const LoraAdapter>& adapter) const;
  // What a row's taps read, in the form that RowResult::captures has.
  std::vector<at::Tensor> captures_of(const RowTaps& taps, std::vector<at::Tensor> raw) const;
  // For the error path: `values` are those that came out.
  void require_finite(const at::Tensor& values);

  const std::filesystem::path folder_;
  const c10::Device device_;
  const Checkpoint checkpoint_;
  std::uint64_t nbytes_ = 0;
  at::ScalarType dtype_;
  std::unique_ptr<Transformer> transformer_;
  std::optional<Pooling> pooling_;
  const std::function<bool(std::int64_t)> take_memory_;
  // Adapters that rows have named since the model was loaded.
  mutable std::map<const LoraAdapter*, std::shared_ptr<const PlacedAdapter>> adapters_;
};

}  // namespace gpumcp::gpu_runtime

// A file of its own: torch's operators bring a CHECK that is not doctest's.
#include "fake_decoder.h"

#include <ATen/ops/zeros.h>

#include <limits>
#include <stdexcept>

namespace gpumcp::gpu_runtime {

at::Tensor FakeDecoder::decode(std::span<const DecodeRow> rows) {
  std::unique_lock lock(steps_->mutex);
  steps_->waiting = 1;
  steps_->changed.notify_all();
  steps_->changed.wait(lock, [&] { return steps_->permitted != 0; });
  steps_->waiting = 0;
  if (steps_->permitted > 0) --steps_->permitted;
  Step step;
  for (const DecodeRow& row : rows) step.emplace_back(row.tokens.begin(), row.tokens.end());
  steps_->seen.push_back(step);
  steps_->changed.notify_all();
  std::int64_t wanted = 0;
  for (const DecodeRow& row : rows) {
    wanted += row.want_scores;
    if (row.tokens.back() == kBreaks) throw std::runtime_error("a broken row");
    if (row.tokens.back() == kDeviceFails)
      throw c10::AcceleratorError({"", "", 0}, 719, "CUDA error: unspecified launch failure");
  }
  at::Tensor scores = at::zeros({wanted, kVocabulary});
  auto* out = scores.mutable_data_ptr<float>();
  for (const DecodeRow& row : rows) {
    row.cache->advance(static_cast<std::int64_t>(row.tokens.size()));
    if (!row.want_scores) continue;
    const std::int32_t last = row.tokens.back();
    if (last == kNotANumber) out[0] = std::numeric_limits<float>::quiet_NaN();
    // A text that goes on for long reaches no odd token.
    out[last + 1 == kBreaks ? 0 : (last + 1) % kVocabulary] = 5;
    out += kVocabulary;
  }
  return scores;
}

}  // namespace gpumcp::gpu_runtime

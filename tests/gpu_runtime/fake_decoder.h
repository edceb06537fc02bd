#pragma once

// A model that continues texts without computing: behind token t comes (t + 1) % kVocabulary. It
// records what each step was given, and a test says how many steps may run. Tokens tell it what to
// do: kBreaks throws, kNotANumber gives NaN scores, kDeviceFails throws as CUDA does after a
// bad access.
#include <condition_variable>
#include <memory>
#include <mutex>
#include <vector>

#include "gpu_runtime/batch_model.h"
#include "gpu_runtime/error.h"
#include "gpu_runtime/generation/decode_model.h"

namespace gpumcp::gpu_runtime {

constexpr std::int32_t kVocabulary = 100, kBreaks = 90, kNotANumber = 91, kDeviceFails = 92;

using Step = std::vector<std::vector<std::int32_t>>;  // each row's tokens

struct Steps {
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<Step> seen;
  int permitted = -1;  // -1: any number
  int waiting = 0;     // 1 while the owner thread waits for a permit

  void permit(int count) {
    std::scoped_lock lock(mutex);
    permitted = count;
    changed.notify_all();
  }
  // Lets exactly so many steps run, and waits until the next one is being held.
  void run(int count) {
    std::unique_lock lock(mutex);
    permitted = count;
    changed.notify_all();
    changed.wait(lock, [&] { return permitted == 0 && waiting == 1; });
  }
  void wait_until_held() {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return waiting == 1; });
  }
  std::vector<Step> all() {
    std::scoped_lock lock(mutex);
    return seen;
  }
};

class FakeDecoder final : public BatchModel, public DecodeModel {
 public:
  FakeDecoder(std::shared_ptr<Steps> steps, DecodeFacts facts)
      : steps_(std::move(steps)), facts_(facts) {}

  void check(const TokenRow&) const override {}
  void run(std::span<const BatchRow>, const StillWanted&) override {}
  DecodeModel* decoder() override { return this; }
  DecodeFacts decode_facts() const override { return facts_; }
  void check_prompt(std::span<const std::int32_t> tokens) const override {
    if (tokens.empty()) throw Error(ErrorCode::invalid_argument, "no tokens");
  }
  std::unique_ptr<KvCache> make_cache(std::int64_t tokens) override {
    return std::make_unique<KvCache>(CacheShape{}, tokens, at::kFloat, at::kCPU);
  }
  at::Tensor decode(std::span<const DecodeRow> rows) override;

 private:
  std::shared_ptr<Steps> steps_;
  const DecodeFacts facts_;
};

}  // namespace gpumcp::gpu_runtime

#pragma once

// A BatchModel that records its batches and can be held: the owner thread waits in run() until the
// test lets it go on, so that a test knows what has gathered. A row's ids tell the fake what to do:
// the first id kBad throws. While it is held it asks, as between layers, whether it is still
// wanted. FakeDeviceModel is one whose device works beside the CPU.
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <vector>

#include <c10/util/Exception.h>

#include "gpu_runtime/batch_model.h"
#include "gpu_runtime/error.h"
#include "gpu_runtime/model_executor.h"

namespace gpumcp::gpu_runtime {

constexpr std::int32_t kBad = -1;          // run() throws for a batch that holds it
constexpr std::int32_t kOutOfMemory = -2;  // … std::bad_alloc
constexpr std::int32_t kRefused = -3;      // check() refuses it
constexpr std::int32_t kLosesDevice = -4;  // run() throws as CUDA does after a bad access
constexpr std::int32_t kNoKernel = -5;     // … after an error that leaves the device as it was

// What the fake has seen; shared between test and owner thread.
struct Recorder {
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<std::vector<std::int32_t>> batches;  // the first id of each row
  bool held = false;
  int entered = 0, begun = 0;  // batches that run() has seen; that start() has seen
  int unwanted = 0;            // batches that were given up
  int memory_failures = 0;     // this many batches still run out of memory
  bool destroyed = false;

  void hold() { set_held(true); }
  void let_go() { set_held(false); }
  void set_held(bool value) {
    std::scoped_lock lock(mutex);
    held = value;
    changed.notify_all();
  }
  void wait_for_entered(int count) {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return entered >= count; });
  }
  int entered_so_far() {
    std::scoped_lock lock(mutex);
    return entered;
  }
  void wait_for_begun(int count) {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return begun >= count; });
  }
  std::vector<std::vector<std::int32_t>> seen() {
    std::scoped_lock lock(mutex);
    return batches;
  }
};

class FakeModel final : public BatchModel {
 public:
  explicit FakeModel(std::shared_ptr<Recorder> recorder) : recorder_(std::move(recorder)) {}
  ~FakeModel() override {
    std::scoped_lock lock(recorder_->mutex);
    recorder_->destroyed = true;
  }

  void check(const TokenRow& row) const override {
    if (row.ids.empty() || row.ids[0] == kRefused)
      throw Error(ErrorCode::invalid_argument, "refused");
  }
  void run(std::span<const BatchRow> rows, const StillWanted& wanted) override {
    std::unique_lock lock(recorder_->mutex);
    ++recorder_->entered;
    recorder_->changed.notify_all();
    while (recorder_->held) {
      recorder_->changed.wait_for(lock, std::chrono::milliseconds(1));
      lock.unlock();
      const bool go_on = wanted();
      lock.lock();
      if (!go_on) {
        ++recorder_->unwanted;
        throw Error(ErrorCode::cancelled, "the call was cancelled");
      }
    }
    if (recorder_->memory_failures > 0) {
      --recorder_->memory_failures;
      throw std::bad_alloc();
    }
    recorder_->batches.emplace_back();
    for (const BatchRow& row : rows) recorder_->batches.back().push_back(row.tokens->ids[0]);
    for (const BatchRow& row : rows) {
      if (row.tokens->ids[0] == kBad) throw std::runtime_error("a bad row");
      if (row.tokens->ids[0] == kOutOfMemory) throw std::bad_alloc();
      if (row.tokens->ids[0] == kLosesDevice || row.tokens->ids[0] == kNoKernel) {
        const bool lost = row.tokens->ids[0] == kLosesDevice;
        throw c10::AcceleratorError({"", "", 0}, lost ? 700 : 209,
                                    lost ? "CUDA error: an illegal memory access\nand advice"
                                         : "CUDA error: no kernel image is available");
      }
    }
  }

 private:
  std::shared_ptr<Recorder> recorder_;
};

// start() returns at once; the batch is run when it is waited for.
class FakeDeviceModel final : public BatchModel {
 public:
  explicit FakeDeviceModel(std::shared_ptr<Recorder> recorder)
      : recorder_(recorder), model_(std::move(recorder)) {}
  void check(const TokenRow& row) const override { model_.check(row); }
  void run(std::span<const BatchRow> rows, const StillWanted& wanted) override {
    model_.run(rows, wanted);
  }
  std::unique_ptr<PendingBatch> start(std::span<const BatchRow> rows,
                                      const StillWanted& wanted) override {
    {
      std::scoped_lock lock(recorder_->mutex);
      ++recorder_->begun;
      recorder_->changed.notify_all();
    }
    struct Pending final : PendingBatch {
      Pending(FakeDeviceModel& owner, std::span<const BatchRow> rows, StillWanted wanted)
          : model(owner.model_),
            recorder(*owner.recorder_),
            rows(rows),
            wanted(std::move(wanted)) {}
      bool done() const override {
        std::scoped_lock lock(recorder.mutex);
        return !recorder.held;
      }
      double finish() override {
        model.run(rows, wanted);
        return 7;
      }
      FakeModel& model;
      Recorder& recorder;
      std::span<const BatchRow> rows;
      StillWanted wanted;
    };
    return std::make_unique<Pending>(*this, rows, wanted);
  }

 private:
  std::shared_ptr<Recorder> recorder_;
  FakeModel model_;
};

inline TokenRow row_of(std::int32_t first, std::size_t length = 4) {
  TokenRow row;
  row.ids.assign(length, first);
  return row;
}

inline std::vector<TokenRow> rows_of(std::int32_t first, std::size_t count,
                                     std::size_t length = 4) {
  return std::vector<TokenRow>(count, row_of(first, length));
}

// Waits for a condition that another thread brings about and that has no signal of its own.
template <class F>
void wait_until(F&& condition) {
  while (!condition()) std::this_thread::yield();
}

}  // namespace gpumcp::gpu_runtime

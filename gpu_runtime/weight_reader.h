#pragma once

// Brings a checkpoint's bytes to where a model wants them. On a CPU several threads read a tensor's
// bytes straight into its memory. For a GPU they go through a ring of pinned buffers: while one is
// copied by the device, the next is read; or from a copy of the whole checkpoint in pinned memory
// (HostWeights), which is what a warm model keeps. Used by the thread that loads.
#include <ATen/core/Tensor.h>

#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "gpu_runtime/checkpoint.h"
#include "gpu_runtime/export.h"
#include "gpu_runtime/packing.h"
#include "gpu_runtime/weight_session.h"

namespace gpumcp::gpu_runtime {

// How many threads read a large tensor at once: `requested`, or twice the cores, 4 to 16. A disk
// wants several requests at a time; a page cache, several cores.
GPUMCP_RUNTIME_API int read_threads(int requested);

// The tensor's bytes from its file, by several threads where it is large. Error(corrupt_checkpoint)
// when the file has become shorter, Error(cancelled) between pieces when nobody wants it.
GPUMCP_RUNTIME_API void read_bytes(const Checkpoint::Entry& entry, std::uint64_t offset,
                                   std::span<std::byte> into, int threads);

// All bytes of a checkpoint's files in host memory. Immutable, so any thread may read it.
class GPUMCP_RUNTIME_API HostWeights {
 public:
  // `pinned` where a device copies from it by itself.
  static std::shared_ptr<const HostWeights> read(const Checkpoint& checkpoint, bool pinned,
                                                 int threads, const StillWanted& wanted);
  at::Tensor bytes(const Checkpoint::Entry& entry) const;  // uint8 [nbytes], a view
  std::uint64_t nbytes() const { return nbytes_; }

 private:
  std::unordered_map<const SafetensorsFile*, at::Tensor> files_;  // uint8, the data section
  std::uint64_t nbytes_ = 0;
};

// Two pinned buffers that take turns.
class GPUMCP_RUNTIME_API StagingRing {
 public:
  // On a CPU the buffers are plain memory: the same steps, for tests.
  StagingRing(c10::Device device, std::size_t piece);
  ~StagingRing();
  using Source = std::function<void(std::uint64_t offset, std::span<std::byte> into)>;
  // Fills a contiguous tensor of the device. The copies may still run when it returns; kernels that
  // follow on the stream find them done.
  void fill(const at::Tensor& destination, const Source& source);

 private:
  struct Slot;
  c10::Device device_;
  std::size_t piece_;
  std::vector<Slot> slots_;
  std::size_t next_ = 0;
};

class GPUMCP_RUNTIME_API WeightReader {
 public:
  // The session must outlive it.
  WeightReader(c10::Device device, WeightSession& session);
  ~WeightReader();
  // An owned tensor on the device, converted to `dtype`.
  at::Tensor read(const Checkpoint::Entry& entry, at::ScalarType dtype);

 private:
  const c10::Device device_;
  WeightSession& session_;
  std::optional<StagingRing> ring_;  // made when it is needed
};

// While it lives, this thread hands its copies to a stream of their own, beside the kernels of
// other models; finish() waits for them. Does nothing on a CPU.
class GPUMCP_RUNTIME_API LoadStream {
 public:
  explicit LoadStream(c10::Device device);
  LoadStream(const LoadStream&) = delete;
  LoadStream& operator=(const LoadStream&) = delete;
  ~LoadStream();
  void finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace gpumcp::gpu_runtime

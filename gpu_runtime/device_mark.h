#pragma once

// A point in the line of kernels that a thread hands to a device: it can be waited for, and the
// time between two of them is the device's own (an event of its stream). On a CPU, which computes
// at once, a mark is the clock. Made, waited for and compared on the thread that hands the kernels
// over.
#include <ATen/core/Tensor.h>
#include <c10/core/Event.h>

#include <chrono>
#include <optional>

#include "gpu_runtime/export.h"

namespace gpumcp::gpu_runtime {

class GPUMCP_RUNTIME_API DeviceMark {
 public:
  // Behind everything that the thread has handed to the device's current stream so far.
  explicit DeviceMark(c10::Device device);

  bool passed() const;
  void wait() const;  // until the device has passed it; throws what the device threw
  double ms_until(const DeviceMark& later) const;  // both must be passed

 private:
  std::optional<c10::Event> event_;  // nothing on a CPU
  std::chrono::steady_clock::time_point time_;
};

// The native handle (a cudaStream_t) of the stream that this thread's kernels go to, for kernels of
// an author's own; null on a CPU.
GPUMCP_RUNTIME_API void* current_stream(c10::Device device);

// The tensor in host memory: itself on a CPU, else a pinned copy that is there once a DeviceMark
// made after this call is passed.
GPUMCP_RUNTIME_API at::Tensor copy_to_host(const at::Tensor& tensor);

}  // namespace gpumcp::gpu_runtime

#pragma once

// Where a model runs: "auto", "cpu", "cuda" or "cuda:N". CUDA is never linked: the first question
// about it opens libtorch_cuda.so beside libtorch_cpu.so, before any torch call that would ask
// whether CUDA is there (torch remembers that answer for the life of the process). Free functions,
// thread-safe; what they find is cached until the process ends.
#include <c10/core/Device.h>
#include <c10/util/Exception.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "gpu_runtime/export.h"

namespace gpumcp::gpu_runtime {

// What stands in the way of CUDA, or nothing.
struct CudaState {
  int device_count = 0;  // as the driver says; 0 where there is none
  bool usable = false;   // driver, device and libtorch_cuda are all there
  std::string reason;    // why not, in one sentence with the remedy; "" when usable
};

// Looks once: libcuda.so.1, cuInit, the number of devices, then libtorch_cuda.so. A machine without
// a device never maps libtorch_cuda (2 GB).
GPUMCP_RUNTIME_API const CudaState& cuda_state();

// "auto" is cuda:0 where CUDA is usable, else the CPU. Error(invalid_argument) for another
// spelling, Error(unsupported) for a CUDA device that is not there or cannot be used.
GPUMCP_RUNTIME_API c10::Device resolve_device(std::string_view spelling);

// Checks the spelling alone; touches neither driver nor torch's hooks, so that flags can be refused
// at start.
GPUMCP_RUNTIME_API void check_device_spelling(std::string_view spelling);

// Physical cores that this process may use (affinity, hyperthreads and a cgroup's CPU quota counted
// in), at least 1.
GPUMCP_RUNTIME_API int physical_cores();

// The number of CPU threads a kernel uses: `requested` if positive, else GPUMCP_THREADS, else
// physical_cores(). Two threads on a busy core are far slower than one, so this is a setting. Each
// thread that runs a model calls it once.
GPUMCP_RUNTIME_API int set_cpu_threads(int requested);

// Whether it is one of CUDA's errors after which every later call of this process fails too (a
// kernel's bad access, a failed assertion, a memory error, a device that is gone), as the CUDA
// runtime's documentation of cudaError says.
GPUMCP_RUNTIME_API bool is_device_lost(const c10::Error& error);

// Bytes that the driver says are free on a CUDA device. Wakes it.
GPUMCP_RUNTIME_API std::uint64_t free_device_memory(c10::Device device);

// Gives memory that torch keeps for reuse back to the device (or, on the CPU, to the system).
GPUMCP_RUNTIME_API void release_cached_memory(c10::Device device);

}  // namespace gpumcp::gpu_runtime

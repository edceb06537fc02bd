#pragma once

// What one load of a checkpoint's weights shares: whether it is still wanted, where the bytes come
// from, and how many were put on the device. Made by whoever loads, used on the thread that loads.
#include <cstdint>
#include <functional>
#include <memory>

namespace gpumcp::gpu_runtime {

class HostWeights;

struct WeightSession {
  std::function<bool()> wanted;             // empty: always; asked before each tensor
  std::shared_ptr<const HostWeights> host;  // the bytes, already in memory; null: read the files
  int threads = 0;                          // that read at once; 0: see read_threads()
  std::uint64_t device_bytes = 0;           // counted: weights given out, in their type
};

}  // namespace gpumcp::gpu_runtime

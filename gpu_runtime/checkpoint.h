#pragma once

// The weights of a Hugging Face folder: model.safetensors, or the shards that
// model.safetensors.index.json lists. open() reads and checks headers only, so nbytes() is known
// before a byte of weights is. Immutable after open(), so any thread may read it; a cheap handle.
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "gpu_runtime/export.h"
#include "gpu_runtime/safetensors.h"
#include "gpu_runtime/weight_session.h"

namespace gpumcp::gpu_runtime {

class GPUMCP_RUNTIME_API Checkpoint {
 public:
  // A tensor and the shard that holds it. `file` keeps the mapping alive.
  struct Entry {
    const TensorInfo* info = nullptr;
    std::shared_ptr<const SafetensorsFile> file;
    std::span<const std::byte> data() const { return file->data(*info); }
  };

  // Error(not_found) when there are no weights or a shard is missing (it is named),
  // Error(unsupported) when there are only pickles (pytorch_model.bin), Error(corrupt_checkpoint)
  // for anything broken.
  static Checkpoint open(const std::filesystem::path& folder);

  const Entry* find(std::string_view name) const;     // nullptr: no such tensor
  const Entry& require(std::string_view name) const;  // Error(corrupt_checkpoint) names near misses
  const std::vector<Entry>& tensors() const { return state_->entries; }
  const std::vector<std::shared_ptr<const SafetensorsFile>>& files() const { return state_->files; }
  const std::filesystem::path& folder() const { return state_->folder; }
  std::uint64_t nbytes() const { return state_->nbytes; }

  // A handle on the same files for one load; whoever reads weights through it takes part in the
  // session. None: read for its own sake.
  Checkpoint with(std::shared_ptr<WeightSession> session) const;
  const std::shared_ptr<WeightSession>& session() const { return session_; }

 private:
  struct State {
    std::filesystem::path folder;
    std::vector<std::shared_ptr<const SafetensorsFile>> files;
    std::vector<Entry> entries;
    std::map<std::string_view, std::size_t> by_name;  // not hashed: see safetensors.h
    std::uint64_t nbytes = 0;
  };
  explicit Checkpoint(std::shared_ptr<const State> state) : state_(std::move(state)) {}

  std::shared_ptr<const State> state_;
  std::shared_ptr<WeightSession> session_;
};

}  // namespace gpumcp::gpu_runtime

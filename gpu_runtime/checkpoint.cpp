#include "gpu_runtime/checkpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <system_error>
#include <utility>

#include "gpu_runtime/error.h"
#include "gpu_runtime/json.h"

namespace gpumcp::gpu_runtime {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxShards = 4096;

bool is_there(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

// A shard's name is a plain file name in the folder, whatever the index says.
void check_shard_name(const std::string& name, const std::string& origin) {
  const bool plain = !name.empty() && name.size() <= 255 && name.front() != '.' &&
                     name.find_first_of(std::string_view("/\\\0", 3)) == name.npos &&
                     name.ends_with(".safetensors");
  if (!plain) {
    throw Error(
        ErrorCode::corrupt_checkpoint,
        fmt::format("{}: weight_map names {}; a shard must be a plain file name that ends in "
                    ".safetensors",
                    origin, describe_json(Json(name))));
  }
}

// tensor name -> shard file name, checked.
std::map<std::string, std::string> read_index(const fs::path& path) {
  const Json index = read_json_file(path, {.max_bytes = std::size_t{64} << 20, .max_depth = 8});
  const std::string origin = path.string();
  const auto map = index.is_object() ? index.find("weight_map") : index.end();
  if (!index.is_object() || map == index.end() || !map->is_object() || map->empty()) {
    throw Error(ErrorCode::corrupt_checkpoint,
                fmt::format("{}: has no weight_map object that lists tensors", origin));
  }
  std::map<std::string, std::string> shard_of;
  for (const auto& [tensor, shard] : map->items()) {
    if (!shard.is_string()) {
      throw Error(ErrorCode::corrupt_checkpoint,
                  fmt::format("{}: weight_map[{}] is {}, not a file name", origin,
                              describe_json(Json(tensor)), describe_json(shard)));
    }
    check_shard_name(shard.get_ref<const std::string&>(), origin);
    shard_of.emplace(tensor, shard.get<std::string>());
  }
  return shard_of;
}

[[noreturn]] void refuse_no_weights(const fs::path& folder) {
  for (const char* pickle : {"pytorch_model.bin", "pytorch_model.bin.index.json", "model.pt"}) {
    if (is_there(folder / pickle)) {
      throw Error(
          ErrorCode::unsupported,
          fmt::format("{}: only {} is there. Pickle files can run code, so only safetensors are "
                      "read. Convert it once: AutoModel.from_pretrained(\"{}\").save_pretrained"
                      "(\"FOLDER\", safe_serialization=True), or pull a revision that has "
                      "model.safetensors.",
                      folder.string(), pickle, folder.string()));
    }
  }
  throw Error(
      ErrorCode::not_found,
      fmt::format("{}: has neither model.safetensors nor model.safetensors.index.json: half "
                  "downloaded, or not a model folder. Pull the model again.",
                  folder.string()));
}

std::vector<std::shared_ptr<const SafetensorsFile>> open_shards(
    const fs::path& folder, const std::map<std::string, std::string>& shard_of) {
  std::set<std::string> names;
  for (const auto& [tensor, shard] : shard_of) names.insert(shard);
  if (names.size() > kMaxShards) {
    throw Error(ErrorCode::corrupt_checkpoint,
                fmt::format("{}: {} shards are more than the limit of {}", folder.string(),
                            names.size(), kMaxShards));
  }
  std::vector<std::string> missing;
  for (const std::string& name : names) {
    if (!is_there(folder / name)) missing.push_back(name);
  }
  if (!missing.empty()) {
    throw Error(
        ErrorCode::not_found,
        fmt::format("{}: half downloaded: the shard {} is missing ({} of {} shards are). Pull the "
                    "model again.",
                    folder.string(), missing.front(), missing.size(), names.size()));
  }
  std::vector<std::shared_ptr<const SafetensorsFile>> files;
  for (const std::string& name : names) files.push_back(SafetensorsFile::open(folder / name));
  return files;
}

// How many characters two names share at their ends: enough to find "bert.x.weight" for "x.weight".
std::size_t likeness(std::string_view a, std::string_view b) {
  std::size_t n = 0;
  while (n < a.size() && n < b.size() && a[a.size() - 1 - n] == b[b.size() - 1 - n]) ++n;
  return n;
}

}  // namespace

Checkpoint Checkpoint::open(const fs::path& folder) {
  auto state = std::make_shared<State>();
  state->folder = folder;
  const fs::path single = folder / "model.safetensors";
  const fs::path index = folder / "model.safetensors.index.json";
  std::map<std::string, std::string> shard_of;
  if (is_there(single)) {
    state->files.push_back(SafetensorsFile::open(single));
  } else if (is_there(index)) {
    shard_of = read_index(index);
    state->files = open_shards(folder, shard_of);
  } else {
    refuse_no_weights(folder);
  }

  // With an index, only the shard that it names for a tensor counts.
  for (const auto& file : state->files) {
    const std::string name = file->path().filename().string();
    for (const TensorInfo& info : file->tensors()) {
      const auto listed = shard_of.find(info.name);
      if (!shard_of.empty() && (listed == shard_of.end() || listed->second != name)) continue;
      state->by_name.emplace(info.name, state->entries.size());
      state->entries.push_back({&info, file});
      state->nbytes += info.nbytes;
    }
  }
  for (const auto& [tensor, shard] : shard_of) {
    if (!state->by_name.contains(tensor)) {
      throw Error(ErrorCode::corrupt_checkpoint,
                  fmt::format("{}: the index says that {} holds the tensor {}, but it does not",
                              folder.string(), shard, describe_json(Json(tensor))));
    }
  }
  return Checkpoint(std::move(state));
}

Checkpoint Checkpoint::with(std::shared_ptr<WeightSession> session) const {
  Checkpoint handle = *this;
  handle.session_ = std::move(session);
  return handle;
}

const Checkpoint::Entry* Checkpoint::find(std::string_view name) const {
  const auto found = state_->by_name.find(name);
  return found == state_->by_name.end() ? nullptr : &state_->entries[found->second];
}

const Checkpoint::Entry& Checkpoint::require(std::string_view name) const {
  if (const Entry* entry = find(name)) return *entry;
  std::string_view nearest;
  for (const Entry& entry : state_->entries) {
    if (nearest.empty() || likeness(entry.info->name, name) > likeness(nearest, name)) {
      nearest = entry.info->name;
    }
  }
  throw Error(ErrorCode::corrupt_checkpoint,
              fmt::format("{}: the checkpoint has no tensor \"{}\" (of its {}, the nearest is {})",
                          state_->folder.string(), name, state_->entries.size(),
                          describe_json(Json(std::string(nearest)))));
}

}  // namespace gpumcp::gpu_runtime

#pragma once

// Results that are named by a URI instead of carried: .npy or safetensors bytes, kept for a while;
// artifact_view.h reads parts of them. An artifact
// lives until its TTL has passed since the last read, or until newer ones need its room (oldest
// first). Ids carry 128 bits from the kernel, so knowing one is the right to read it. When a worker
// leaves, it spills what is unexpired to a folder, where the next worker's get() finds it by id.
// Thread-safe. Destruction forgets everything that was not spilled.
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "gpu_runtime/export.h"

namespace gpumcp::gpu_runtime {

using ArtifactTime = std::chrono::system_clock::time_point;

// id, uri and created are given by put().
struct Artifact {
  std::string bytes;
  std::vector<std::int64_t> shape;
  std::string dtype;  // "float32"
  std::string name, description;
  std::string owner;  // who alone may read it, a caller (call_scope.h); "": whoever knows the id
  std::string mime_type = "application/x-npy";
  std::string made_by;  // the caller whose call put it, who finds it in list_made_by(); "": unknown

  std::string id;   // 32 hexadecimal digits
  std::string uri;  // gpumcp://artifacts/<id>
  ArtifactTime created{};
};

// An artifact without its bytes.
struct ArtifactInfo {
  std::string id, uri, name, description, owner, dtype, mime_type, made_by;
  std::vector<std::int64_t> shape;
  std::uint64_t nbytes = 0;
  ArtifactTime created{}, expires{};
};

struct ArtifactStats {
  std::size_t count = 0;
  std::uint64_t nbytes = 0, max_bytes = 0;
  std::uint64_t put = 0, read = 0, expired = 0, evicted = 0, missed = 0;
};

struct ArtifactStoreOptions {
  std::chrono::seconds ttl{3600};
  std::uint64_t max_bytes = std::uint64_t{1} << 30;
  std::size_t max_count = 100'000;
  std::filesystem::path spill_folder;  // empty: none; get() looks here for ids it does not know
  std::function<ArtifactTime()> clock = [] { return std::chrono::system_clock::now(); };
};

class GPUMCP_RUNTIME_API ArtifactStore {
 public:
  explicit ArtifactStore(ArtifactStoreOptions options = {});
  ArtifactStore(const ArtifactStore&) = delete;
  ArtifactStore& operator=(const ArtifactStore&) = delete;
  ~ArtifactStore();

  // Keeps the artifact under a new id; evicts the oldest where room is needed.
  // Error(invalid_argument) when it is larger than max_bytes alone.
  ArtifactInfo put(Artifact artifact);

  // By id or URI; a read starts the TTL anew. Error(not_found) for one that is unknown, expired,
  // evicted or another owner's, Error(invalid_argument) for what is no id at all.
  std::shared_ptr<const Artifact> get(std::string_view id_or_uri, std::string_view reader = {});

  // What there is, newest first. owner "": all.
  std::vector<ArtifactInfo> list(std::string_view owner = {});
  // A caller's, newest first: what its calls put here or into an earlier worker's store, from where
  // it was spilled, whoever may read it.
  std::vector<ArtifactInfo> list_made_by(std::string_view caller);

  bool drop(std::string_view id_or_uri);  // false: there was none
  ArtifactStats stats();

  // Writes all that is unexpired to the folder (made 0700; files 0600, each with its expiry), by
  // default spill_folder. Returns how many. Error(internal) names the path that could not be
  // written.
  std::size_t spill(const std::filesystem::path& folder);
  std::size_t spill();

  static std::string uri_of(std::string_view id);
  // The 32 digits of an id or URI; Error(invalid_argument) for anything else, so no path can be
  // made.
  static std::string id_of(std::string_view id_or_uri);

 private:
  using Order = std::list<std::string>;  // of ids
  struct Entry {
    std::shared_ptr<const Artifact> artifact;
    ArtifactTime expires;
    Order::iterator by_age, by_touch;
  };
  using Entries = std::unordered_map<std::string, Entry>;

  // These are called with mutex_ held.
  void expire(ArtifactTime now);
  void make_room(std::uint64_t nbytes);
  void erase(Entries::iterator entry);
  const Entry& insert(std::shared_ptr<const Artifact> artifact, ArtifactTime now);

  const ArtifactStoreOptions options_;
  std::mutex mutex_;
  // Guarded by mutex_:
  Entries entries_;
  Order by_age_;    // oldest first: the order of eviction
  Order by_touch_;  // longest unread first: the order of expiry, since every entry has the same TTL
  ArtifactStats stats_;
};

}  // namespace gpumcp::gpu_runtime

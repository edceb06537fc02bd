#include "gpu_runtime/artifacts.h"

#include <fmt/format.h>
#include <sys/random.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <functional>
#include <optional>
#include <set>
#include <utility>

#include "gpu_runtime/artifact_spill.h"
#include "gpu_runtime/error.h"
#include "gpu_runtime/json.h"

namespace gpumcp::gpu_runtime {
namespace {

constexpr std::string_view kScheme = "gpumcp://artifacts/";
constexpr std::size_t kIdDigits = 32;

std::string new_id() {
  std::array<unsigned char, kIdDigits / 2> random{};
  std::size_t filled = 0;
  while (filled < random.size()) {
    const ssize_t n = ::getrandom(random.data() + filled, random.size() - filled, 0);
    if (n < 0 && errno != EINTR) {
      throw Error(ErrorCode::internal, fmt::format("getrandom failed: {}", std::strerror(errno)));
    }
    if (n > 0) filled += static_cast<std::size_t>(n);
  }
  std::string id;
  for (const unsigned char byte : random) id += fmt::format("{:02x}", byte);
  return id;
}

ArtifactInfo describe(const Artifact& artifact, ArtifactTime expires) {
  return {.id = artifact.id,
          .uri = artifact.uri,
          .name = artifact.name,
          .description = artifact.description,
          .owner = artifact.owner,
          .dtype = artifact.dtype,
          .mime_type = artifact.mime_type,
          .made_by = artifact.made_by,
          .shape = artifact.shape,
          .nbytes = artifact.bytes.size(),
          .created = artifact.created,
          .expires = expires};
}

}  // namespace

std::string ArtifactStore::uri_of(std::string_view id) {
  return std::string(kScheme) + std::string(id);
}

std::string ArtifactStore::id_of(std::string_view id_or_uri) {
  std::string_view id = id_or_uri;
  if (id.starts_with(kScheme)) id.remove_prefix(kScheme.size());
  if (id.size() != kIdDigits || id.find_first_not_of("0123456789abcdef") != id.npos) {
    throw Error(ErrorCode::invalid_argument,
                fmt::format("{} names no artifact: expected {} and {} hexadecimal digits",
                            describe_json(Json(std::string(id_or_uri.substr(0, 200)))), kScheme,
                            kIdDigits));
  }
  return std::string(id);
}

ArtifactStore::ArtifactStore(ArtifactStoreOptions options) : options_(std::move(options)) {
  stats_.max_bytes = options_.max_bytes;
  if (!options_.spill_folder.empty())
    remove_expired_spills(options_.spill_folder, options_.clock());
}

ArtifactStore::~ArtifactStore() = default;

void ArtifactStore::erase(Entries::iterator entry) {
  stats_.nbytes -= entry->second.artifact->bytes.size();
  by_age_.erase(entry->second.by_age);
  by_touch_.erase(entry->second.by_touch);
  entries_.erase(entry);
}

void ArtifactStore::expire(ArtifactTime now) {
  while (!by_touch_.empty()) {
    const auto entry = entries_.find(by_touch_.front());
    if (entry->second.expires > now) break;
    erase(entry);
    ++stats_.expired;
  }
}

void ArtifactStore::make_room(std::uint64_t nbytes) {
  while (!by_age_.empty() &&
         (stats_.nbytes + nbytes > options_.max_bytes || entries_.size() >= options_.max_count)) {
    erase(entries_.find(by_age_.front()));
    ++stats_.evicted;
  }
}

const ArtifactStore::Entry& ArtifactStore::insert(std::shared_ptr<const Artifact> artifact,
                                                  ArtifactTime now) {
  make_room(artifact->bytes.size());
  const std::string& id = artifact->id;
  stats_.nbytes += artifact->bytes.size();
  const auto by_age = by_age_.insert(by_age_.end(), id);
  const auto by_touch = by_touch_.insert(by_touch_.end(), id);
  return entries_
      .insert_or_assign(id, Entry{std::move(artifact), now + options_.ttl, by_age, by_touch})
      .first->second;
}

ArtifactInfo ArtifactStore::put(Artifact artifact) {
  if (artifact.bytes.size() > options_.max_bytes) {
    throw Error(
        ErrorCode::invalid_argument,
        fmt::format("an artifact of {} bytes is larger than the store's limit of {}; ask for fewer "
                    "rows, or for output \"file\"",
                    artifact.bytes.size(), options_.max_bytes));
  }
  const ArtifactTime now = options_.clock();
  artifact.id = new_id();
  artifact.uri = uri_of(artifact.id);
  artifact.created = now;
  auto kept = std::make_shared<const Artifact>(std::move(artifact));

  const std::scoped_lock lock(mutex_);
  expire(now);
  ++stats_.put;
  const Entry& entry = insert(std::move(kept), now);
  return describe(*entry.artifact, entry.expires);
}

std::shared_ptr<const Artifact> ArtifactStore::get(std::string_view id_or_uri,
                                                   std::string_view reader) {
  const std::string id = id_of(id_or_uri);
  const ArtifactTime now = options_.clock();
  auto may_read = [&](const Artifact& one) { return one.owner.empty() || one.owner == reader; };
  bool hidden = false;  // there is one, and it is another's: told as if there were none
  // With the lock held: the artifact in memory, its TTL begun anew.
  const auto look = [&]() -> std::shared_ptr<const Artifact> {
    expire(now);
    const auto found = entries_.find(id);
    if (found == entries_.end()) return nullptr;
    Entry& entry = found->second;
    if (!may_read(*entry.artifact)) {
      hidden = true;
      return nullptr;
    }
    entry.expires = now + options_.ttl;
    by_touch_.splice(by_touch_.end(), by_touch_, entry.by_touch);
    ++stats_.read;
    return entry.artifact;
  };
  {
    const std::scoped_lock lock(mutex_);
    if (auto artifact = look()) return artifact;
  }
  // The disk is read without the lock; another thread may have loaded it meanwhile.
  std::optional<SpilledArtifact> spilled;
  if (!hidden && !options_.spill_folder.empty())
    spilled = read_spilled(options_.spill_folder, id, now);
  const std::scoped_lock lock(mutex_);
  if (auto artifact = look()) return artifact;
  if (!hidden && spilled && may_read(*spilled->artifact)) {
    ++stats_.read;
    // Too large for this store's memory: served from disk each time.
    if (spilled->artifact->bytes.size() > options_.max_bytes) return spilled->artifact;
    return insert(std::move(spilled->artifact), now).artifact;
  }
  ++stats_.missed;
  throw Error(
      ErrorCode::not_found,
      fmt::format(
          "{} is unknown or expired, or another session's own: artifacts are kept for {} s after "
          "their last read, and the oldest leave when all together pass {} bytes. Run the call "
          "again for a new one.",
          uri_of(id), options_.ttl.count(), options_.max_bytes));
}

std::vector<ArtifactInfo> ArtifactStore::list(std::string_view owner) {
  const std::scoped_lock lock(mutex_);
  expire(options_.clock());
  std::vector<ArtifactInfo> all;
  for (auto id = by_age_.rbegin(); id != by_age_.rend(); ++id) {
    const Entry& entry = entries_.at(*id);
    if (owner.empty() || entry.artifact->owner == owner) {
      all.push_back(describe(*entry.artifact, entry.expires));
    }
  }
  return all;
}

std::vector<ArtifactInfo> ArtifactStore::list_made_by(std::string_view caller) {
  std::vector<ArtifactInfo> all = list();
  if (!options_.spill_folder.empty()) {
    std::set<std::string> known;
    for (const ArtifactInfo& one : all) known.insert(one.id);
    for (ArtifactInfo& one : list_spilled(options_.spill_folder, options_.clock())) {
      if (!known.contains(one.id)) all.push_back(std::move(one));
    }
    std::ranges::stable_sort(all, std::greater(), &ArtifactInfo::created);
  }
  std::erase_if(all, [&](const ArtifactInfo& one) { return one.made_by != caller; });
  return all;
}

bool ArtifactStore::drop(std::string_view id_or_uri) {
  const std::string id = id_of(id_or_uri);
  const bool spilled = !options_.spill_folder.empty() && remove_spilled(options_.spill_folder, id);
  const std::scoped_lock lock(mutex_);
  expire(options_.clock());
  const auto found = entries_.find(id);
  if (found == entries_.end()) return spilled;
  erase(found);
  return true;
}

ArtifactStats ArtifactStore::stats() {
  const std::scoped_lock lock(mutex_);
  expire(options_.clock());
  stats_.count = entries_.size();
  return stats_;
}

std::size_t ArtifactStore::spill(const std::filesystem::path& folder) {
  const ArtifactTime now = options_.clock();
  std::vector<SpilledArtifact> all;
  {
    const std::scoped_lock lock(mutex_);
    expire(now);
    for (const std::string& id : by_age_) {
      const Entry& entry = entries_.at(id);
      all.push_back({entry.artifact, entry.expires});
    }
  }
  prepare_spill_folder(folder);
  remove_expired_spills(folder, now);
  for (const SpilledArtifact& spilled : all) write_spilled(folder, spilled);
  return all.size();
}

std::size_t ArtifactStore::spill() {
  if (options_.spill_folder.empty()) {
    throw Error(ErrorCode::internal, "the artifact store has no spill folder");
  }
  return spill(options_.spill_folder);
}

}  // namespace gpumcp::gpu_runtime

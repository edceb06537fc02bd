#pragma once

// Artifacts on disk between two workers: one file an artifact, 0600 in a 0700 folder of ours. A
// file is "GPUMCPA1", the length of a JSON header (4 bytes, little-endian), the header (id, expiry,
// shape, …), the bytes. Files are written beside and renamed, so a reader never sees half of one;
// one that is not ours, broken or expired counts as absent. Free functions, callable from any
// thread.
#include <cstddef>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "gpu_runtime/artifacts.h"

namespace gpumcp::gpu_runtime {

struct SpilledArtifact {
  std::shared_ptr<const Artifact> artifact;
  ArtifactTime expires;
};

// Makes the folder where it is missing. Error(internal) when it is not a 0700 folder of this user.
void prepare_spill_folder(const std::filesystem::path& folder);

// Error(internal) names the path that could not be written.
void write_spilled(const std::filesystem::path& folder, const SpilledArtifact& spilled);

// nullopt: there is none, or none that may be read. id: as ArtifactStore::id_of gives it.
std::optional<SpilledArtifact> read_spilled(const std::filesystem::path& folder,
                                            const std::string& id, ArtifactTime now);

// All that are there and unexpired, without their bytes.
std::vector<ArtifactInfo> list_spilled(const std::filesystem::path& folder, ArtifactTime now);

bool remove_spilled(const std::filesystem::path& folder, const std::string& id);
void remove_expired_spills(const std::filesystem::path& folder, ArtifactTime now);

}  // namespace gpumcp::gpu_runtime

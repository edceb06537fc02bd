#pragma once

// What of an artifact is wanted, as a URI says it, and the bytes of that:
//
//   gpumcp://artifacts/ID                            as it is kept, a .npy
//   gpumcp://artifacts/ID?format=safetensors         the same numbers as a .safetensors
//   gpumcp://artifacts/ID?slice=0:10                 its first ten rows; slice=-1 the last one
//   alone gpumcp://artifacts/ID?slice=:,0:3&format=npy     … of each dimension, as in NumPy:
//   begin:end:step
//                                                    or an index, from the end where negative
//   gpumcp://artifacts/ID?tensor=NAME                of an artifact with several (safetensors)
//
// Everything in it is foreign; sizes come from checked headers. Values and free functions, callable
// from any thread.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "gpu_runtime/artifacts.h"
#include "gpu_runtime/dtype.h"
#include "gpu_runtime/export.h"

namespace gpumcp::gpu_runtime {

enum class ArtifactFormat { as_kept, npy, safetensors };

// One dimension's part.
struct SlicePart {
  std::optional<std::int64_t> begin, end;
  std::int64_t step = 1;  // positive
  bool is_index = false;  // `begin` alone; the dimension goes
};

struct ArtifactQuery {
  std::string id;
  ArtifactFormat format = ArtifactFormat::as_kept;
  std::vector<SlicePart> slice;  // of the leading dimensions; empty: all
  std::string tensor;            // "": the only one

  bool whole() const { return slice.empty() && tensor.empty(); }
};

// A URI, or an id with or without a query. Error(invalid_argument) says what is not understood.
GPUMCP_RUNTIME_API ArtifactQuery parse_artifact_uri(std::string_view id_or_uri);

// Numbers of one dtype in C order; `owner` keeps alive what `data` points into.
struct Array {
  Dtype dtype = Dtype::f32;
  std::vector<std::int64_t> shape;
  std::span<const std::byte> data;
  std::shared_ptr<const void> owner;
};

// The part of an array that a slice names. Error(invalid_argument): more parts than dimensions, an
// index beyond one. Ranges are cut to what is there, as in NumPy.
GPUMCP_RUNTIME_API Array slice_array(const Array& array, std::span<const SlicePart> slice);

// The array that a query names. Error(invalid_argument) for a tensor that is not there, for bytes
// that are no array, and for a slice that does not fit.
GPUMCP_RUNTIME_API Array view_array(std::shared_ptr<const Artifact> artifact,
                                    const ArtifactQuery& query);
// From the store, with the query in the URI. `reader` as for ArtifactStore::get().
GPUMCP_RUNTIME_API Array read_array(ArtifactStore& store, std::string_view id_or_uri,
                                    std::string_view reader = {});

// A file's bytes and what they are.
struct ArtifactBytes {
  std::string bytes, mime_type;
};
GPUMCP_RUNTIME_API ArtifactBytes artifact_bytes(ArtifactStore& store, std::string_view id_or_uri,
                                                std::string_view reader = {});

inline constexpr std::string_view kNpyMime = "application/x-npy";
inline constexpr std::string_view kSafetensorsMime = "application/x-safetensors";

}  // namespace gpumcp::gpu_runtime

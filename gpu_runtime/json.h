#pragma once

// Strict JSON for files that come with a model: hostile input. The parser refuses duplicate keys,
// nesting beyond a limit, invalid UTF-8, oversized files and anything after the value; a failure is
// an Error whose message names the file. Free functions, callable from any thread.
#include <cstddef>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "gpu_runtime/error.h"
#include "gpu_runtime/export.h"

namespace gpumcp::gpu_runtime {

using Json = nlohmann::json;

struct JsonLimits {
  std::size_t max_bytes = std::size_t{256} << 20;
  std::size_t max_depth = 64;
  std::size_t max_values = 20'000'000;  // keys not counted; keeps "[0,0,0,…" from filling memory
};

// Parses text whole. `origin` names it in messages ("…/config.json"); `code` is the Error's code.
GPUMCP_RUNTIME_API Json parse_json(std::string_view text, const std::string& origin,
                                   const JsonLimits& limits = {},
                                   ErrorCode code = ErrorCode::corrupt_checkpoint);

// Reads and parses a file. A missing file is Error(not_found), a broken one
// Error(corrupt_checkpoint).
GPUMCP_RUNTIME_API Json read_json_file(const std::filesystem::path& path,
                                       const JsonLimits& limits = {});

// The bytes of a file of at most max_bytes; Error(not_found) when it cannot be opened.
GPUMCP_RUNTIME_API std::string read_text_file(const std::filesystem::path& path,
                                              std::size_t max_bytes = std::size_t{256} << 20);

// "an object", "the number 3", "the string \"x\"…": what came, for messages. Cut at 60 characters.
GPUMCP_RUNTIME_API std::string describe_json(const Json& value);

}  // namespace gpumcp::gpu_runtime

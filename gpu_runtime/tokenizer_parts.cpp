#include "gpu_runtime/tokenizer_parts.h"

#include <fmt/format.h>

#include <utility>

namespace gpumcp::gpu_runtime {

TokenizerPart::TokenizerPart(const Json& json, std::string name)
    : json_(json), name_(std::move(name)) {
  if (!json.is_object()) {
    throw Error(ErrorCode::corrupt_checkpoint,
                fmt::format("{}: must be an object, but is {}", name_, describe_json(json)));
  }
}

const Json* TokenizerPart::find(std::string_view key) const {
  const auto found = json_.find(key);
  return found == json_.end() || found->is_null() ? nullptr : &*found;
}

const Json& TokenizerPart::at(std::string_view key) const {
  if (const Json* value = find(key)) return *value;
  throw Error(ErrorCode::corrupt_checkpoint, fmt::format("{}: \"{}\" is missing", name_, key));
}

void TokenizerPart::refuse(std::string_view key, std::string_view expected,
                           const Json& value) const {
  throw Error(ErrorCode::corrupt_checkpoint, fmt::format("{}: \"{}\" must be {}, but is {}", name_,
                                                         key, expected, describe_json(value)));
}

void TokenizerPart::unsupported(std::string_view supported) const {
  throw Error(ErrorCode::unsupported, fmt::format("{}: type {} is not supported; supported: {}",
                                                  name_, describe_json(at("type")), supported));
}

std::optional<bool> TokenizerPart::optional_boolean(std::string_view key) const {
  const Json* value = find(key);
  if (!value) return {};
  if (!value->is_boolean()) refuse(key, "true or false", *value);
  return value->get<bool>();
}

bool TokenizerPart::boolean(std::string_view key, bool fallback) const {
  return optional_boolean(key).value_or(fallback);
}

std::string TokenizerPart::string(std::string_view key) const {
  const Json& value = at(key);
  if (!value.is_string()) refuse(key, "a string", value);
  return value.get<std::string>();
}

std::string TokenizerPart::string(std::string_view key, std::string fallback) const {
  return find(key) ? string(key) : std::move(fallback);
}

std::int64_t TokenizerPart::integer(std::string_view key, std::int64_t min,
                                    std::int64_t max) const {
  const Json& value = at(key);
  // An unsigned value beyond int64 becomes negative here, and so falls out of every range from 0
  // up.
  if (!value.is_number_integer() || value.get<std::int64_t>() < min ||
      value.get<std::int64_t>() > max) {
    refuse(key, fmt::format("a whole number from {} to {}", min, max), value);
  }
  return value.get<std::int64_t>();
}

std::int64_t TokenizerPart::integer(std::string_view key, std::int64_t min, std::int64_t max,
                                    std::int64_t fallback) const {
  return find(key) ? integer(key, min, max) : fallback;
}

std::int32_t to_token_id(const Json& value, const std::string& name) {
  if (!value.is_number_integer() || value.get<std::int64_t>() < 0 ||
      value.get<std::int64_t>() > kMaxTokenId) {
    throw Error(ErrorCode::corrupt_checkpoint,
                fmt::format("{}: an id must be a whole number from 0 to {}, "
                            "but is {}",
                            name, kMaxTokenId, describe_json(value)));
  }
  return value.get<std::int32_t>();
}

}  // namespace gpumcp::gpu_runtime

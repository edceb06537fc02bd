#include "gpu_runtime/model_config.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <system_error>
#include <utility>

#include "gpu_runtime/error.h"

namespace gpumcp::gpu_runtime {
namespace {

namespace fs = std::filesystem;

constexpr JsonLimits kConfigLimits{.max_bytes = std::size_t{16} << 20, .max_values = 1'000'000};

}  // namespace

ModelConfig ModelConfig::from_pretrained(const fs::path& folder) {
  std::error_code ignored;
  if (!fs::is_directory(folder, ignored)) {
    throw Error(ErrorCode::not_found,
                fmt::format("{}: there is no such model folder", folder.string()));
  }
  const fs::path path = folder / "config.json";
  if (!fs::exists(path, ignored)) {
    throw Error(ErrorCode::not_found,
                fmt::format("{}: half downloaded: config.json is missing. Pull the model again.",
                            folder.string()));
  }
  return from_json(read_json_file(path, kConfigLimits), path.string());
}

ModelConfig ModelConfig::from_json(Json json, std::string origin) {
  if (!json.is_object()) {
    throw Error(ErrorCode::corrupt_checkpoint,
                fmt::format("{}: must hold an object, but holds {}", origin, describe_json(json)));
  }
  ModelConfig config;
  config.json_ = std::move(json);
  config.origin_ = std::move(origin);
  config.model_type_ = config.get_string("model_type", "");
  return config;
}

const Json* ModelConfig::find(std::string_view key) const {
  const auto found = json_.find(key);
  return found == json_.end() || found->is_null() ? nullptr : &*found;
}

const Json& ModelConfig::at(std::string_view key) const {
  if (const Json* value = find(key)) return *value;
  throw Error(ErrorCode::corrupt_checkpoint, fmt::format("{}: \"{}\" is missing", origin_, key));
}

bool ModelConfig::has(std::string_view key) const { return find(key) != nullptr; }

namespace {

[[noreturn]] void refuse(const std::string& origin, std::string_view key,
                         const std::string& expected, const Json& value) {
  throw Error(ErrorCode::corrupt_checkpoint, fmt::format("{}: \"{}\" must be {}, but is {}", origin,
                                                         key, expected, describe_json(value)));
}

std::int64_t to_int(const std::string& origin, std::string_view key, std::int64_t min,
                    std::int64_t max, const Json& value) {
  const bool fits =
      value.is_number_unsigned()
          ? value.get<std::uint64_t>() <= std::uint64_t{std::numeric_limits<std::int64_t>::max()}
          : value.is_number_integer();
  if (!fits || value.get<std::int64_t>() < min || value.get<std::int64_t>() > max) {
    refuse(origin, key, fmt::format("a whole number from {} to {}", min, max), value);
  }
  return value.get<std::int64_t>();
}

double to_number(const std::string& origin, std::string_view key, double min, double max,
                 const Json& value) {
  if (!value.is_number() || !(value.get<double>() >= min) || !(value.get<double>() <= max)) {
    refuse(origin, key, fmt::format("a number from {} to {}", min, max), value);
  }
  return value.get<double>();
}

std::string to_text(const std::string& origin, std::string_view key, const Json& value) {
  if (!value.is_string()) refuse(origin, key, "a string", value);
  return value.get<std::string>();
}

}  // namespace

std::int64_t ModelConfig::get_int(std::string_view key, std::int64_t min, std::int64_t max) const {
  return to_int(origin_, key, min, max, at(key));
}

std::int64_t ModelConfig::get_int(std::string_view key, std::int64_t min, std::int64_t max,
                                  std::int64_t fallback) const {
  const Json* value = find(key);
  return value ? to_int(origin_, key, min, max, *value) : fallback;
}

double ModelConfig::get_number(std::string_view key, double min, double max) const {
  return to_number(origin_, key, min, max, at(key));
}

double ModelConfig::get_number(std::string_view key, double min, double max,
                               double fallback) const {
  const Json* value = find(key);
  return value ? to_number(origin_, key, min, max, *value) : fallback;
}

bool ModelConfig::get_bool(std::string_view key, bool fallback) const {
  const Json* value = find(key);
  if (value && !value->is_boolean()) refuse(origin_, key, "true or false", *value);
  return value ? value->get<bool>() : fallback;
}

std::string ModelConfig::get_string(std::string_view key) const {
  return to_text(origin_, key, at(key));
}

std::string ModelConfig::get_string(std::string_view key, std::string fallback) const {
  const Json* value = find(key);
  return value ? to_text(origin_, key, *value) : std::move(fallback);
}

ModelConfig ModelConfig::get_object(std::string_view key) const {
  const Json& value = at(key);
  if (!value.is_object()) refuse(origin_, key, "an object", value);
  return from_json(value, fmt::format("{}: {}", origin_, key));
}

std::vector<std::string> ModelConfig::architectures() const {
  std::vector<std::string> names;
  if (const Json* value = find("architectures")) {
    if (!value->is_array()) refuse(origin_, "architectures", "an array of strings", *value);
    for (const Json& name : *value) names.push_back(to_text(origin_, "architectures", name));
  }
  return names;
}

Dtype ModelConfig::dtype() const {
  for (const char* key : {"dtype", "torch_dtype"}) {
    const Json* value = find(key);
    if (!value) continue;
    std::string name = to_text(origin_, key, *value);
    if (name.starts_with("torch.")) name.erase(0, 6);
    const auto dtype = dtype_from_torch(name);
    if (!dtype) refuse(origin_, key, "the name of a dtype such as float32 or bfloat16", *value);
    return *dtype;
  }
  return Dtype::f32;
}

}  // namespace gpumcp::gpu_runtime

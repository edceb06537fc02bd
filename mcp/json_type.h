// JsonType<T>: a C++ type's JSON Schema (2020-12), its decoding with errors that name the path, and
// its writing. Specialised for bool, numbers, std::string, std::optional, std::vector,
// std::map<std::string, T>, described structs and enums, and Json for anything. Pure functions.
#pragma once

#include <cmath>
#include <concepts>
#include <limits>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "mcp/describe.h"
#include "mcp/json.h"

namespace gpumcp::mcp {

// Where in the arguments a value stands: a chain on the stack, written out only for an error.
struct JsonPath {
  const JsonPath* parent = nullptr;
  std::string_view key = {};
  size_t index = 0;
  std::string text() const;  // "arguments.texts[3]"
};

// The value at a path is not what the type wants. what(): path, what was expected, what came, the
// remedy.
class DecodeError : public std::runtime_error {
 public:
  DecodeError(const JsonPath& path, std::string_view expected, const Json& got);
  DecodeError(const JsonPath& path, std::string_view message);
};

// A short description of a value for error messages: `the string "ten"`, `null`, `an array of 3
// items`.
std::string describe_value(const Json& value);
// Checks minimum, maximum, minLength, maxLength, minItems, maxItems and enum of one schema node.
void check_bounds(const Json& schema, const Json& value, const JsonPath& path);
// What follows "… is unknown" in a message: the nearest known name, or all of them.
std::string known_keys_hint(std::string_view key, const std::vector<std::string_view>& known);
// Refuses members that are not in `known`, with the nearest known name as a hint.
void check_known_keys(const Json& object, const std::vector<std::string_view>& known,
                      const JsonPath& path);
// `number` as an integer in [low, high]; 3.0 counts as 3 (JSON Schema does so).
int64_t decode_integer(const Json& value, int64_t low, uint64_t high, const JsonPath& path);

template <class T>
struct JsonType;

template <>
struct JsonType<Json> {
  static Json schema() { return Json::object(); }
  static Json decode(const Json& value, const JsonPath&) { return value; }
  static void append(std::string& out, const Json& value) { out += to_text(value); }
};

template <>
struct JsonType<bool> {
  static Json schema() { return {{"type", "boolean"}}; }
  static bool decode(const Json& value, const JsonPath& path) {
    if (!value.is_boolean()) throw DecodeError(path, "true or false", value);
    return value.get<bool>();
  }
  static void append(std::string& out, bool value) { out += value ? "true" : "false"; }
};

template <std::integral T>
  requires(!std::same_as<T, bool>)
struct JsonType<T> {
  static Json schema() {
    Json schema = {{"type", "integer"}};
    if constexpr (std::unsigned_integral<T>) schema["minimum"] = 0;
    return schema;
  }
  static T decode(const Json& value, const JsonPath& path) {
    return static_cast<T>(decode_integer(value, static_cast<int64_t>(std::numeric_limits<T>::min()),
                                         static_cast<uint64_t>(std::numeric_limits<T>::max()),
                                         path));
  }
  static void append(std::string& out, T value) {
    if constexpr (std::unsigned_integral<T>)
      append_number(out, static_cast<uint64_t>(value));
    else
      append_number(out, static_cast<int64_t>(value));
  }
};

template <std::floating_point T>
struct JsonType<T> {
  static Json schema() { return {{"type", "number"}}; }
  static T decode(const Json& value, const JsonPath& path) {
    if (!value.is_number()) throw DecodeError(path, "a number", value);
    const double number = value.get<double>();
    if (std::abs(number) > static_cast<double>(std::numeric_limits<T>::max()))
      throw DecodeError(path, "a number that fits a float", value);
    return static_cast<T>(number);
  }
  static void append(std::string& out, T value) { append_number(out, value); }
};

template <>
struct JsonType<std::string> {
  static Json schema() { return {{"type", "string"}}; }
  static std::string decode(const Json& value, const JsonPath& path) {
    if (!value.is_string()) throw DecodeError(path, "a string", value);
    return value.get<std::string>();
  }
  static void append(std::string& out, std::string_view value) { append_string(out, value); }
};

// For results only: a function may return a literal.
template <>
struct JsonType<const char*> {
  static Json schema() { return JsonType<std::string>::schema(); }
  static void append(std::string& out, std::string_view value) { append_string(out, value); }
};

template <class T>
struct JsonType<std::optional<T>> {
  static Json schema() { return JsonType<T>::schema(); }
  static std::optional<T> decode(const Json& value, const JsonPath& path) {
    if (value.is_null()) return std::nullopt;
    return JsonType<T>::decode(value, path);
  }
  static void append(std::string& out, const std::optional<T>& value) {
    if (value)
      JsonType<T>::append(out, *value);
    else
      out += "null";
  }
};

template <class T>
struct JsonType<std::vector<T>> {
  static Json schema() { return {{"type", "array"}, {"items", JsonType<T>::schema()}}; }
  static std::vector<T> decode(const Json& value, const JsonPath& path) {
    if (!value.is_array()) throw DecodeError(path, "an array", value);
    std::vector<T> out;
    out.reserve(value.size());
    for (size_t i = 0; i < value.size(); ++i)
      out.push_back(JsonType<T>::decode(value[i], {&path, {}, i}));
    return out;
  }
  static void append(std::string& out, const std::vector<T>& value) {
    out += '[';
    for (size_t i = 0; i < value.size(); ++i) {
      if (i) out += ',';
      JsonType<T>::append(out, value[i]);
    }
    out += ']';
  }
};

template <class T>
struct JsonType<std::map<std::string, T>> {
  static Json schema() {
    return {{"type", "object"}, {"additionalProperties", JsonType<T>::schema()}};
  }
  static std::map<std::string, T> decode(const Json& value, const JsonPath& path) {
    if (!value.is_object()) throw DecodeError(path, "an object", value);
    std::map<std::string, T> out;
    for (auto& [key, item] : value.items())
      out.emplace(key, JsonType<T>::decode(item, {&path, key}));
    return out;
  }
  static void append(std::string& out, const std::map<std::string, T>& value) {
    out += '{';
    bool first = true;
    for (auto& [key, item] : value) {
      if (!std::exchange(first, false)) out += ',';
      append_string(out, key);
      out += ':';
      JsonType<T>::append(out, item);
    }
    out += '}';
  }
};

template <DescribedEnum T>
struct JsonType<T> {
  static Json schema() {
    Json names = Json::array();
    for (auto& [name, value] : gpumcp_describe_enum(T{})) names.push_back(name);
    return {{"type", "string"}, {"enum", std::move(names)}};
  }
  static T decode(const Json& value, const JsonPath& path) {
    std::string known;
    for (auto& [name, enumerator] : gpumcp_describe_enum(T{})) {
      if (value.is_string() && value.get_ref<const std::string&>() == name) return enumerator;
      ((known += known.empty() ? "one of \"" : ", \"") += name) += '"';
    }
    throw DecodeError(path, known, value);
  }
  static void append(std::string& out, T value) {
    for (auto& [name, enumerator] : gpumcp_describe_enum(T{})) {
      if (enumerator == value) return append_string(out, name);
    }
    throw std::domain_error("an enum holds a value that GPUMCP_DESCRIBE_ENUM does not name");
  }
};

template <class T>
inline constexpr bool kIsOptional = false;
template <class T>
inline constexpr bool kIsOptional<std::optional<T>> = true;

template <DescribedStruct T>
struct JsonType<T> {
  static constexpr auto kFields = gpumcp_describe(static_cast<const T*>(nullptr));

  template <class F>
  static void each(F&& f) {
    std::apply([&](const auto&... field) { (f(field), ...); }, kFields);
  }

  static Json schema() {
    Json properties = Json::object(), required = Json::array();
    each([&](const auto& field) {
      using M = typename std::decay_t<decltype(field)>::Member;
      Json one = JsonType<M>::schema();
      if (!field.description.empty()) one["description"] = field.description;
      properties[std::string(field.name)] = std::move(one);
      if (!kIsOptional<M>) required.push_back(field.name);
    });
    Json schema = {{"type", "object"}, {"properties", std::move(properties)}};
    if (!required.empty()) schema["required"] = std::move(required);
    return schema;
  }

  static T decode(const Json& value, const JsonPath& path) {
    if (!value.is_object()) throw DecodeError(path, "an object", value);
    T out{};
    std::vector<std::string_view> known;
    each([&](const auto& field) { known.push_back(field.name); });
    check_known_keys(value, known, path);
    each([&](const auto& field) {
      using M = typename std::decay_t<decltype(field)>::Member;
      const JsonPath at{&path, field.name};
      if (auto it = value.find(field.name); it != value.end())
        out.*field.member = JsonType<M>::decode(*it, at);
      else if (!kIsOptional<M>)
        throw DecodeError(at, "is missing");
    });
    return out;
  }

  static void append(std::string& out, const T& value) {
    out += '{';
    bool first = true;
    each([&](const auto& field) {
      using M = typename std::decay_t<decltype(field)>::Member;
      if constexpr (kIsOptional<M>) {
        if (!(value.*field.member)) return;
      }
      if (!std::exchange(first, false)) out += ',';
      append_string(out, field.name);
      out += ':';
      JsonType<M>::append(out, value.*field.member);
    });
    out += '}';
  }
};

}  // namespace gpumcp::mcp

#include "mcp/json_type.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace gpumcp::mcp {
namespace {

// Levenshtein distance, for "did you mean".
size_t distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t next = std::min({row[j] + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1])});
      diagonal = row[j];
      row[j] = next;
    }
  }
  return row[b.size()];
}

size_t characters(std::string_view utf8) {
  return static_cast<size_t>(
      std::count_if(utf8.begin(), utf8.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

}  // namespace

std::string JsonPath::text() const {
  std::string out = parent ? parent->text() : std::string();
  if (!parent) return std::string(key);
  if (key.data() == nullptr) return fmt::format("{}[{}]", out, index);
  return fmt::format("{}.{}", out, key);
}

std::string describe_value(const Json& value) {
  constexpr size_t kShown = 40;
  switch (value.type()) {
    case Json::value_t::null:
      return "null";
    case Json::value_t::boolean:
      return value.get<bool>() ? "true" : "false";
    case Json::value_t::array:
      return fmt::format("an array of {} items", value.size());
    case Json::value_t::object:
      return fmt::format("an object with {} members", value.size());
    case Json::value_t::string: {
      const std::string text = to_text(value);
      if (text.size() <= kShown) return fmt::format("the string {}", text);
      return fmt::format("a string of {} bytes", value.get_ref<const std::string&>().size());
    }
    default:
      return fmt::format("the number {}", to_text(value).substr(0, kShown));
  }
}

DecodeError::DecodeError(const JsonPath& path, std::string_view expected, const Json& got)
    : std::runtime_error(
          fmt::format("{}: expected {}, got {}", path.text(), expected, describe_value(got))) {}

DecodeError::DecodeError(const JsonPath& path, std::string_view message)
    : std::runtime_error(fmt::format("{} {}", path.text(), message)) {}

int64_t decode_integer(const Json& value, int64_t low, uint64_t high, const JsonPath& path) {
  bool inside = true;
  int64_t out = 0;
  if (value.is_number_unsigned()) {
    const uint64_t u = value.get<uint64_t>();
    inside = u <= high && (low <= 0 || u >= static_cast<uint64_t>(low));
    out = static_cast<int64_t>(u);
  } else if (value.is_number_integer()) {
    out = value.get<int64_t>();
    inside = out >= low && (out < 0 || static_cast<uint64_t>(out) <= high);
  } else if (value.is_number_float() && std::trunc(value.get<double>()) == value.get<double>()) {
    const double d = value.get<double>();
    inside =
        d >= static_cast<double>(low) && d <= static_cast<double>(high) && std::abs(d) < 9.2e18;
    if (inside) out = static_cast<int64_t>(d);
  } else {
    throw DecodeError(path, "an integer", value);
  }
  if (!inside) throw DecodeError(path, fmt::format("an integer from {} to {}", low, high), value);
  return out;
}

void check_bounds(const Json& schema, const Json& value, const JsonPath& path) {
  auto limit = [&](const char* key) -> const Json* {
    auto it = schema.find(key);
    return it == schema.end() ? nullptr : &*it;
  };
  if (value.is_number()) {
    const double v = value.get<double>();
    const Json *low = limit("minimum"), *high = limit("maximum");
    if ((low && v < low->get<double>()) || (high && v > high->get<double>())) {
      std::string range = low && high ? fmt::format("{} to {}", to_text(*low), to_text(*high))
                          : low       ? fmt::format("{} or more", to_text(*low))
                                      : fmt::format("{} or less", to_text(*high));
      throw DecodeError(path, range, value);
    }
  }
  if (value.is_string()) {
    const size_t n = characters(value.get_ref<const std::string&>());
    if (const Json* low = limit("minLength"); low && n < low->get<size_t>())
      throw DecodeError(path,
                        fmt::format("has {} characters; at least {} are needed", n, to_text(*low)));
    if (const Json* high = limit("maxLength"); high && n > high->get<size_t>())
      throw DecodeError(
          path, fmt::format("has {} characters; at most {} are allowed", n, to_text(*high)));
  }
  if (value.is_array()) {
    if (const Json* low = limit("minItems"); low && value.size() < low->get<size_t>())
      throw DecodeError(
          path, fmt::format("has {} items; at least {} are needed", value.size(), to_text(*low)));
    if (const Json* high = limit("maxItems"); high && value.size() > high->get<size_t>())
      throw DecodeError(path, fmt::format("has {} items; at most {} are allowed: split the call",
                                          value.size(), to_text(*high)));
    if (const Json* items = limit("items"); items && items->is_object()) {
      for (size_t i = 0; i < value.size(); ++i) check_bounds(*items, value[i], {&path, {}, i});
    }
  }
  if (const Json* allowed = limit("enum");
      allowed && std::find(allowed->begin(), allowed->end(), value) == allowed->end())
    throw DecodeError(path, fmt::format("one of {}", to_text(*allowed)), value);
}

std::string known_keys_hint(std::string_view key, const std::vector<std::string_view>& known) {
  key = key.substr(0, 64);
  if (known.empty()) return "; nothing is taken here";
  const auto nearest = std::min_element(known.begin(), known.end(), [&](auto a, auto b) {
    return distance(a.substr(0, 64), key) < distance(b.substr(0, 64), key);
  });
  if (distance(nearest->substr(0, 64), key) <= 2)
    return fmt::format("; did you mean \"{}\"?", *nearest);
  constexpr size_t kShown = 20;
  return fmt::format(
      "; known: {}{}",
      fmt::join(known.begin(),
                known.begin() + static_cast<std::ptrdiff_t>(std::min(known.size(), kShown)), ", "),
      known.size() > kShown ? ", …" : "");
}

void check_known_keys(const Json& object, const std::vector<std::string_view>& known,
                      const JsonPath& path) {
  for (auto& [key, value] : object.items()) {
    if (std::find(known.begin(), known.end(), key) != known.end()) continue;
    const std::string shown = key.substr(0, 64);
    throw DecodeError(JsonPath{&path, shown}, "is unknown" + known_keys_hint(key, known));
  }
}

}  // namespace gpumcp::mcp

// Small readers and writers of JSON objects' members, for the files that turn protocol values into
// JSON and back. Private to mcp.
#pragma once

#include <string>
#include <string_view>

#include "mcp/json.h"

namespace gpumcp::mcp {

inline void put(Json& json, const char* key, const std::string& value) {
  if (!value.empty()) json[key] = value;
}

// The member as a string; empty if it is absent or something else.
inline std::string text_of(const Json& json, std::string_view key) {
  if (!json.is_object()) return {};
  auto it = json.find(key);
  return it != json.end() && it->is_string() ? it->get<std::string>() : std::string();
}

inline const Json* member(const Json& json, std::string_view key) {
  if (!json.is_object()) return nullptr;
  auto it = json.find(key);
  return it == json.end() ? nullptr : &*it;
}

// The value of a text that scan_json() has found sound, as parse_json() gives it, without scanning
// it again. Never Json::parse() for what a peer sent: it throws for a number beyond double, and
// takes minutes for an object of a few hundred thousand keys.
Result<Json> parse_scanned(std::string_view text);

// A string's text from its JSON text; empty for anything else.
inline std::string string_of(std::string_view json) {
  if (json.starts_with('"') && json.find('\\') == json.npos)
    return std::string(json.substr(1, json.size() - 2));
  return json.starts_with('"') ? Json::parse(json).get<std::string>() : std::string();
}

}  // namespace gpumcp::mcp

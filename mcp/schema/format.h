// The formats that can be asserted (JSON Schema validation, section 7): those that forms and tools
// ask for. Others stay annotations. Pure functions, thread-safe.
#pragma once

#include <optional>
#include <string_view>

namespace gpumcp::mcp::schema {

enum class Format {
  email,
  uri,
  uri_reference,
  date,
  time,
  date_time,
  ipv4,
  ipv6,
  uuid,
  json_pointer,
  regex
};

// nullopt: a format that is never asserted.
std::optional<Format> find_format(std::string_view name);

bool has_format(Format format, std::string_view text);

// For messages: `an e-mail address such as "name@example.com"`.
std::string_view format_description(Format format);

}  // namespace gpumcp::mcp::schema

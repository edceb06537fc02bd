// Mcp-Param-* headers (2026-07-28 basic/transports, "Custom headers from tool parameters"): a
// tool's input schema marks properties with "x-mcp-header", and requests over HTTP repeat their
// values in headers, so that what lies between can route by them. Both sides read the marks here.
// Pure functions, thread-safe. How a text becomes a header's value: http_guards.h,
// encode_header_value.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "mcp/json.h"

namespace gpumcp::mcp {

struct ParamHeader {
  std::string name;               // "Region": the header is Mcp-Param-Region
  std::vector<std::string> path;  // to the argument: names of properties from the root
};

// All marks of a tool's input schema. Error invalid_params: a mark that is not allowed; the message
// names the property and the rule. Allowed are tokens (RFC 9110), each once whatever its case, on
// string, integer and boolean properties that are reached through "properties" alone.
Result<std::vector<ParamHeader>> find_param_headers(const Json& input_schema);

// The argument as text: a string as it is, an integer in decimal, true or false. nullopt: it is
// absent, null or something else, and so has no header.
std::optional<std::string> param_header_text(const Json& arguments, const ParamHeader& header);

// A server's check of the headers that came: by what follows "Mcp-Param-", in lower case, encoded.
// Error header_mismatch: one is missing, says something else than the argument, or is not strictly
// encoded. Integers are compared as numbers. Headers that no mark names are ignored.
Result<void> compare_param_headers(const Json& arguments, const std::vector<ParamHeader>& marks,
                                   const std::map<std::string, std::string, std::less<>>& headers);

}  // namespace gpumcp::mcp

// URI templates (RFC 6570) the other way round: which variables make this URI. Pure functions.
// What is matched: literals, {name} (one or more characters other than / ? #, percent-decoded, so
// that the value may hold them), {+name} (anything) and {/name} (as {name}, after a '/'). Other
// operators are refused by check_uri_template(), which registration calls. URIs of more than 64 KB
// match nothing.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace gpumcp::mcp {

using UriVariables = std::map<std::string, std::string>;

// nullopt: `uri` is not made from `uri_template`.
std::optional<UriVariables> match_uri_template(std::string_view uri_template, std::string_view uri);
// Why the template cannot be served, or empty.
std::string check_uri_template(std::string_view uri_template);

}  // namespace gpumcp::mcp

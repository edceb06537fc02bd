// URI references (RFC 3986): splitting, resolving one against a base, and the strict grammar that
// the format "uri" asks for. Nothing is fetched, decoded or normalised beyond dot segments. Pure
// functions, thread-safe.
#pragma once

#include <string>
#include <string_view>

namespace gpumcp::mcp::schema {

struct UriReference {
  bool has_scheme = false, has_authority = false, has_query = false, has_fragment = false;
  std::string_view scheme, authority, path, query, fragment;
};

// Splits any text (RFC 3986, appendix B); views into it.
UriReference split_uri(std::string_view text);

// The target URI without its fragment. An empty base leaves the reference as it is.
std::string resolve_uri(std::string_view base, std::string_view reference);

// Strictly a URI (with a scheme), or a URI reference.
bool is_uri(std::string_view text);
bool is_uri_reference(std::string_view text);

// "%41" -> "A"; what is no escape stays.
std::string percent_decode(std::string_view text);

// Dotted IPv4 without leading zeros; IPv6 without brackets and zone.
bool is_ipv4(std::string_view text);
bool is_ipv6(std::string_view text);

}  // namespace gpumcp::mcp::schema

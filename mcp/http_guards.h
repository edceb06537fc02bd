// What an HTTP request must pass before anything of it is parsed further: the Host it names, the
// Origin it comes from, its token; and the small grammars of the headers that MCP uses. Pure
// functions and immutable values, thread-safe.
//
// Why: a page in the user's browser can reach a server on loopback. Under DNS rebinding it comes
// with the attacker's name in Host, otherwise with a foreign Origin; both are refused by exact
// comparison.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace gpumcp::mcp {

// The host in lower case, without brackets; the port, if one was written.
struct Authority {
  std::string host;
  std::optional<uint16_t> port;
  bool operator==(const Authority&) const = default;
};

// `host`, `host:port`, `[v6]`, `[v6]:port`. nullopt for anything else: user info, a bad port, bad
// characters.
std::optional<Authority> parse_authority(std::string_view text);

struct Origin {
  std::string scheme;  // lower case
  Authority authority;
  uint16_t port() const;  // the scheme's if none was written; 0 if that is unknown
  bool operator==(const Origin& other) const;
};
std::optional<Origin> parse_origin(std::string_view text);  // "null" and paths give nullopt

// "localhost", 127.0.0.0/8 and ::1, as whole names.
bool is_loopback_host(std::string_view host);
bool is_ip_literal(std::string_view host);
bool is_wildcard_address(std::string_view host);

struct HttpGuard {
  std::string bound_host;  // as given to listen()
  uint16_t port = 0;
  std::vector<std::string> allowed_hosts;    // names or name:port
  std::vector<std::string> allowed_origins;  // scheme://host[:port]
  std::string token;                         // empty: none

  // The port in Host is not compared: it differs behind a forwarded port.
  bool host_allowed(const Authority& host) const;
  // Same origin as the (allowed) Host, a loopback name with the server's own port, or listed.
  bool origin_allowed(std::string_view origin, const Authority& host) const;
  // `authorization` is the header's value, "" if absent.
  bool token_accepted(std::string_view authorization) const;
};

// Takes the same time wherever the texts differ.
bool equal_in_constant_time(std::string_view a, std::string_view b);

// The Accept header, read as a set of media ranges; an absent one accepts all. q=0 excludes.
struct Accepts {
  bool json = false, events = false;
};
Accepts parse_accept(std::string_view accept);
// The media type without its parameters, in lower case.
std::string media_type(std::string_view content_type);

// Mcp-Name and Mcp-Param-*: texts that a header cannot carry come as =?base64?…?= (2026-07-28).
std::string encode_header_value(std::string_view text);
// nullopt: marked as base64, but not strictly so; or not marked, but no visible ASCII.
std::optional<std::string> decode_header_value(std::string_view value);

std::string_view trim_ows(std::string_view text);
std::string lower_ascii(std::string_view text);

}  // namespace gpumcp::mcp

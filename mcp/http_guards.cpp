#include "mcp/http_guards.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>

#include "mcp/protocol.h"

namespace gpumcp::mcp {
namespace {

constexpr std::string_view kSentinelHead = "=?base64?", kSentinelTail = "?=";

std::optional<uint16_t> parse_port(std::string_view text) {
  unsigned value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size() || value > 65535)
    return std::nullopt;
  return static_cast<uint16_t>(value);
}

bool is_ipv6(const std::string& host) {
  in6_addr address;
  return inet_pton(AF_INET6, host.c_str(), &address) == 1;
}

template <class F>
void for_each_item(std::string_view list, char separator, F f) {
  while (true) {
    const size_t end = list.find(separator);
    f(trim_ows(list.substr(0, end)));
    if (end == list.npos) return;
    list.remove_prefix(end + 1);
  }
}

}  // namespace

std::string_view trim_ows(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

std::string lower_ascii(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

std::optional<Authority> parse_authority(std::string_view text) {
  Authority out;
  std::string_view rest;
  if (text.starts_with('[')) {
    const size_t end = text.find(']');
    if (end == text.npos) return std::nullopt;
    out.host = lower_ascii(text.substr(1, end - 1));
    if (!is_ipv6(out.host)) return std::nullopt;
    rest = text.substr(end + 1);
  } else {
    const size_t colon = text.find(':');
    out.host = lower_ascii(text.substr(0, colon));
    rest = colon == text.npos ? std::string_view() : text.substr(colon);
    const bool good =
        !out.host.empty() && std::all_of(out.host.begin(), out.host.end(), [](char c) {
          return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-' ||
                 c == '_';
        });
    if (!good) return std::nullopt;
  }
  if (rest.empty()) return out;
  if (rest[0] != ':' || !(out.port = parse_port(rest.substr(1)))) return std::nullopt;
  return out;
}

uint16_t Origin::port() const {
  if (authority.port) return *authority.port;
  return scheme == "http" ? 80 : scheme == "https" ? 443 : 0;
}

bool Origin::operator==(const Origin& other) const {
  return scheme == other.scheme && authority.host == other.authority.host && port() == other.port();
}

std::optional<Origin> parse_origin(std::string_view text) {
  const size_t mark = text.find("://");
  if (mark == text.npos || mark == 0) return std::nullopt;
  auto authority = parse_authority(text.substr(mark + 3));
  if (!authority) return std::nullopt;
  return Origin{lower_ascii(text.substr(0, mark)), std::move(*authority)};
}

bool is_ip_literal(std::string_view host) {
  const std::string text(host);
  in_addr address;
  return inet_pton(AF_INET, text.c_str(), &address) == 1 || is_ipv6(text);
}

bool is_loopback_host(std::string_view host) {
  const std::string text = lower_ascii(host);
  if (text == "localhost") return true;
  in_addr v4;
  if (inet_pton(AF_INET, text.c_str(), &v4) == 1) return ntohl(v4.s_addr) >> 24 == 127;
  in6_addr v6;
  return inet_pton(AF_INET6, text.c_str(), &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

bool is_wildcard_address(std::string_view host) {
  return host.empty() || host == "0.0.0.0" || host == "::";
}

bool HttpGuard::host_allowed(const Authority& host) const {
  if (is_loopback_host(host.host) || host.host == lower_ascii(bound_host)) return true;
  // Rebinding needs a name: an address in Host is what the client really dialled.
  if (is_wildcard_address(bound_host) && is_ip_literal(host.host)) return true;
  return std::any_of(allowed_hosts.begin(), allowed_hosts.end(), [&](const std::string& text) {
    auto allowed = parse_authority(text);
    return allowed && allowed->host == host.host && (!allowed->port || allowed->port == host.port);
  });
}

bool HttpGuard::origin_allowed(std::string_view text, const Authority& host) const {
  const auto origin = parse_origin(text);
  if (!origin) return false;
  if (origin->scheme == "http" || origin->scheme == "https") {
    if (*origin == Origin{origin->scheme, host}) return true;
    if (is_loopback_host(origin->authority.host) && origin->port() == port) return true;
  }
  return std::any_of(allowed_origins.begin(), allowed_origins.end(), [&](const std::string& one) {
    auto allowed = parse_origin(one);
    return allowed && *allowed == *origin;
  });
}

bool equal_in_constant_time(std::string_view a, std::string_view b) {
  unsigned difference = a.size() == b.size() ? 0 : 1;
  for (size_t i = 0; i < a.size(); ++i) {
    const char other = b.empty() ? '\0' : b[i % b.size()];
    difference |= static_cast<unsigned char>(a[i] ^ other);
  }
  return difference == 0;
}

bool HttpGuard::token_accepted(std::string_view authorization) const {
  if (token.empty()) return true;
  const size_t space = authorization.find(' ');
  if (space == authorization.npos || lower_ascii(authorization.substr(0, space)) != "bearer")
    return false;
  return equal_in_constant_time(trim_ows(authorization.substr(space)), token);
}

Accepts parse_accept(std::string_view accept) {
  if (trim_ows(accept).empty()) return {true, true};
  Accepts out;
  for_each_item(accept, ',', [&](std::string_view range) {
    bool excluded = false;
    for_each_item(range, ';', [&](std::string_view parameter) {
      const std::string p = lower_ascii(parameter);
      if (p.starts_with("q=0") && p.find_first_of("123456789") == p.npos) excluded = true;
    });
    if (excluded) return;
    const std::string type = media_type(range);
    if (type == "*/*" || type == "application/*" || type == "application/json") out.json = true;
    if (type == "*/*" || type == "text/*" || type == "text/event-stream") out.events = true;
  });
  return out;
}

std::string media_type(std::string_view content_type) {
  return lower_ascii(trim_ows(content_type.substr(0, content_type.find(';'))));
}

std::string encode_header_value(std::string_view text) {
  const bool plain =
      std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c < 0x7f; }) &&
      !text.starts_with(' ') && !text.ends_with(' ') &&
      !(text.starts_with(kSentinelHead) && text.ends_with(kSentinelTail));
  if (plain) return std::string(text);
  return std::string(kSentinelHead) + base64_encode(text) + std::string(kSentinelTail);
}

std::optional<std::string> decode_header_value(std::string_view value) {
  if (value.size() < kSentinelHead.size() + kSentinelTail.size() ||
      !value.starts_with(kSentinelHead) || !value.ends_with(kSentinelTail)) {
    const bool plain =
        std::all_of(value.begin(), value.end(), [](char c) { return c >= 0x20 && c < 0x7f; });
    return plain ? std::optional(std::string(value)) : std::nullopt;
  }
  value.remove_prefix(kSentinelHead.size());
  value.remove_suffix(kSentinelTail.size());
  auto text = base64_decode(value);
  if (text && find_invalid_utf8(*text) != std::string_view::npos) return std::nullopt;
  return text;
}

}  // namespace gpumcp::mcp

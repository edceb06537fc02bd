#include "mcp/schema/uri.h"

#include <arpa/inet.h>

#include <algorithm>

#include "mcp/schema/characters.h"

namespace gpumcp::mcp::schema {
namespace {

bool is_scheme(std::string_view text) {
  return !text.empty() && letter(text[0]) && std::all_of(text.begin(), text.end(), [](char c) {
    return letter(c) || digit(c) || c == '+' || c == '-' || c == '.';
  });
}

// Unreserved, sub-delims, percent escapes, and the characters of `more`.
bool only(std::string_view text, std::string_view more) {
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '%') {
      if (i + 2 >= text.size() || hex_value(text[i + 1]) < 0 || hex_value(text[i + 2]) < 0) return false;
      i += 2;
    } else if (!letter(c) && !digit(c) &&
               std::string_view("-._~!$&'()*+,;=").find(c) == std::string_view::npos &&
               more.find(c) == more.npos) {
      return false;
    }
  }
  return true;
}

bool is_authority(std::string_view text) {
  if (const size_t at = text.rfind('@'); at != text.npos) {
    if (!only(text.substr(0, at), ":")) return false;
    text.remove_prefix(at + 1);
  }
  std::string_view port;
  if (!text.empty() && text[0] == '[') {
    const size_t close = text.find(']');
    if (close == text.npos) return false;
    const std::string_view host = text.substr(1, close - 1);
    const bool future = !host.empty() && (host[0] == 'v' || host[0] == 'V');
    if (future ? !only(host, ":") : !is_ipv6(host)) return false;
    port = text.substr(close + 1);
  } else {
    const size_t colon = std::min(text.find(':'), text.size());
    if (!only(text.substr(0, colon), "")) return false;
    port = text.substr(colon);
  }
  return port.empty() || (port[0] == ':' && std::all_of(port.begin() + 1, port.end(), digit));
}

// RFC 3986, 5.2.4.
std::string remove_dot_segments(std::string_view in) {
  std::string out;
  auto drop_last = [&] { out.resize(std::min(out.rfind('/'), out.size())); };
  while (!in.empty()) {
    if (in.starts_with("../")) {
      in.remove_prefix(3);
    } else if (in.starts_with("./")) {
      in.remove_prefix(2);
    } else if (in.starts_with("/./")) {
      in.remove_prefix(2);
    } else if (in == "/.") {
      in = "/";
    } else if (in.starts_with("/../")) {
      in.remove_prefix(3);
      out.find('/') == out.npos ? out.clear() : drop_last();
    } else if (in == "/..") {
      in = "/";
      out.find('/') == out.npos ? out.clear() : drop_last();
    } else if (in == "." || in == "..") {
      in = {};
    } else {
      const size_t end = std::min(in.find('/', 1), in.size());
      out += in.substr(0, end);
      in.remove_prefix(end);
    }
  }
  return out;
}

bool address(int family, std::string_view text) {
  unsigned char bytes[16];
  return text.size() < 64 && text.find('\0') == text.npos &&
         inet_pton(family, std::string(text).c_str(), bytes) == 1;
}

}  // namespace

UriReference split_uri(std::string_view text) {
  UriReference out;
  if (const size_t at = text.find('#'); at != text.npos) {
    out.has_fragment = true;
    out.fragment = text.substr(at + 1);
    text = text.substr(0, at);
  }
  if (const size_t at = text.find('?'); at != text.npos) {
    out.has_query = true;
    out.query = text.substr(at + 1);
    text = text.substr(0, at);
  }
  if (const size_t at = text.find_first_of(":/");
      at != text.npos && text[at] == ':' && is_scheme(text.substr(0, at))) {
    out.has_scheme = true;
    out.scheme = text.substr(0, at);
    text.remove_prefix(at + 1);
  }
  if (text.starts_with("//")) {
    const size_t end = std::min(text.find('/', 2), text.size());
    out.has_authority = true;
    out.authority = text.substr(2, end - 2);
    text.remove_prefix(end);
  }
  out.path = text;
  return out;
}

std::string resolve_uri(std::string_view base_text, std::string_view reference) {
  const UriReference base = split_uri(base_text);
  UriReference to = split_uri(reference);
  std::string path;
  if (to.has_scheme || base_text.empty()) {
    path = to.has_scheme && (to.has_authority || to.path.starts_with('/'))
               ? remove_dot_segments(to.path)
               : std::string(to.path);
  } else {
    to.has_scheme = base.has_scheme;
    to.scheme = base.scheme;
    if (to.has_authority) {
      path = remove_dot_segments(to.path);
    } else {
      to.has_authority = base.has_authority;
      to.authority = base.authority;
      if (to.path.empty()) {
        path = base.path;
        if (!to.has_query) {
          to.has_query = base.has_query;
          to.query = base.query;
        }
      } else if (to.path.starts_with('/')) {
        path = remove_dot_segments(to.path);
      } else {
        const size_t slash = base.path.rfind('/');
        if (slash != base.path.npos)
          path = base.path.substr(0, slash + 1);
        else if (base.has_authority)
          path = "/";
        path += to.path;
        path = remove_dot_segments(path);
      }
    }
  }
  std::string out;
  if (to.has_scheme) (out += to.scheme) += ':';
  if (to.has_authority) (out += "//") += to.authority;
  out += path;
  if (to.has_query) (out += '?') += to.query;
  return out;
}

bool is_uri_reference(std::string_view text) {
  const UriReference uri = split_uri(text);
  if (uri.has_authority && !is_authority(uri.authority)) return false;
  // "bar,baz:foo" would be a path whose first segment holds a colon: that is no relative reference.
  if (!uri.has_scheme && !uri.has_authority &&
      uri.path.substr(0, uri.path.find('/')).find(':') != uri.path.npos)
    return false;
  return only(uri.path, ":@/") && only(uri.query, ":@/?") && only(uri.fragment, ":@/?");
}

bool is_uri(std::string_view text) { return split_uri(text).has_scheme && is_uri_reference(text); }

std::string percent_decode(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size() && hex_value(text[i + 1]) >= 0 && hex_value(text[i + 2]) >= 0) {
      out += static_cast<char>(hex_value(text[i + 1]) * 16 + hex_value(text[i + 2]));
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

bool is_ipv4(std::string_view text) { return address(AF_INET, text); }
bool is_ipv6(std::string_view text) { return address(AF_INET6, text); }

}  // namespace gpumcp::mcp::schema

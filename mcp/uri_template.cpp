#include "mcp/uri_template.h"

#include <fmt/format.h>
#include <re2/re2.h>

#include <algorithm>

namespace gpumcp::mcp {
namespace {

constexpr size_t kMaxUriBytes = 64 << 10;

struct Part {
  std::string_view text;  // a literal, or a variable's name
  char kind;              // 'L' literal, '{' simple, '+' reserved, '/' path segment
};

// Empty if the template is not one that can be matched.
std::optional<std::vector<Part>> parse(std::string_view t) {
  std::vector<Part> parts;
  while (!t.empty()) {
    const size_t open = t.find('{');
    if (open != 0) parts.push_back({t.substr(0, open), 'L'});
    if (open == t.npos) break;
    const size_t close = t.find('}', open);
    if (close == t.npos) return std::nullopt;
    std::string_view name = t.substr(open + 1, close - open - 1);
    char kind = '{';
    if (name.starts_with('+') || name.starts_with('/')) {
      kind = name.front();
      name.remove_prefix(1);
    }
    const bool plain = std::all_of(name.begin(), name.end(), [](unsigned char c) {
      return std::isalnum(c) || c == '_' || c == '.' || c == '%';
    });
    if (name.empty() || !plain) return std::nullopt;
    // Two variables side by side have no border between them.
    if (kind != '/' && !parts.empty() && parts.back().kind != 'L') return std::nullopt;
    parts.push_back({name, kind});
    t.remove_prefix(close + 1);
  }
  return parts;
}

int hex(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  c = static_cast<char>(c | 0x20);
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

std::string percent_decode(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size() && hex(text[i + 1]) >= 0 && hex(text[i + 2]) >= 0) {
      out += static_cast<char>(hex(text[i + 1]) * 16 + hex(text[i + 2]));
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

}  // namespace

// By RE2: what a variable takes may have to be given back when a later part does not fit, and that
// in time linear in the URI, whatever a client sends.
std::optional<UriVariables> match_uri_template(std::string_view uri_template,
                                               std::string_view uri) {
  const auto parts = parse(uri_template);
  if (!parts || uri.size() > kMaxUriBytes) return std::nullopt;
  std::string pattern;
  std::vector<std::string_view> names;
  for (const Part& part : *parts) {
    if (part.kind == 'L') {
      pattern += re2::RE2::QuoteMeta({part.text.data(), part.text.size()});
      continue;
    }
    if (part.kind == '/') pattern += '/';
    // A reserved expansion takes as much as it can, the others as little, and no delimiter.
    pattern += part.kind == '+' ? "(.+)" : "([^/?#]+?)";
    names.push_back(part.text);
  }
  re2::RE2::Options options(re2::RE2::Latin1);  // bytes, as they come
  options.set_dot_nl(true);
  options.set_log_errors(false);
  const re2::RE2 expression(pattern, options);
  std::vector<re2::StringPiece> found(names.size() + 1);
  if (!expression.ok() ||
      !expression.Match({uri.data(), uri.size()}, 0, uri.size(), re2::RE2::ANCHOR_BOTH,
                        found.data(), static_cast<int>(found.size())))
    return std::nullopt;
  UriVariables variables;
  for (size_t i = 0; i < names.size(); ++i)
    variables[std::string(names[i])] = percent_decode({found[i + 1].data(), found[i + 1].size()});
  return variables;
}

std::string check_uri_template(std::string_view uri_template) {
  const auto parts = parse(uri_template);
  if (parts && std::any_of(parts->begin(), parts->end(), [](auto& p) { return p.kind != 'L'; }))
    return {};
  return fmt::format(
      "\"{}\": a template with {{name}}, {{+name}} or {{/name}}, each after some text, is needed",
      uri_template);
}

}  // namespace gpumcp::mcp

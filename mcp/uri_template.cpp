#include "mcp/uri_template.h"

#include <fmt/format.h>

#include <algorithm>

namespace gpumcp::mcp {
namespace {

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

std::optional<UriVariables> match_uri_template(std::string_view uri_template,
                                               std::string_view uri) {
  const auto parts = parse(uri_template);
  if (!parts) return std::nullopt;
  UriVariables variables;
  for (size_t i = 0; i < parts->size(); ++i) {
    const Part& part = (*parts)[i];
    if (part.kind == 'L') {
      if (!uri.starts_with(part.text)) return std::nullopt;
      uri.remove_prefix(part.text.size());
      continue;
    }
    if (part.kind == '/') {
      if (!uri.starts_with('/')) return std::nullopt;
      uri.remove_prefix(1);
    }
    // Up to the next literal; a reserved expansion takes as much as it can, the others stop at the
    // first delimiter.
    const bool last = i + 1 == parts->size();
    const std::string_view next = last                          ? std::string_view()
                                  : (*parts)[i + 1].kind == 'L' ? (*parts)[i + 1].text
                                                                : std::string_view("/");
    size_t end = last ? uri.size() : part.kind == '+' ? uri.rfind(next) : uri.find(next);
    if (part.kind != '+') end = std::min(end, uri.find_first_of("/?#"));
    if (end == uri.npos) end = last ? uri.size() : 0;
    if (end == 0) return std::nullopt;
    variables[std::string(part.text)] = percent_decode(uri.substr(0, end));
    uri.remove_prefix(end);
  }
  if (!uri.empty()) return std::nullopt;
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

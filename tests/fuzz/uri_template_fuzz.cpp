// A template that may be registered matches only URIs that it makes: the variables put back give
// the URI again, percent-encoding aside; and what is made of it with plain values is found.
// Input: the template, a newline, the URI.
#include "mcp/uri_template.h"

#include "tests/fuzz/fuzz.h"

using namespace gpumcp::mcp;

namespace {

int hex(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

std::string without_percent(std::string_view text) {
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

// The template's text with each variable replaced by what `value` gives for its name.
template <class F>
std::string expand(std::string_view t, F value, bool& twice) {
  std::string out;
  std::vector<std::string> seen;
  while (!t.empty()) {
    const size_t open = t.find('{');
    out += t.substr(0, open);
    if (open == t.npos) break;
    const size_t close = t.find('}', open);
    std::string name(t.substr(open + 1, close - open - 1));
    if (name[0] == '/') out += '/';
    if (name[0] == '/' || name[0] == '+') name.erase(0, 1);
    for (const auto& one : seen) twice = twice || one == name;
    seen.push_back(name);
    out += value(name);
    t.remove_prefix(close + 1);
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto parts = fuzz::lines(data, size, 2);
  const std::string_view uri_template = parts[0], uri = parts[1];
  const bool usable = check_uri_template(uri_template).empty();
  const auto found = match_uri_template(uri_template, uri);
  if (!usable) return 0;
  bool twice = false;
  const std::string made =
      expand(uri_template, [](const std::string&) { return std::string("~"); }, twice);
  if (found) {
    for (const auto& [name, value] : *found) FUZZ_CHECK(!name.empty());
    const std::string anew =
        expand(uri_template, [&](const std::string& name) { return found->at(name); }, twice);
    // The literals are not decoded when they are matched, so only here for the comparison.
    if (!twice && uri_template.find('%') == uri_template.npos)
      FUZZ_CHECK(without_percent(uri) == anew || uri.find('%') != uri.npos);
    if (!twice && uri.find('%') == uri.npos) FUZZ_CHECK(uri == anew);
  }
  if (uri_template.find('~') == uri_template.npos) {
    const auto values = match_uri_template(uri_template, made);
    FUZZ_CHECK(values && !values->empty());
    for (const auto& [name, value] : *values) FUZZ_CHECK(value == "~");
  }
  return 0;
}

// Mcp-Name and Mcp-Param-* values: whatever text is encoded comes back, what is decoded was
// strictly encoded, and the headers that a client makes of a call's arguments are those that the
// server accepts for them, and for no others.
// Input: a tool's input schema, a newline, the arguments, a newline, a header's value.
#include "mcp/http_guards.h"
#include "mcp/param_headers.h"
#include "tests/fuzz/fuzz.h"

using namespace gpumcp::mcp;

namespace {

void check_value(std::string_view value) {
  const std::string encoded = encode_header_value(value);
  for (const char c : encoded) FUZZ_CHECK(c >= 0x20 && c < 0x7f);
  FUZZ_CHECK(trim_ows(encoded) == encoded);
  const auto back = decode_header_value(encoded);
  const bool sound = find_invalid_utf8(value) == value.npos;
  FUZZ_CHECK(back.has_value() == sound);
  if (sound) FUZZ_CHECK(*back == value);
  if (auto text = decode_header_value(value); text && *text != value) {
    FUZZ_CHECK(value.starts_with("=?base64?") && value.ends_with("?="));
    // One text has one strict encoding.
    const std::string anew = encode_header_value(*text);
    FUZZ_CHECK(anew == value || anew == *text);
    FUZZ_CHECK(decode_header_value(anew) == text);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto parts = fuzz::lines(data, size, 3);
  check_value(parts[2]);
  const auto schema = parse_json(parts[0]), arguments = parse_json(parts[1]);
  if (!schema || !arguments) return 0;
  const auto marks = find_param_headers(*schema);
  if (!marks) return 0;
  std::map<std::string, std::string, std::less<>> headers;
  for (const ParamHeader& mark : *marks) {
    FUZZ_CHECK(!mark.path.empty() && !mark.name.empty());
    FUZZ_CHECK(mark.name.find_first_of(" :\r\n\t") == std::string::npos);
    if (auto text = param_header_text(*arguments, mark))
      headers[lower_ascii(mark.name)] = encode_header_value(*text);
  }
  FUZZ_CHECK(compare_param_headers(*arguments, *marks, headers));
  for (const auto& [name, value] : headers) {
    auto other = headers;
    other.erase(name);
    FUZZ_CHECK(!compare_param_headers(*arguments, *marks, other));
    other[name] = encode_header_value(value + "x");
    FUZZ_CHECK(!compare_param_headers(*arguments, *marks, other));
  }
  return 0;
}

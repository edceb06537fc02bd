// scan_json never accepts what nlohmann refuses, but for numbers beyond double; what parses is
// written and read back unchanged, and so is any string.
#include "mcp/json.h"
#include "tests/fuzz/fuzz.h"

using namespace gpumcp::mcp;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const bool sound = scan_json(text).has_value();
  const auto value = parse_json(text);
  if (!sound) FUZZ_CHECK(!value);
  if (value) {
    FUZZ_CHECK(Json::accept(text));
    const auto again = parse_json(to_text(*value));
    FUZZ_CHECK(again && to_text(*again) == to_text(*value));
  }
  std::string quoted;
  append_string(quoted, text);
  const auto string = parse_json(quoted);
  FUZZ_CHECK(string && string->is_string());
  if (find_invalid_utf8(text) == text.npos)
    FUZZ_CHECK(string->get_ref<const std::string&>() == text);
  return 0;
}

// scan_json takes exactly what nlohmann takes, but for what json.h names: duplicate keys, depth,
// numbers beyond double. What parses is nlohmann's value, and is written and read back unchanged;
// so is any string. The members that are told are the value's.
#include "mcp/json.h"
#include "tests/fuzz/fuzz.h"

using namespace gpumcp::mcp;

namespace {

bool is_documented(const std::string& message) {
  for (const char* reason : {"duplicate key", "nested deeper than", "beyond the numbers"}) {
    if (message.find(reason) != message.npos) return true;
  }
  return false;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  Json told = Json::object();
  const auto scanned = scan_json(text, [&](std::string_view key, std::string_view member) {
    // In the order of the text, and before the rest is known to be sound.
    auto part = parse_json(member);
    if (part) told[std::string(key)] = std::move(*part);
  });
  const auto value = parse_json(text);
  if (!scanned) FUZZ_CHECK(!value);
  if (value) {
    // nlohmann skips a byte order mark, which RFC 8259 lets a parser do and this one does not.
    FUZZ_CHECK(Json::accept(text));
    const auto theirs = Json::parse(text);
    FUZZ_CHECK(theirs == *value && to_text(theirs) == to_text(*value));
    const auto again = parse_json(to_text(*value));
    FUZZ_CHECK(again && *again == *value && to_text(*again) == to_text(*value));
    if (value->is_object()) FUZZ_CHECK(told == *value);
  } else if (size < 2000 && !text.starts_with("\xEF\xBB\xBF") && text.find('\0') == text.npos &&
             Json::accept(text)) {  // to nlohmann NUL is the end
    FUZZ_CHECK(is_documented(value.error().message));
  }
  std::string quoted;
  append_string(quoted, text);
  const auto string = parse_json(quoted);
  FUZZ_CHECK(string && string->is_string());
  if (find_invalid_utf8(text) == text.npos)
    FUZZ_CHECK(string->get_ref<const std::string&>() == text);
  return 0;
}

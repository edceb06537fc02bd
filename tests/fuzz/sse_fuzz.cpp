// A stream of server-sent events gives the same events in any pieces, and those that the WHATWG
// algorithm, written here a second time over whole lines, gives. What the server writes is read
// back.
#include "mcp/sse.h"

#include <algorithm>
#include <vector>

#include "mcp/http_exchange.h"
#include "tests/fuzz/fuzz.h"

using namespace gpumcp::mcp;

namespace {

constexpr size_t kLimit = 300;

struct Read {
  std::vector<SseEvent> events;
  std::string last_id;
  std::optional<std::chrono::milliseconds> retry;
  bool failed = false;
};

bool same(const std::vector<SseEvent>& a, const std::vector<SseEvent>& b) {
  return std::ranges::equal(a, b, [](const SseEvent& x, const SseEvent& y) {
    return x.type == y.type && x.data == y.data && x.id == y.id;
  });
}
bool same(const Read& a, const Read& b) {
  return same(a.events, b.events) && a.failed == b.failed &&
         (a.failed || (a.last_id == b.last_id && a.retry == b.retry));
}

Read read_events(std::string_view bytes, uint32_t seed, size_t limit) {
  SseParser parser(limit);
  Read out;
  const auto feed = [&](std::string_view piece) {
    out.failed = !parser.feed(piece, [&](const SseEvent& event) { out.events.push_back(event); });
    return !out.failed;
  };
  if (seed)
    fuzz::in_pieces(bytes, seed, feed);
  else
    feed(bytes);
  out.last_id = parser.last_id();
  out.retry = parser.retry();
  return out;
}

Read by_the_book(std::string_view bytes) {
  if (bytes.starts_with("\xEF\xBB\xBF")) bytes.remove_prefix(3);
  Read out;
  std::string data, type;
  while (true) {
    const size_t end = bytes.find_first_of("\r\n");
    if (end == bytes.npos) return out;  // a line that is not ended is dropped
    const std::string_view line = bytes.substr(0, end);
    bytes.remove_prefix(end + (bytes.substr(end).starts_with("\r\n") ? 2 : 1));
    if (line.empty()) {
      if (!data.empty()) {
        data.pop_back();
        out.events.push_back({type.empty() ? "message" : type, data, out.last_id});
      }
      data.clear();
      type.clear();
      continue;
    }
    const size_t colon = line.find(':');
    const std::string_view field = line.substr(0, colon);
    std::string_view value = colon == line.npos ? std::string_view() : line.substr(colon + 1);
    if (value.starts_with(' ')) value.remove_prefix(1);
    if (field == "data") (data += value) += '\n';
    if (field == "event") type = value;
    if (field == "id" && value.find('\0') == value.npos) out.last_id = value;
    if (field == "retry" && !value.empty() && value.size() <= 9 &&
        value.find_first_not_of("0123456789") == value.npos)
      out.retry = std::chrono::milliseconds(std::stol(std::string(value)));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto seed = static_cast<uint32_t>(1 + size);
  const Read whole = read_events(bytes, 0, size + 1);
  FUZZ_CHECK(!whole.failed && same(whole, by_the_book(bytes)));
  FUZZ_CHECK(same(read_events(bytes, seed, size + 1), whole));
  const Read bounded = read_events(bytes, 0, kLimit), pieces = read_events(bytes, seed, kLimit);
  FUZZ_CHECK(bounded.failed == pieces.failed && same(bounded.events, pieces.events));
  for (const SseEvent& event : bounded.events) FUZZ_CHECK(event.data.size() <= kLimit);

  std::string line(bytes);
  for (char& c : line) {
    if (c == '\r' || c == '\n') c = ' ';  // what a JSON text's line ends become
  }
  const Read sent = read_events(sse_event(bytes, "7-1", "message"), seed, size + 1000);
  FUZZ_CHECK(sent.events.size() == 1 && sent.events[0].data == line);
  FUZZ_CHECK(sent.events[0].id == "7-1" && sent.events[0].type == "message");
  return 0;
}

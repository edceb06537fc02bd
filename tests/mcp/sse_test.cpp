#include "mcp/sse.h"

#include <doctest/doctest.h>

#include <vector>

using namespace gpumcp::mcp;

namespace {
std::vector<std::string> parse(const std::string& text, size_t step) {
  SseParser parser(1000);
  std::vector<std::string> out;
  for (size_t at = 0; at < text.size(); at += step)
    REQUIRE(parser.feed(std::string_view(text).substr(at, step), [&](const SseEvent& e) {
      out.push_back(e.type + "|" + e.data + "|" + e.id);
    }));
  return out;
}
}  // namespace

TEST_CASE("events come out the same in every split and with every line end") {
  const std::string lf =
      "\xEF\xBB\xBF: hello\nid: 7\nevent: endpoint\ndata: a\ndata:b\ndata\n\n:\n\nevent: "
      "dropped\n\n"
      "data:  c\nretry: 5\n\nid\ndata\n\n data: no field\n\ndata: unfinished";
  const std::vector<std::string> want = {"endpoint|a\nb\n|7", "message| c|7", "message||"};
  for (const char* end : {"\n", "\r", "\r\n"}) {
    std::string text;
    for (char c : lf) {
      if (c == '\n')
        text += end;
      else
        text += c;
    }
    for (size_t step = 1; step < text.size(); ++step) CHECK(parse(text, step) == want);
  }
}

TEST_CASE("a line or event beyond the limit is an error") {
  SseParser line(10), event(10);
  auto ignore = [](const SseEvent&) {};
  CHECK(line.feed("data: 1234", ignore));
  CHECK_FALSE(line.feed("5", ignore));
  bool ok = true;
  for (int i = 0; i < 10 && ok; ++i) ok = event.feed("data:1\n", ignore).has_value();
  CHECK_FALSE(ok);
}

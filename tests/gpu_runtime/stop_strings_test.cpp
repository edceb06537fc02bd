// Text that may become a stop string is held back, and only that.
#include <doctest/doctest.h>

#include "gpu_runtime/generation/text_stream.h"

using namespace gpumcp::gpu_runtime;

namespace {

using Pieces = std::vector<std::string>;

// What is shown after each piece, and at the end.
Pieces shown(std::vector<std::string> stops, const Pieces& pieces) {
  StopStrings strings(std::move(stops));
  Pieces out;
  for (const std::string& piece : pieces) out.push_back(strings.push(piece));
  out.push_back(strings.finish());
  return out;
}

}  // namespace

TEST_CASE("without stop strings text passes as it comes") {
  CHECK(shown({}, {"a", "", "bc"}) == Pieces{"a", "", "bc", ""});
}

TEST_CASE("a stop string ends the text before it, even across pieces") {
  CHECK(shown({"END"}, {"go on END more", "x"}) == Pieces{"go on ", "", ""});
  CHECK(shown({"END"}, {"go on E", "N", "D more"}) == Pieces{"go on ", "", "", ""});
  CHECK(shown({"\n\n"}, {"a\n", "\nb"}) == Pieces{"a", "", ""});
}

TEST_CASE("what turns out to be no stop string is shown in full") {
  CHECK(shown({"END"}, {"E", "N", "X"}) == Pieces{"", "", "ENX", ""});
  CHECK(shown({"END"}, {"an EN"}) == Pieces{"an ", "EN"});
  CHECK(shown({"aab"}, {"aa", "a", "c"}) == Pieces{"", "a", "aac", ""});
}

TEST_CASE("of several, the one that begins first counts; of two there, the longer") {
  StopStrings strings({"b", "ab", "abc"});
  CHECK(strings.push("xxabcd") == "xx");
  CHECK(strings.found());
  CHECK(strings.which() == "abc");
  StopStrings first({"cd", "bcde"});
  CHECK(first.push("abcd") == "ab");  // "cd" is complete before "bcde" could be
  CHECK(first.which() == "cd");
}

TEST_CASE("no piecing of a text changes what is shown of it") {
  const std::string text = "one two\nthree STOP four STOP";
  for (const Pieces& stops : {Pieces{"STOP"}, Pieces{"\nth", "STOP"}, Pieces{"nothing"}}) {
    const std::string whole = shown(stops, {text})[0] + shown(stops, {text})[1];
    for (std::size_t size = 1; size < text.size(); ++size) {
      Pieces pieces;
      for (std::size_t at = 0; at < text.size(); at += size)
        pieces.push_back(text.substr(at, size));
      std::string all;
      for (const std::string& part : shown(stops, pieces)) all += part;
      CHECK(all == whole);
    }
  }
}

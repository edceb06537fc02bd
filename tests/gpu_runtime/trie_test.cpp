#include "gpu_runtime/trie.h"

#include <doctest/doctest.h>

#include <map>
#include <random>
#include <string>
#include <vector>

using namespace gpumcp::gpu_runtime;

namespace {

using Entries = std::vector<std::pair<std::string_view, std::int32_t>>;

Trie::Match longest(const Trie& trie, const std::string& text) {
  return trie.longest_prefix(text.data(), text.data() + text.size());
}

}  // namespace

TEST_CASE("an empty trie finds nothing") {
  CHECK(longest(Trie(), "abc").value == Trie::kNone);
  CHECK(Trie(Entries{{"", 3}}).find("") == Trie::kNone);
}

TEST_CASE("the longest key wins, and the last of equal keys counts") {
  const Trie trie(
      Entries{{"a", 1}, {"abc", 2}, {"b", 3}, {"abc", 4}, {std::string_view("a\0b", 3), 5}});
  CHECK(longest(trie, "abcd").value == 4);
  CHECK(longest(trie, "abcd").length == 3);
  CHECK(longest(trie, "abd").value == 1);
  CHECK(longest(trie, std::string("a\0bc", 4)).value == 5);
  CHECK(longest(trie, "c").value == Trie::kNone);
  CHECK(trie.find("ab") == Trie::kNone);
  CHECK(trie.find("abc") == 4);
}

TEST_CASE("random keys are found exactly as a plain map finds them") {
  std::mt19937 random(7);
  for (const int alphabet : {2, 5, 256}) {
    std::map<std::string, std::int32_t> map;
    const auto word = [&] {
      std::string text(random() % 8 + 1, '\0');
      for (char& c : text) c = static_cast<char>(random() % static_cast<unsigned>(alphabet));
      return text;
    };
    for (int i = 0; i < 5000; ++i) map[word()] = i;
    Entries entries(map.begin(), map.end());
    const Trie trie(entries);
    for (int i = 0; i < 5000; ++i) {
      const std::string text = word() + word();
      Trie::Match expected;
      for (std::size_t n = 1; n <= text.size(); ++n) {
        const auto found = map.find(text.substr(0, n));
        if (found != map.end()) expected = {found->second, static_cast<std::uint32_t>(n)};
      }
      const Trie::Match match = longest(trie, text);
      REQUIRE(match.value == expected.value);
      REQUIRE(match.length == expected.length);
    }
  }
}

TEST_CASE("one very long key and many that differ late are built without deep recursion") {
  const std::string key(1'000'000, 'x');
  const Trie trie(Entries{{key, 1}, {std::string_view(key).substr(1), 2}});
  CHECK(longest(trie, key + "y").value == 1);
}

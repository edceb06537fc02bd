// What json_schema.h is made of: URIs, patterns, numbers.
#include <doctest/doctest.h>

#include "mcp/schema/ecma_regex.h"
#include "mcp/schema/uri.h"
#include "mcp/schema/value.h"

using namespace gpumcp::mcp;
using namespace gpumcp::mcp::schema;

TEST_CASE("references resolve as RFC 3986, 5.4 lists them, without their fragments") {
  struct Case {
    const char *reference, *target;
  };
  const Case cases[] = {
      {"g:h", "g:h"},
      {"g", "http://a/b/c/g"},
      {"./g", "http://a/b/c/g"},
      {"g/", "http://a/b/c/g/"},
      {"/g", "http://a/g"},
      {"//g", "http://g"},
      {"?y", "http://a/b/c/d;p?y"},
      {"g?y", "http://a/b/c/g?y"},
      {"#s", "http://a/b/c/d;p?q"},
      {"g#s", "http://a/b/c/g"},
      {";x", "http://a/b/c/;x"},
      {"", "http://a/b/c/d;p?q"},
      {".", "http://a/b/c/"},
      {"./", "http://a/b/c/"},
      {"..", "http://a/b/"},
      {"../g", "http://a/b/g"},
      {"../..", "http://a/"},
      {"../../../g", "http://a/g"},
      {"/./g", "http://a/g"},
      {"/../g", "http://a/g"},
      {"g.", "http://a/b/c/g."},
      {"..g", "http://a/b/c/..g"},
      {"./g/.", "http://a/b/c/g/"},
      {"g/./h", "http://a/b/c/g/h"},
      {"g/../h", "http://a/b/c/h"},
      {"g?y/../x", "http://a/b/c/g?y/../x"},
  };
  for (const Case& one : cases)
    CHECK(resolve_uri("http://a/b/c/d;p?q", one.reference) == one.target);
  CHECK(resolve_uri("", "a/b#c") == "a/b");
  CHECK(resolve_uri("http://a", "g") == "http://a/g");
  CHECK(resolve_uri("urn:example:a", "#/x") == "urn:example:a");
}

TEST_CASE("a URI is told from a reference and from other text") {
  for (const char* good : {"https://example.com/a?b=c#d", "mailto:a@b.c", "http://[::1]:80/", "a:"})
    CHECK(is_uri(good));
  for (const char* bad : {"", "/a", "http://a b", "http://[::1", "http://a:b/", "http://a/%4",
                          "1a:b", "http://a/\xc3\xa9", "http://[::1]x/"})
    CHECK_FALSE(is_uri(bad));
  CHECK(is_uri_reference("/a?b#c"));
  CHECK_FALSE(is_uri_reference("a\\b"));
}

TEST_CASE("patterns mean what ECMA-262 says") {
  struct Case {
    const char *pattern, *text;
    bool matches;
  };
  const Case cases[] = {
      {"b", "abc", true},
      {"^abc$", "abc\n", false},
      {".", "\n", false},
      {"^.$", "\xe2\x80\xa8", false},  // U+2028
      {"^.$", "é", true},
      {R"(^\s$)", "\xef\xbb\xbf", true},
      {R"(^[^\s]$)", "\xc2\xa0", false},
      {R"(^[\S]$)", "a", true},
      {R"(^\x41\u0042\u{43}\cJ\0$)", "ABC\n", false},
      {R"(^\u{1F432}$)", "🐲", true},
      {R"(^\uD83D\uDC32+$)", "🐲🐲", true},
      {R"(^[\uD83D\uDC30-\uD83D\uDC33]$)", "🐲", true},
      {R"(^[\b]$)", "\b", true},
      {R"(\bfoo\b)", "a foo b", true},
      {R"(^[a\-z]+$)", "a-z", true},
      {R"(^[\w-]+$)", "a-z", true},
      {R"(^[\w-.]+$)", "a-.", true},
      {"^[[:alpha:]]$", "a]", true},  // a class of "[:alph", then ']'
      {"^[]$", "", false},
      {"^[^]$", "\n", true},
      {R"(^\/\.\-\@\"$)", "/.-@\"", true},
      {"^a{2,3}$", "aaa", true},
      {"^a{,3}$", "a{,3}", true},
      {"^{x}]$", "{x}]", true},
      {"^(?:a|(?<n>b))c$", "bc", true},
      {R"(^\p{Lu}\p{Script=Greek}\P{L}$)", "Aβ1", true},
      {R"(^\p{ASCII}\p{LC}$)", "zz", true},
      {R"(^[^\p{Letter}]$)", "é", false},
      {"^a+?b*?$", "ab", true},
  };
  for (const Case& one : cases) {
    const auto pattern = Pattern::compile(one.pattern);
    REQUIRE_MESSAGE(pattern.has_value(), one.pattern);
    CHECK_MESSAGE(pattern->matches(one.text) == one.matches, one.pattern);
  }
}

TEST_CASE("what is no pattern, or none that can be run, says why") {
  for (const char* bad : {"(",
                          ")",
                          "[a",
                          "a\\",
                          "[b-a]",
                          "a**",
                          "*a",
                          R"(\a)",
                          R"(\Z)",
                          R"(\u12)",
                          R"(\u{110000})",
                          R"(\x4)",
                          R"(\p{Nonsense})",
                          R"(\p{L)",
                          R"([\B])",
                          "(?i)a",
                          "(?=a)",
                          "(?!a)",
                          "(?<!a)",
                          "(?<a)b>c)",
                          "(?<>a)",
                          R"(\1)",
                          R"(\k<a>)",
                          "\xff",
                          R"(\Q.\E)",
                          R"(\p{Emoji=a})",
                          "(?P<n>a)"}) {
    const auto pattern = Pattern::compile(bad);
    REQUIRE_MESSAGE(!pattern.has_value(), bad);
    CHECK(pattern.error().message.find("cannot be used") != std::string::npos);
  }
  CHECK_FALSE(Pattern::compile(std::string(20'000, 'a')).has_value());
}

TEST_CASE("multiples are those of the decimal numbers as they are written") {
  struct Case {
    Json value, divisor;
    bool multiple;
  };
  const Case cases[] = {
      {0.0075, 0.0001, true}, {0.00751, 0.0001, false},
      {4.35, 0.01, true},     {1.1, 0.1, true},
      {19.99, 0.01, true},    {1e308, 0.123456789, false},
      {1e308, 0.5, true},     {1e308, 7, false},
      {3, 1.5, true},         {0, 7, true},
      {-9, 3, true},          {-9, 2, false},
      {1e-7, 1e-8, true},     {1e-300, 1e300, false},
      {5e-324, 5e-324, true}, {18446744073709551615u, 5, true},
      {7, 1e-300, true},      {std::int64_t{INT64_MIN}, 2, true},
  };
  for (const Case& one : cases)
    CHECK_MESSAGE(is_multiple_of(one.value, one.divisor) == one.multiple,
                  to_text(one.value) << " of " << to_text(one.divisor));
}

TEST_CASE("numbers of different types are ordered by their value") {
  const Json ordered[] = {-1e300,
                          INT64_MIN,
                          -1.5,
                          -1,
                          -0.5,
                          0,
                          0.5,
                          1,
                          1.5,
                          9007199254740993,
                          9007199254740994.0,
                          INT64_MAX,
                          9223372036854775808.0,
                          18446744073709551615u,
                          18446744073709551616.0,
                          1e300};
  for (std::size_t i = 0; i < std::size(ordered); ++i) {
    for (std::size_t j = 0; j < std::size(ordered); ++j)
      CHECK((compare_numbers(ordered[i], ordered[j]) == (i <=> j)));
  }
  CHECK(compare_numbers(1, 1.0) == 0);
  CHECK(compare_numbers(1u, 1) == 0);
}

TEST_CASE("canonical texts are equal for equal values only") {
  const auto text = [](std::string_view json) { return canonical_text(*parse_json(json)); };
  CHECK(text(R"({"a":1,"b":[2.0]})") == text(R"({"b":[2],"a":1.0})"));
  CHECK(text("0") == text("-0.0"));
  CHECK(text("1") != text("true"));
  CHECK(text("0") != text("false"));
  CHECK(text("[1,2]") != text("[12]"));
  CHECK(text(R"(["a","b"])") != text(R"(["ab",""])"));
  CHECK(text(R"({"a":[]})") != text(R"({"a":{}})"));
  CHECK(text("18446744073709551615") != text("18446744073709551616"));
}

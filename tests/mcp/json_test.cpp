// scan_json against a table, against every byte position, and against nlohmann's own judgement.
#include "mcp/json.h"

#include <time.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <set>

#include "tests/mcp/support.h"

using namespace gpumcp::mcp;
using namespace gpumcp::mcp::test;
using namespace std::string_literals;

namespace {

std::string nested(int depth) { return std::string(depth, '[') + std::string(depth, ']'); }

std::string object_of_keys(int n) {
  std::string out = "{";
  for (int i = 0; i < n; ++i)
    out += (i ? ",\"k" : "\"k") + std::to_string(i) + "\":" + std::to_string(i);
  return out + "}";
}

}  // namespace

TEST_CASE("well-formed JSON passes the scan") {
  for (
      const std::string& text : {
          "0"s,
          "-0"s,
          "1"s,
          "-1"s,
          "10"s,
          "0.5"s,
          "1e5"s,
          "1E+5"s,
          "1.25e-7"s,
          "123456789012345678901234567890"s,
          "true"s,
          "false"s,
          "null"s,
          "\"\""s,
          " \t\r\n1 \t\r\n"s,
          "[]"s,
          "[ ]"s,
          "{}"s,
          "{ }"s,
          "[1,2]"s,
          "[1 , 2]"s,
          R"({"a":1,"b":{"a":2}})"s,
          R"("\"\\\/\b\f\n\r\t")"s,
          R"("\u0000\u00e9\uD834\uDD1E\uABCD")"s,
          "\"\x7f\""s,
          "\"\xC2\x80\xDF\xBF\xE0\xA0\x80\xED\x9F\xBF\xEE\x80\x80\xEF\xBF\xBF\xF0\x90\x80\x80\xF4\x8F\xBF\xBF\""s,
          R"({"":1})"s,
          nested(64),
          object_of_keys(100),
      }) {
    CAPTURE(text);
    CHECK(scan_json(text));
  }
}

TEST_CASE("broken JSON is refused with the reason and the byte where it starts") {
  struct Case {
    std::string text, says;
    size_t at;
  };
  for (const Case& c : {
           Case{"", "ends where a value", 0},
           Case{"  ", "ends where a value", 2},
           Case{"01", "may follow", 1},
           Case{"-", "no value", 1},
           Case{"+1", "no value", 0},
           Case{".5", "no value", 0},
           Case{"1.", "after '.'", 2},
           Case{"1.e5", "after '.'", 2},
           Case{"1e", "exponent", 2},
           Case{"1e+", "exponent", 3},
           Case{"0x10", "may follow", 1},
           Case{"NaN", "no value", 0},
           Case{"Infinity", "no value", 0},
           Case{"-Infinity", "no value", 1},
           Case{"tru", "unknown word", 0},
           Case{"True", "no value", 0},
           Case{"nul", "unknown word", 0},
           Case{"{} x", "may follow", 3},
           Case{"1 2", "may follow", 2},
           Case{"[1,]", "no value", 3},
           Case{"[,1]", "no value", 1},
           Case{"[1 2]", "',' or ']'", 3},
           Case{"[", "ends where a value", 1},
           Case{"[1", "',' or ']'", 2},
           Case{"{", "a key in quotes", 1},
           Case{"{a:1}", "a key in quotes", 1},
           Case{"{'a':1}", "a key in quotes", 1},
           Case{R"({"a" 1})", "':'", 5},
           Case{R"({"a":1,})", "a key in quotes", 7},
           Case{R"({"a":})", "no value", 5},
           Case{R"({"a":1 "b":2})", "',' or '}'", 7},
           Case{"\"", "inside a string", 1},
           Case{"\"\\", "inside a string", 2},
           Case{R"("\x")", "unknown escape", 2},
           Case{R"("\u12")", "four hexa", 5},
           Case{R"("\u12g4")", "four hexa", 5},
           Case{R"("\uD834")", "high surrogate", 7},
           Case{R"("\uD834\n")", "high surrogate", 7},
           Case{R"("\uD834\u0041")", "high surrogate", 13},
           Case{R"("\uDD1E")", "low surrogate", 7},
           Case{"\"\n\"", "control", 1},
           Case{"\"\t\"", "control", 1},
           Case{"\"\0\""s, "control", 1},
           Case{"\"\x1f\"", "control", 1},
           Case{"1\0"s, "may follow", 1},
           Case{"\0"s, "no value", 0},
           Case{"\xEF\xBB\xBF{}", "no value", 0},
           Case{"/**/1", "no value", 0},
           Case{"\f1", "no value", 0},
           Case{nested(65), "nested deeper than 64", 64},
           Case{R"({"a":1,"a":2})", "duplicate key \"a\"", 8},
           Case{R"({"a":1,"\u0061":2})", "duplicate key \"a\"", 8},
           Case{R"([{"x":{"k":1,"k":2}}])", "duplicate key", 14},
           Case{object_of_keys(30).insert(1, R"("k27":0,)"), "duplicate key \"k27\"", 0},
           Case{object_of_keys(24).insert(1, R"("k23":0,)"), "duplicate key \"k23\"", 0},
       }) {
    CAPTURE(c.text);
    auto scanned = scan_json(c.text);
    REQUIRE_FALSE(scanned);
    CHECK(scanned.error().code == ErrorCode::parse_error);
    CAPTURE(scanned.error().message);
    CHECK(contains(scanned.error().message, c.says));
    if (c.at) CHECK(contains(scanned.error().message, "at byte " + std::to_string(c.at) + ":"));
    CHECK_FALSE(parse_json(c.text));
  }
}

TEST_CASE("the depth limit counts objects and arrays alike, and can be set") {
  std::string mixed;
  for (int i = 0; i < 32; ++i) mixed += "[{\"a\":";
  mixed += "1";
  for (int i = 0; i < 32; ++i) mixed += "}]";
  CHECK(scan_json(mixed));
  CHECK_FALSE(scan_json("[" + mixed + "]"));
  CHECK(scan_json("[[1]]", {}, 2));
  CHECK_FALSE(scan_json("[[1]]", {}, 1));
  CHECK(scan_json("1", {}, 0));
  CHECK_FALSE(scan_json(std::string(1u << 20, '[')));
}

TEST_CASE("a string ends at its own quote, wherever that and other special bytes lie") {
  // The scanner looks at eight bytes at once; every distance to its edges must be the same to it.
  for (size_t length = 0; length < 40; ++length) {
    for (size_t at = 0; at <= length; ++at) {
      for (const auto& [inside, sound] :
           std::vector<std::pair<std::string, bool>>{{"\\n", true},
                                                     {"\\\"", true},
                                                     {"\x01", false},
                                                     {"\x1F", false},
                                                     {"\x7F", true},
                                                     {"\xC3\xA9", true},
                                                     {"\x80", false},
                                                     {"\"", false}}) {
        std::string text(length, '!');
        text = "\"" + text.insert(at, inside) + "\"";
        CAPTURE(text);
        CHECK(scan_json(text).has_value() == sound);
        CHECK(Json::accept(text) == sound);
      }
      std::string raw(length, 'x'), out;
      raw.insert(at, "\x1F\"\\");
      append_string(out, raw);
      CHECK(Json::parse(out) == raw);
    }
  }
}

TEST_CASE("invalid UTF-8 is found at every position of a string, a key and outside") {
  const std::string bad[] = {"\x80",
                             "\xBF",
                             "\xC0\xAF",
                             "\xC1\xBF",
                             "\xC2",
                             "\xE0\x80\x80",
                             "\xE0\xA0",
                             "\xED\xA0\x80",
                             "\xED\xBF\xBF",
                             "\xF0\x80\x80\x80",
                             "\xF0\x90\x80",
                             "\xF4\x90\x80\x80",
                             "\xF5\x80\x80\x80",
                             "\xFE",
                             "\xFF"};
  const std::string base = R"({"key":"value","list":["a",1]})";
  for (const std::string& bytes : bad) {
    for (size_t i = 0; i <= base.size(); ++i) {
      CHECK_FALSE(scan_json(std::string(base).insert(i, bytes)));
    }
    CHECK(find_invalid_utf8("abc" + bytes) == 3);
    CHECK(find_invalid_utf8("abc" + bytes + "x", 3) == 3);
  }
  CHECK(find_invalid_utf8("h\xC3\xA9llo \xF0\x9F\x98\x80") == std::string_view::npos);
}

TEST_CASE(
    "members of the outermost object come decoded and in order, with their values' exact bytes") {
  std::vector<std::pair<std::string, std::string>> got;
  REQUIRE(scan_json(
      R"( {"b" : [1, {"x":2}] ,"\u0061\n":"t\u0065xt", "c":-1.50e3} )",
      [&](std::string_view key, std::string_view value) { got.emplace_back(key, value); }));
  REQUIRE(got.size() == 3);
  CHECK(got[0] == std::pair<std::string, std::string>("b", R"([1, {"x":2}])"));
  CHECK(got[1] == std::pair<std::string, std::string>("a\n", R"("t\u0065xt")"));
  CHECK(got[2] == std::pair<std::string, std::string>("c", "-1.50e3"));
}

TEST_CASE("split_object finds what scan_json finds, whatever strings hold") {
  for (const char* text :
       {"{}", " { } ", "[]", "7", R"({"a":"}","b":[{"c":"]"},"\\"],"d":{"e":{}}})",
        R"({"a\"b\\":"\\\"","c" : -1.5e3 , "\u0061" : null})", R"({"":"","x":[[],[[]]]})"}) {
    CAPTURE(text);
    std::vector<std::pair<std::string, std::string>> scanned, split;
    REQUIRE(scan_json(text, [&](auto key, auto value) { scanned.emplace_back(key, value); }));
    split_object(text, [&](auto key, auto value) { split.emplace_back(key, value); });
    CHECK(scanned == split);
  }
}

TEST_CASE(
    "scan_json and nlohmann agree on generated and mutated texts, but for what we refuse on "
    "purpose") {
  std::mt19937 random(20260728);
  auto pick = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  const char* atoms[] = {"0",
                         "-1.5e3",
                         "true",
                         "null",
                         "\"a\"",
                         "\"\\u00e9\\n\"",
                         "\"\xC3\xA9\"",
                         "12",
                         "\"\\ud83d\\ude00\""};
  std::function<std::string(int)> generate = [&](int depth) -> std::string {
    const int kind = depth > 4 ? 0 : pick(4);
    if (kind < 2) return atoms[pick(std::size(atoms))];
    std::string out = kind == 2 ? "[" : "{";
    for (int i = 0, n = pick(4); i < n; ++i) {
      if (i) out += pick(3) ? "," : " , ";
      if (kind == 3) out += "\"k" + std::to_string(pick(20) ? i : 0) + (pick(5) ? "\":" : "\" : ");
      out += generate(depth + 1);
    }
    return out + (kind == 2 ? "]" : "}");
  };
  const std::string alphabet = "{}[]\",:\\u0e1.-+tfn \n\x80\xC3\xED\xF0/b";
  int accepted = 0, refused = 0, stricter = 0;
  for (int round = 0; round < 20000; ++round) {
    std::string text = generate(0);
    for (int m = pick(4); m > 0 && !text.empty(); --m) {
      const size_t at = random() % text.size();
      switch (pick(3)) {
        case 0:
          text.erase(at, 1);
          break;
        case 1:
          text.insert(at, 1,
                      alphabet[static_cast<size_t>(pick(static_cast<int>(alphabet.size())))]);
          break;
        default:
          text[at] = alphabet[static_cast<size_t>(pick(static_cast<int>(alphabet.size())))];
      }
    }
    const auto ours = scan_json(text);
    const bool theirs = Json::accept(text);
    if (theirs && !ours) {
      CHECK_MESSAGE(contains(ours.error().message, "duplicate key"), text);
      ++stricter;
    } else if (ours && !theirs) {  // sound, but beyond double, which parse_json finds
      const auto value = parse_json(text);
      REQUIRE_MESSAGE(!value, text);
      CHECK_MESSAGE(contains(value.error().message, "beyond the numbers"), text);
      continue;
    }
    CHECK_MESSAGE((ours.has_value() == theirs || theirs), text);
    if (ours) {
      ++accepted;
      std::string members, split;  // both ways find the same ones
      auto collect = [](std::string& out) {
        return [&out](std::string_view key, std::string_view value) {
          ((((out += key) += '=') += value) += ';');
        };
      };
      REQUIRE(scan_json(text, collect(members)));
      split_object(text, collect(split));
      CHECK_MESSAGE(members == split, text);
      const auto value = parse_json(text);
      REQUIRE_MESSAGE(value, text);
      CHECK(*value == Json::parse(text));
    } else {
      ++refused;
    }
  }
  CHECK(accepted > 4000);
  CHECK(refused > 4000);
  CHECK(stricter > 10);
}

TEST_CASE("parse_json keeps the order of keys and every kind of value") {
  const std::string text =
      R"({"z":[],"a":{"y":1,"b":[null,true,false,-5,18446744073709551615,0.25,"s"]},"m":{}})";
  CHECK(to_text(json(text)) == text);
  CHECK(json("3").is_number_unsigned());
  CHECK(json("-3").is_number_integer());
  CHECK(json("18446744073709551616").is_number_float());
  CHECK(contains(parse_json("[1e999]").error().message, "invalid JSON"));
}

TEST_CASE("an object of 100000 keys parses in time linear in them") {
  // A quadratic builder needs minutes for this.
  const Json value = json(object_of_keys(100000));
  CHECK(value.size() == 100000);
  CHECK(value.back() == 99999);
}

// Keys that libstdc++'s hash (Murmur 64A with a known seed) cannot tell apart: each is made of five
// parts of 16 bytes, of which there are eight that leave the hash in the same state.
std::vector<std::string> colliding_keys() {
  constexpr uint64_t kMul = 0xc6a4a7935bd1e995u;
  constexpr size_t kParts = 5, kWays = 8;
  uint64_t inverse = kMul;  // of kMul, by Newton's steps
  for (int i = 0; i < 6; ++i) inverse *= 2 - kMul * inverse;
  const auto mix = [](uint64_t k) { return ((k * kMul) ^ (k * kMul) >> 47) * kMul; };
  const auto unmix = [&](uint64_t k) { return ((k * inverse) ^ (k * inverse) >> 47) * inverse; };
  const auto is_plain = [](uint64_t block) {
    for (int i = 0; i < 8; ++i, block >>= 8) {
      const auto c = static_cast<unsigned char>(block);
      if (c < 0x20 || c > 0x7e || c == '"' || c == '\\') return false;
    }
    return true;
  };
  std::mt19937_64 random(7);
  const auto letters = [&] {
    uint64_t block = 0;
    for (int i = 0; i < 8; ++i) block = block << 8 | ('a' + random() % 26);
    return block;
  };
  uint64_t state = 0xc70f6907u ^ kParts * 16 * kMul;
  std::vector<std::string> keys = {""};
  for (size_t part = 0; part < kParts; ++part) {
    const uint64_t next = ((((state ^ mix(letters())) * kMul) ^ mix(letters())) * kMul);
    std::vector<std::string> longer;
    for (size_t way = 0; way < kWays;) {
      const uint64_t first = letters();
      const uint64_t second = unmix(((state ^ mix(first)) * kMul) ^ (next * inverse));
      if (!is_plain(second)) continue;
      const uint64_t blocks[] = {first, second};
      for (const std::string& key : keys)
        longer.push_back(key + std::string(reinterpret_cast<const char*>(blocks), sizeof blocks));
      ++way;
    }
    keys = std::move(longer);
    state = next;
  }
  return keys;
}

double cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

TEST_CASE("keys that collide in the standard hash cost no more than others") {
  const auto keys = colliding_keys();
  REQUIRE(std::set<std::string>(keys.begin(), keys.end()).size() == keys.size());
  const std::hash<std::string_view> hash;
  WARN(hash(keys[0]) == hash(keys[1]));  // or the attack is on another library
  WARN(hash(keys[0]) == hash(keys.back()));
  const auto seconds_for = [&](auto key) {
    std::string text = "{";
    for (size_t i = 0; i < keys.size(); ++i) ((text += i ? ",\"" : "\"") += key(i)) += "\":0";
    text += '}';
    const double began = cpu_seconds();
    CHECK(parse_json(text));
    return cpu_seconds() - began;
  };
  const std::string padding(keys[0].size() - 8, 'x');
  const double plain =
      seconds_for([&](size_t i) { return std::to_string(10'000'000 + i) + padding; });
  CHECK(seconds_for([&](size_t i) { return keys[i]; }) < 10 * plain + 0.05);
}

TEST_CASE("of many keys the first that repeats another is named, with its byte") {
  std::string text = object_of_keys(40);
  text.insert(text.size() - 1, R"(,"k39":0,"z":0,"k7":0)");
  const size_t at = text.rfind("k39");
  const auto scanned = scan_json(text);
  REQUIRE(!scanned);
  CHECK(scanned.error().message ==
        "invalid JSON at byte " + std::to_string(at) + ": duplicate key \"k39\"");
}

TEST_CASE("append_string round-trips every code point's plane and replaces broken UTF-8") {
  std::string all;
  for (int c = 0; c < 0x80; ++c) all += static_cast<char>(c);
  all += "\xC2\x80\xDF\xBF\xE0\xA0\x80\xEF\xBF\xBF\xF0\x90\x80\x80\xF4\x8F\xBF\xBF";
  std::string out;
  append_string(out, all);
  CHECK(scan_json(out));
  CHECK(out.find('\n') == out.npos);
  CHECK(json(out) == all);
  out.clear();
  append_string(out,
                "a\xFF"
                "b\xC3");
  CHECK(json(out) ==
        "a\xEF\xBF\xBD"
        "b\xEF\xBF\xBD");
  out.clear();
  append_string(out, "\x1f\x7f\"\\");
  CHECK(out == "\"\\u001f\x7f\\\"\\\\\"");
  CHECK(to_text(Json("\xFF")) == "\"\xEF\xBF\xBD\"");
}

TEST_CASE("numbers are written shortest and read back bit by bit") {
  std::mt19937_64 random(7);
  for (int i = 0; i < 20000; ++i) {
    const uint64_t bits = random();
    double d;
    std::memcpy(&d, &bits, sizeof d);
    const uint32_t low = static_cast<uint32_t>(bits);
    float f;
    std::memcpy(&f, &low, sizeof f);
    std::string text;
    if (std::isfinite(d)) {
      append_number(text, d);
      REQUIRE(scan_json(text));
      CHECK(std::strtod(text.c_str(), nullptr) == d);
    }
    text.clear();
    if (std::isfinite(f)) {
      append_number(text, f);
      REQUIRE(scan_json(text));
      CHECK(std::strtof(text.c_str(), nullptr) == f);
      CHECK(text.size() <= 15);
    }
  }
  auto written = [](auto value) {
    std::string out;
    append_number(out, value);
    return out;
  };
  CHECK(written(0.1f) == "0.1");
  CHECK(written(0.1) == "0.1");
  CHECK(written(std::numeric_limits<int64_t>::min()) == "-9223372036854775808");
  CHECK(written(std::numeric_limits<uint64_t>::max()) == "18446744073709551615");
}

TEST_CASE("decimals are written as std::to_chars does, whatever their places and size") {
  std::mt19937_64 random(11);
  auto check = [](double value) {
    char want[64];
    const std::string expected(want, std::to_chars(want, want + sizeof want, value).ptr);
    std::string got;
    append_number(got, value);
    REQUIRE(got == expected);
  };
  for (const double value :
       {0.0, -0.0, 1.0, -1.0, 0.001, 0.0009, 99999.0, 100000.0, 99999.999999999, 0.1 + 0.2, 1.0 / 3,
        1e-9, 123.456, 0.123456789, 0.1234567891, 5e-324})
    check(value);
  for (int i = 0; i < 200'000; ++i) {
    const int places = static_cast<int>(random() % 13);
    const auto digits = static_cast<double>(random() % 1'000'000'000'000);
    const double decimal = digits / std::pow(10, places + static_cast<int>(random() % 4));
    for (const double value :
         {decimal, -decimal, std::nextafter(decimal, 1e300), std::nextafter(decimal, 0.0),
          static_cast<double>(static_cast<float>(decimal))})
      check(value);
  }
}

TEST_CASE("NaN and infinities throw, since JSON has none") {
  std::string out;
  CHECK_THROWS_AS(append_number(out, std::nan("")), std::domain_error);
  CHECK_THROWS_AS(append_number(out, std::numeric_limits<double>::infinity()), std::domain_error);
  CHECK_THROWS_AS(append_number(out, -std::numeric_limits<float>::infinity()), std::domain_error);
  CHECK(out.empty());
}

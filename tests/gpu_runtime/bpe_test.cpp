// BPE and Unigram end to end: small vocabularies counted by hand, and hostile ones.
#include <doctest/doctest.h>

#include <ctime>
#include <string>
#include <vector>

#include "gpu_runtime/json.h"
#include "gpu_runtime/tokenizer.h"
#include "gpu_runtime/tokenizer_merges.h"
#include "tests/gpu_runtime/support.h"

using namespace gpumcp::gpu_runtime;

namespace {

using Ids = std::vector<std::int32_t>;

Json small_bpe() {
  Json vocab = {{"a", 0}, {"b", 1}, {"c", 2}, {"ab", 3}, {"abc", 4}, {"bc", 5}, {"<unk>", 6}};
  return {{"model",
           {{"type", "BPE"},
            {"unk_token", "<unk>"},
            {"vocab", vocab},
            {"merges", {"b c", "a b", "a bc"}}}}};
}

Tokenizer load(const Json& json) { return Tokenizer::from_json(json.dump()); }
Ids ids(const Json& json, std::string_view text) { return load(json).encode(text).ids; }

// Every byte is a token, and "Ġa" and "é" are.
Json byte_level() {
  Json vocab = Json::object();
  int id = 0;
  const auto add = [&](std::uint32_t c) {
    std::string token;
    if (c < 0x80) {
      token += static_cast<char>(c);
    } else {
      token += static_cast<char>(0xc0 | c >> 6);
      token += static_cast<char>(0x80 | (c & 0x3f));
    }
    vocab[token] = id++;
  };
  for (std::uint32_t c = 0x21; c <= 0x7e; ++c) add(c);
  for (std::uint32_t c = 0xa1; c <= 0xff; ++c) {
    if (c != 0xad) add(c);
  }
  for (std::uint32_t c = 0x100; c <= 0x143; ++c) add(c);
  vocab["Ġa"] = 256;
  vocab["Ã©"] = 257;
  return {
      {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}}},
      {"decoder", {{"type", "ByteLevel"}}},
      {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", {Json::array({"Ġ", "a"}), "Ã ©"}}}}};
}

}  // namespace

TEST_CASE("neighbours are merged in the order of the merges, of equals the leftmost first") {
  CHECK(ids(small_bpe(), "abc") == Ids{4});  // "b c" first, then "a bc"
  CHECK(ids(small_bpe(), "ababc") == Ids{3, 4});
  CHECK(ids(small_bpe(), "axxc") == Ids{0, 6, 6, 2});
  Json fused = small_bpe();
  fused["model"]["fuse_unk"] = true;
  CHECK(ids(fused, "axxc") == Ids{0, 6, 2});
  std::string longer;
  for (int i = 0; i < 50'000; ++i) longer += "abc";
  CHECK(ids(small_bpe(), longer) == Ids(50'000, 4));  // not quadratic, and as the short ones
  fused["model"]["ignore_merges"] = true;
  fused["model"]["merges"] = Json::array();
  CHECK(ids(fused, "abc") == Ids{4});
  CHECK(ids(fused, "abca") == Ids{0, 1, 2, 0});
}

TEST_CASE("where a text may be cut before a mark, it gives the ids of the whole") {
  // "a>▁b": the mark is merged with the ">" before it, and with nothing else.
  Json vocab = {{"a", 0}, {"b", 1}, {">", 2}, {"▁", 3}, {">▁", 4}, {"▁b", 5}, {"▁a", 6}};
  Json json = {{"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", {"> ▁", "▁ b", "▁ a"}}}}};
  CHECK(ids(json, "a>▁b") == Ids{0, 4, 1});
  CHECK(ids(json, "a▁b▁a") == Ids{0, 5, 6});
  CHECK(ids(json, "▁b") == Ids{5});
  // A byte's token merged with the mark: here no cut is safe.
  json["model"]["byte_fallback"] = true;
  json["model"]["vocab"]["<0x78>"] = 7;
  json["model"]["vocab"]["<0x78>▁"] = 8;
  json["model"]["merges"].insert(json["model"]["merges"].begin(), "<0x78> ▁");
  CHECK(ids(json, "x▁b") == Ids{8, 1});
}

TEST_CASE("byte-level pieces go through bytes and come back as text") {
  const Tokenizer tokenizer = load(byte_level());
  const std::string text = "é a\xf0\x9f\x98\x80\n";
  const Encoding encoding = tokenizer.encode(text, {.return_offsets = true});
  REQUIRE(encoding.ids.size() == 7);
  CHECK(encoding.ids[0] == 257);
  CHECK(encoding.ids[1] == 256);
  CHECK(encoding.offsets[2] == std::pair<std::uint32_t, std::uint32_t>{3, 4});
  CHECK(tokenizer.decode(encoding.ids) == text);
  CHECK(tokenizer.decode(Ids{encoding.ids[2]}) == "\xef\xbf\xbd");
  CHECK(tokenizer.encode(text).ids == encoding.ids);  // by way of the cache
  CHECK(tokenizer.encode(text).ids == encoding.ids);
}

TEST_CASE("a streamed text never shows part of a character, and adds up to the whole") {
  const Tokenizer tokenizer = load(byte_level());
  const std::string text = "a \xf0\x9f\x98\x80 é \xe4\xb8\xad.";
  StreamDecoder stream(tokenizer);
  std::string shown;
  for (const std::int32_t id : tokenizer.encode(text).ids) {
    const std::string part = stream.push(id);
    CHECK(part.find("\xef\xbf\xbd") == part.npos);
    shown += part;
  }
  CHECK(shown + stream.finish() == text);
  const Ids face = tokenizer.encode("\xf0\x9f\x9a\x80 ").ids;  // three of its bytes, and a space
  REQUIRE(face.size() == 5);
  CHECK(tokenizer.decode(Ids{face[0], face[1], face[2], face[4]}) == "\xef\xbf\xbd ");
  stream.push(tokenizer.encode("\xe4\xb8\xad").ids[0]);
  CHECK(stream.finish() == "\xef\xbf\xbd");
}

TEST_CASE("a streamed U+FFFD is not taken for part of the character behind it") {
  const Tokenizer tokenizer = load(byte_level());
  std::string text;
  for (int n = 1; n < 60; n += 7) {  // short runs, and ones that are not waited for to the end
    for (int i = 0; i < n; ++i) text += "\xef\xbf\xbd";
    text += "\xf0\x9f\x98\x80 ";
  }
  StreamDecoder stream(tokenizer);
  std::string shown;
  for (const std::int32_t id : tokenizer.encode(text).ids) shown += stream.push(id);
  CHECK(shown + stream.finish() == text);
}

TEST_CASE("offsets follow the text where a normal form puts marks into another order") {
  Json json = small_bpe();
  json["normalizer"] = {{"type", "NFD"}};
  json["model"]["fuse_unk"] = true;
  // U+0301 (class 230) stands before U+0323 (class 220), and comes behind it.
  const Encoding encoding = load(json).encode("a\xcc\x81\xcc\xa3", {.return_offsets = true});
  CHECK(encoding.offsets == std::vector<std::pair<std::uint32_t, std::uint32_t>>{{0, 1}, {1, 3}});
}

TEST_CASE("offsets stay inside the text where a normalizer puts text for nothing") {
  Json json = small_bpe();
  const auto put = [](const char* regex) {
    return Json{{"type", "Replace"}, {"pattern", {{"Regex", regex}}}, {"content", "a"}};
  };
  using Offsets = std::vector<std::pair<std::uint32_t, std::uint32_t>>;
  const auto offsets = [&](Json normalizers, std::string_view text) {
    json["normalizer"] = {{"type", "Sequence"}, {"normalizers", std::move(normalizers)}};
    return load(json).encode(text, {.return_offsets = true}).offsets;
  };
  CHECK(offsets({put("$")}, "cc") == Offsets{{0, 1}, {1, 2}, {1, 2}});
  CHECK(offsets({put("^")}, "cc") == Offsets{{0, 0}, {0, 1}, {1, 2}});
  // The second one looked up the character behind the last of what the first had made.
  CHECK(offsets({put("$"), put("$")}, "c") == Offsets{{0, 1}, {0, 1}, {0, 1}});
  CHECK(offsets({put("^"), put("^")}, "c") == Offsets{{0, 0}, {0, 0}, {0, 1}});
  CHECK(offsets({{{"type", "Strip"}}, put("$")}, " ").empty());
}

TEST_CASE("merges that were chosen to collide are found as soon as others") {
  // Pairs that a multiplication by a constant, which anybody can read in the source, puts into 64
  // places of a table of 2^18: each one would be found behind all that came before it.
  constexpr std::size_t kMerges = 1 << 16;
  std::vector<std::pair<std::int32_t, std::int32_t>> pairs;
  for (std::uint64_t right = 0; pairs.size() < kMerges; ++right) {
    for (std::uint64_t left = 0; left < 4096; ++left) {
      if (((left << 32 | right) * 0x9e3779b97f4a7c15u >> 24) % (2 * kMerges) >= 64) continue;
      for (std::int32_t i = 0; i < 1023; ++i)
        pairs.emplace_back(static_cast<std::int32_t>(left) + 4096 * i,
                           static_cast<std::int32_t>(right));
    }
  }
  const auto began = std::clock();
  Merges merges(kMerges);
  for (std::size_t i = 0; i < kMerges; ++i)
    merges.add(pairs[i].first, pairs[i].second, {static_cast<std::uint32_t>(i), 1});
  for (std::size_t i = 0; i < kMerges; ++i)
    REQUIRE(merges.find(pairs[i].first, pairs[i].second).rank == i);
  CHECK(std::clock() - began < 2 * CLOCKS_PER_SEC);
}

TEST_CASE("cleaning a long WordPiece token up takes time in its length alone") {
  std::string token;
  for (int i = 0; i < 1 << 18; ++i) token += " .";
  const Json json = {
      {"model",
       {{"type", "WordPiece"}, {"unk_token", "[UNK]"}, {"vocab", {{"[UNK]", 0}, {token, 1}}}}},
      {"decoder", {{"type", "WordPiece"}}}};
  CHECK(load(json).decode(Ids{1}) == std::string(1 << 18, '.'));  // quadratic, it took minutes
}

TEST_CASE("a long token, many times, is not decoded to gigabytes") {
  Json json = small_bpe();
  json["model"]["vocab"][std::string(1 << 20, 'x')] = 7;
  const Tokenizer tokenizer = load(json);
  CHECK(tokenizer.decode(Ids{7, 0}).size() == (1 << 20) + 2);  // joined by a space
  CHECK(contains(message_of(ErrorCode::invalid_argument, [&] { tokenizer.decode(Ids(300, 7)); }),
                 "decode to more than"));
}

TEST_CASE("an added token that the normalizer makes too long is refused with the file") {
  Json json = small_bpe();
  json["normalizer"] = {
      {"type", "Replace"}, {"pattern", {{"String", "a"}}}, {"content", std::string(1 << 20, 'a')}};
  json["added_tokens"] = {{{"id", 9}, {"content", std::string(40, 'a')}, {"normalized", true}}};
  CHECK(contains(message_of(ErrorCode::corrupt_checkpoint, [&] { load(json); }), "added_tokens"));
}

TEST_CASE("bytes stand in for characters that the vocabulary lacks") {
  Json json = small_bpe();
  json["model"]["byte_fallback"] = true;
  json["model"]["vocab"]["<0xC3>"] = 7;
  json["model"]["vocab"]["<0xA9>"] = 8;
  json["decoder"] = {{"type", "Sequence"},
                     {"decoders", {{{"type", "ByteFallback"}}, {{"type", "Fuse"}}}}};
  CHECK(ids(json, "aéb") == Ids{0, 7, 8, 1});
  CHECK(ids(json, "aèb") == Ids{0, 6, 1});  // its second byte has no token
  CHECK(load(json).decode(Ids{0, 7, 8, 1}) == "aéb");
  CHECK(load(json).decode(Ids{0, 7, 1}) ==
        "a\xef\xbf\xbd"
        "b");
}

TEST_CASE("Unigram takes the cut with the greatest sum of scores") {
  Json json = {
      {"model",
       {{"type", "Unigram"},
        {"unk_id", 0},
        {"vocab", Json::parse(R"([["<unk>",0],["a",-1],["b",-1],["ab",-1.5],["aba",-4]])")}}}};
  CHECK(ids(json, "aba") == Ids{3, 1});
  CHECK(ids(json, "axxb") == Ids{1, 0, 2});
  json["model"]["vocab"][4][1] = -2.0;
  CHECK(ids(json, "aba") == Ids{4});
}

TEST_CASE("a hostile BPE or Unigram file is refused with the key and the value") {
  struct Case {
    const char* name;
    void (*bend)(Json&);
    ErrorCode code;
    const char* says;
  };
  const auto corrupt = ErrorCode::corrupt_checkpoint, unsupported = ErrorCode::unsupported;
  for (const Case& c : {
           Case{"merge of nothing", [](Json& j) { j["model"]["merges"].push_back("x y"); }, corrupt,
                "merges[3]: the string \"x\" is not in the vocabulary"},
           Case{"product missing", [](Json& j) { j["model"]["merges"].push_back("c c"); }, corrupt,
                "\"cc\" is not in the vocabulary"},
           Case{"merge of three", [](Json& j) { j["model"]["merges"].push_back("a b c"); }, corrupt,
                "must be two tokens"},
           Case{"merge of numbers", [](Json& j) { j["model"]["merges"].push_back({1, 2}); },
                corrupt, "must be two tokens"},
           Case{"merges an object", [](Json& j) { j["model"]["merges"] = Json::object(); }, corrupt,
                "must be an array"},
           Case{"no merges", [](Json& j) { j["model"].erase("merges"); }, corrupt,
                "\"merges\" is missing"},
           Case{"dropout", [](Json& j) { j["model"]["dropout"] = 0.1; }, unsupported,
                "dropout 0.1"},
           Case{"unknown token", [](Json& j) { j["model"]["unk_token"] = "?"; }, corrupt,
                "unk_token"},
           Case{"huge id", [](Json& j) { j["model"]["vocab"]["a"] = 4'000'000'000u; }, corrupt,
                "an id must be"},
           Case{"broken expression",
                [](Json& j) {
                  j["pre_tokenizer"] = {{"type", "Split"}, {"pattern", {{"Regex", "(a"}}}};
                },
                corrupt, "cannot be read"},
           Case{"huge expression",
                [](Json& j) {
                  j["pre_tokenizer"] = {{"type", "Split"},
                                        {"pattern", {{"Regex", std::string(30'000, 'a')}}}};
                },
                corrupt, "more than the limit"},
           Case{"unknown behavior",
                [](Json& j) {
                  j["pre_tokenizer"] = {
                      {"type", "Split"}, {"pattern", {{"String", "a"}}}, {"behavior", "Odd"}};
                },
                corrupt, "behavior"},
           Case{"parts by the thousand",
                [](Json& j) {
                  j["normalizer"] = {{"type", "Sequence"},
                                     {"normalizers", Json(Json::array_t(1000, {{"type", "NFC"}}))}};
                },
                corrupt, "at most 64"},
           Case{"score is a string",
                [](Json& j) {
                  j["model"] = {{"type", "Unigram"}, {"vocab", Json::parse(R"([["a","b"]])")}};
                },
                corrupt, "must be [token, score]"},
           Case{"unk_id beyond",
                [](Json& j) {
                  j["model"] = {
                      {"type", "Unigram"}, {"unk_id", 9}, {"vocab", Json::parse(R"([["a",0]])")}};
                },
                corrupt, "unk_id"},
       }) {
    CAPTURE(std::string(c.name));
    Json json = small_bpe();
    c.bend(json);
    CHECK(contains(message_of(c.code, [&] { load(json); }), c.says));
  }
}

TEST_CASE("an expression that never ends its search is given up") {
  Json json = small_bpe();
  json["pre_tokenizer"] = {
      {"type", "Split"}, {"pattern", {{"Regex", "(a+)+[xyz]"}}}, {"behavior", "Isolated"}};
  const Tokenizer tokenizer = load(json);
  CHECK(contains(
      message_of(ErrorCode::invalid_argument, [&] { tokenizer.encode(std::string(5000, 'a')); }),
      "gives up on a text of 5000 bytes"));
}

TEST_CASE("a file whose replacements grow without end is given up, not memory") {
  Json doubling = {{"type", "Replace"}, {"pattern", {{"String", "a"}}}, {"content", "aa"}};
  Json json = small_bpe();
  json["normalizer"] = {{"type", "Sequence"}, {"normalizers", Json(Json::array_t(60, doubling))}};
  CHECK(contains(message_of(ErrorCode::invalid_argument, [&] { load(json).encode("a"); }),
                 "more than the limit"));
  json = small_bpe();
  json["decoder"] = {{"type", "Sequence"}, {"decoders", Json(Json::array_t(60, doubling))}};
  CHECK(contains(message_of(ErrorCode::invalid_argument, [&] { load(json).decode(Ids{0}); }),
                 "decoder makes a token"));
  // An empty pattern matches everywhere and ends all the same.
  json = small_bpe();
  json["normalizer"] = {{"type", "Replace"}, {"pattern", {{"String", ""}}}, {"content", "b"}};
  CHECK(load(json).encode("a").ids.size() <= 3);
  // Behind another part, where offsets lead through both: what stands at the end came from nowhere.
  Json at_end = {{"type", "Replace"}, {"pattern", {{"Regex", "$"}}}, {"content", "b"}};
  json["normalizer"] = {{"type", "Sequence"}, {"normalizers", {{{"type", "NFC"}}, at_end}}};
  const Encoding tracked = load(json).encode("a", {.return_offsets = true});
  CHECK(tracked.ids == Ids{3});
  CHECK(tracked.offsets.front().second <= 1);
  json["normalizer"]["normalizers"][0] = {{"type", "Strip"}};
  CHECK(load(json).encode(" ", {.return_offsets = true}).offsets.size() <= 1);
}

TEST_CASE("parts within parts end at the depth limit, and a huge file at the size limit") {
  Json nested = {{"type", "NFC"}};
  for (int i = 0; i < 20; ++i)
    nested = {{"type", "Sequence"}, {"normalizers", Json::array({nested})}};
  Json json = small_bpe();
  json["normalizer"] = nested;
  CHECK(contains(message_of(ErrorCode::corrupt_checkpoint, [&] { load(json); }), "tokenizer.json"));

  const TemporaryFolder folder;
  folder.write("tokenizer.json", "{}");
  std::filesystem::resize_file(folder.path() / "tokenizer.json", std::uint64_t{3} << 30);
  message_of(ErrorCode::corrupt_checkpoint, [&] { Tokenizer::from_pretrained(folder.path()); });
}

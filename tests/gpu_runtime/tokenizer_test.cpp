#include "gpu_runtime/tokenizer.h"

#include <doctest/doctest.h>

#include <string>
#include <string_view>
#include <vector>

#include "tests/gpu_runtime/support.h"
#include "tests/gpu_runtime/tiny_tokenizer.h"

using namespace gpumcp::gpu_runtime;

namespace {

using Ids = std::vector<std::int32_t>;

// A tokenizer.json like tiny_json(), with one added token more.
Json with_added(const char* content, Json flags) {
  Json json = tiny_json();
  Json token = {{"id", 20}, {"content", content}, {"special", false}, {"normalized", false}};
  if (!flags.is_null()) token.update(flags);
  json["added_tokens"].push_back(token);
  return json;
}

Ids plain(const Json& json, std::string_view text) {
  return tiny(json).encode(text, {.add_special_tokens = false}).ids;
}

}  // namespace

TEST_CASE("the file's own truncation and padding are not applied") {
  const Encoding encoding = tiny().encode("hello world hello world hello");
  CHECK(encoding.ids == Ids{2, 5, 6, 5, 6, 5, 3});
  CHECK_FALSE(encoding.truncated);
}

TEST_CASE("a pair gets both separators and its type ids") {
  const Encoding encoding = tiny().encode("hello", "world world");
  CHECK(encoding.ids == Ids{2, 5, 3, 6, 6, 3});
  CHECK(encoding.type_ids == Ids{0, 0, 0, 1, 1, 1});
  CHECK(encoding.special_tokens_mask == std::vector<std::uint8_t>{1, 0, 1, 0, 0, 1});
  CHECK(tiny().n_special_tokens(false) == 2);
  CHECK(tiny().n_special_tokens(true) == 3);
}

TEST_CASE("TemplateProcessing puts tokens where it says") {
  Json json = tiny_json();
  const Json a = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}},
             b = {{"Sequence", {{"id", "B"}, {"type_id", 7}}}};
  const Json mask = {{"SpecialToken", {{"id", "two"}, {"type_id", 5}}}};
  json["post_processor"] = {
      {"type", "TemplateProcessing"},
      {"single", {mask, a}},
      {"pair", {b, mask, a}},
      {"special_tokens", {{"two", {{"id", "two"}, {"ids", {4, 3}}, {"tokens", {"x", "y"}}}}}}};
  CHECK(tiny(json).encode("hello").ids == Ids{4, 3, 5});
  CHECK(tiny(json).encode("hello").type_ids == Ids{5, 5, 0});
  CHECK(tiny(json).encode("hello", "world").ids == Ids{6, 4, 3, 5});
  CHECK(tiny(json).encode("hello", "world").type_ids == Ids{7, 5, 5, 0});
  json["post_processor"] = nullptr;
  CHECK(tiny(json).encode("hello", "world").ids == Ids{5, 6});
  CHECK(tiny(json).encode("hello", "world").type_ids == Ids{0, 1});
}

TEST_CASE("truncation leaves room for the special tokens and says what was there") {
  const Tokenizer tokenizer = tiny();
  const Encoding cut = tokenizer.encode("hello world hello world", {.max_length = 4});
  CHECK(cut.ids == Ids{2, 5, 6, 3});
  CHECK(cut.truncated);
  CHECK(cut.n_tokens_before_truncation == 6);
  CHECK(
      tokenizer.encode("hello world hello", {.max_length = 4, .truncation_side = Side::left}).ids ==
      Ids{2, 6, 5, 3});
  CHECK(tokenizer.encode("hello", {.max_length = 2}).ids == Ids{2, 3});
  CHECK_FALSE(tokenizer.encode("hello world", {.max_length = 4}).truncated);
  CHECK(contains(message_of(ErrorCode::invalid_argument,
                            [&] { tokenizer.encode("hello", {.max_length = 1}); }),
                 "max_length 1 cannot hold the 2 special tokens"));
}

TEST_CASE("each strategy takes from the text that it names") {
  const Tokenizer tokenizer = tiny();
  const auto ids = [&](std::size_t max, TruncationStrategy strategy) {
    return tokenizer
        .encode("hello hello hello hello", "world world", {.max_length = max, .strategy = strategy})
        .ids;
  };
  CHECK(ids(7, TruncationStrategy::longest_first) == Ids{2, 5, 5, 3, 6, 6, 3});
  CHECK(ids(6, TruncationStrategy::longest_first) == Ids{2, 5, 5, 3, 6, 3});
  CHECK(ids(7, TruncationStrategy::only_first) == Ids{2, 5, 5, 3, 6, 6, 3});
  CHECK(ids(8, TruncationStrategy::only_second) == Ids{2, 5, 5, 5, 5, 3, 6, 3});
  message_of(ErrorCode::invalid_argument, [&] { ids(6, TruncationStrategy::only_second); });
  message_of(ErrorCode::invalid_argument, [&] {
    tokenizer.encode("hello hello", {.max_length = 3, .strategy = TruncationStrategy::only_second});
  });
}

TEST_CASE("added tokens obey their flags") {
  CHECK(plain(with_added("<x>", {}), "a<x>hello") == Ids{1, 20, 5});
  CHECK(plain(with_added("lo", {{"single_word", true}}), "hello lo") == Ids{5, 20});
  CHECK(plain(with_added("lo", {{"single_word", false}}), "hello") == Ids{1, 20});
  CHECK(plain(with_added("HELLO", {{"normalized", false}}), "hello HELLO") == Ids{5, 20});
  CHECK(plain(with_added("Wörld", {{"normalized", true}}), "WORLD wörld") == Ids{20, 20});
  CHECK(plain(with_added("hello world", {}), "hello worlds hello") == Ids{20, 1, 5});

  const auto offsets = [](Json flags) {
    return tiny(with_added("<x>", flags))
        .encode("hello  <x>  hello", {.add_special_tokens = false, .return_offsets = true})
        .offsets[1];
  };
  using Range = std::pair<std::uint32_t, std::uint32_t>;
  CHECK(offsets({}) == Range{7, 10});
  CHECK(offsets({{"lstrip", true}}) == Range{5, 10});
  CHECK(offsets({{"rstrip", true}}) == Range{7, 12});
}

TEST_CASE("invalid UTF-8 is refused with the byte's place") {
  const std::string message =
      message_of(ErrorCode::invalid_argument, [] { tiny().encode("hello\xff"); });
  CHECK(contains(message, "byte 5"));
  CHECK(contains(message, "0xff"));
  message_of(ErrorCode::invalid_argument, [] { tiny().encode("hello", "\xed\xa0\x80"); });
}

TEST_CASE("decode joins pieces, tidies English and skips special tokens") {
  const Tokenizer tokenizer = tiny();
  const Ids ids = tokenizer.encode("Hello, unaffable world!").ids;
  CHECK(tokenizer.decode(ids) == "hello, unaffable world!");
  CHECK(tokenizer.decode(ids, false) == "[CLS] hello, unaffable world! [SEP]");
  CHECK(tokenizer.decode(Ids{-1, 5, 999999, 6}) == "hello world");
  CHECK(tokenizer.decode(Ids{}).empty());
  Json json = tiny_json();
  json["decoder"] = nullptr;
  CHECK(tiny(json).decode(Ids{7, 8}) == "un ##aff");
}

TEST_CASE("tokens and ids map both ways, added tokens included") {
  const Tokenizer tokenizer = tiny(with_added("<x>", {}));
  CHECK(tokenizer.token_to_id("hello") == 5);
  CHECK(tokenizer.token_to_id("<x>") == 20);
  CHECK_FALSE(tokenizer.token_to_id("nothing").has_value());
  CHECK(tokenizer.id_to_token(20) == "<x>");
  CHECK_FALSE(tokenizer.id_to_token(19).has_value());
  CHECK_FALSE(tokenizer.id_to_token(-5).has_value());
  CHECK(tokenizer.vocab_size() == 16);
  CHECK(tokenizer.cls_token_id() == 2);
  CHECK(tokenizer.pad_token_id() == 0);
  CHECK(tokenizer.unk_token_id() == 1);
  CHECK_FALSE(tokenizer.eos_token_id().has_value());
  CHECK(tokenizer.tokens(tokenizer.encode("unaffable")) ==
        std::vector<std::string>{"[CLS]", "un", "##aff", "##able", "[SEP]"});
}

TEST_CASE("a batch on several threads equals one text at a time, and one bad text fails it") {
  const Tokenizer tokenizer = tiny();
  std::vector<std::string> texts;
  for (int i = 0; i < 300; ++i)
    texts.push_back(std::string(static_cast<std::size_t>(i % 7), ',') + " hello unaffable");
  for (const std::size_t threads : {std::size_t{1}, std::size_t{4}, std::size_t{0}}) {
    const auto encodings = tokenizer.encode_batch(std::span<const std::string>(texts), {}, threads);
    REQUIRE(encodings.size() == texts.size());
    for (std::size_t i = 0; i < texts.size(); ++i)
      CHECK(encodings[i].ids == tokenizer.encode(texts[i]).ids);
  }
  texts[200].assign(1, '\xff');
  message_of(ErrorCode::invalid_argument,
             [&] { tokenizer.encode_batch(std::span<const std::string>(texts), {}, 4); });
  CHECK(tokenizer.encode_batch(std::span<const std::string_view>()).empty());
}

TEST_CASE("padding fills rows to one length, on either side") {
  const Tokenizer tokenizer = tiny();
  const std::vector<Encoding> rows{tokenizer.encode("hello"), tokenizer.encode("hello", "world")};
  using Row = std::vector<std::int64_t>;
  const PaddedBatch right = tokenizer.pad(rows);
  CHECK(right.rows == 2);
  CHECK(right.columns == 5);
  CHECK(right.ids == Row{2, 5, 3, 0, 0, 2, 5, 3, 6, 3});
  CHECK(right.attention_mask == Row{1, 1, 1, 0, 0, 1, 1, 1, 1, 1});
  CHECK(right.type_ids == Row{0, 0, 0, 0, 0, 0, 0, 0, 1, 1});
  const PaddedBatch left = tokenizer.pad(rows, {.multiple_of = 4, .side = Side::left});
  CHECK(left.columns == 8);
  CHECK(left.ids == Row{0, 0, 0, 0, 0, 2, 5, 3, 0, 0, 0, 2, 5, 3, 6, 3});
  CHECK(tokenizer.pad({}).ids.empty());
}

TEST_CASE("a broken tokenizer.json is refused, and an unknown part is named") {
  struct Case {
    const char* name;
    void (*bend)(Json&);
    ErrorCode code;
    const char* says;
  };
  const auto corrupt = ErrorCode::corrupt_checkpoint, unsupported = ErrorCode::unsupported;
  for (const Case& c : {
           Case{"unknown model", [](Json& j) { j["model"]["type"] = "Bag"; }, unsupported,
                "model: type the string \"Bag\""},
           Case{"unknown normalizer", [](Json& j) { j["normalizer"] = {{"type", "Odd"}}; },
                unsupported, "normalizer: type the string \"Odd\""},
           Case{"unknown pre-tokenizer", [](Json& j) { j["pre_tokenizer"] = {{"type", "Odd"}}; },
                unsupported, "pre_tokenizer: type"},
           Case{"unknown post-processor", [](Json& j) { j["post_processor"] = {{"type", "Odd"}}; },
                unsupported, "post_processor: type"},
           Case{"unknown decoder", [](Json& j) { j["decoder"] = {{"type", "Odd"}}; }, unsupported,
                "decoder: type"},
           Case{"no model", [](Json& j) { j.erase("model"); }, corrupt, "with a \"model\""},
           Case{"model is a list", [](Json& j) { j["model"] = Json::array(); }, corrupt,
                "must be an object"},
           Case{"no vocabulary", [](Json& j) { j["model"].erase("vocab"); }, corrupt,
                "\"vocab\" is missing"},
           Case{"empty vocabulary", [](Json& j) { j["model"]["vocab"] = Json::object(); }, corrupt,
                "empty"},
           Case{"vocabulary of strings", [](Json& j) { j["model"]["vocab"]["hello"] = "5"; },
                corrupt, "an id must be"},
           Case{"negative id", [](Json& j) { j["model"]["vocab"]["hello"] = -1; }, corrupt,
                "an id must be"},
           Case{"huge id", [](Json& j) { j["model"]["vocab"]["hello"] = 2147483647; }, corrupt,
                "an id must be"},
           Case{"id beyond 64 bits",
                [](Json& j) { j["model"]["vocab"]["hello"] = 18446744073709551615u; }, corrupt,
                "an id must be"},
           Case{"unknown token missing", [](Json& j) { j["model"]["unk_token"] = "<what>"; },
                corrupt, "not in the vocabulary"},
           Case{"word limit of zero", [](Json& j) { j["model"]["max_input_chars_per_word"] = 0; },
                corrupt, "max_input_chars_per_word"},
           Case{"flag is a number", [](Json& j) { j["normalizer"]["lowercase"] = 1; }, corrupt,
                "true or false"},
           Case{"added tokens are an object", [](Json& j) { j["added_tokens"] = Json::object(); },
                corrupt, "must be an array"},
           Case{"added token without id", [](Json& j) { j["added_tokens"][0].erase("id"); },
                corrupt, "\"id\" is missing"},
           Case{"added token at odds", [](Json& j) { j["added_tokens"][0]["id"] = 9; }, corrupt,
                "contradicts"},
           Case{"added token twice",
                [](Json& j) { j["added_tokens"].push_back(j["added_tokens"][0]); }, corrupt,
                "contradicts"},
           Case{"separator of three", [](Json& j) { j["post_processor"]["sep"] = {"[SEP]", 3, 4}; },
                corrupt, "a token and its id"},
           Case{"template without A",
                [](Json& j) {
                  j["post_processor"] = {{"type", "TemplateProcessing"},
                                         {"single", Json::array()},
                                         {"pair", Json::array()}};
                },
                corrupt, "single must use A once"},
           Case{"template with an unknown token",
                [](Json& j) {
                  j["post_processor"] = {
                      {"type", "TemplateProcessing"},
                      {"single", {{{"SpecialToken", {{"id", "x"}, {"type_id", 0}}}}}},
                      {"pair", Json::array()}};
                },
                corrupt, "\"x\" is missing"},
       }) {
    CAPTURE(std::string(c.name));
    Json json = tiny_json();
    c.bend(json);
    const std::string message = message_of(c.code, [&] { tiny(json); });
    CHECK(contains(message, "tokenizer.json"));
    CHECK(contains(message, c.says));
  }
  message_of(corrupt, [] { Tokenizer::from_json("{"); });
  message_of(corrupt, [] { Tokenizer::from_json("[]"); });
  message_of(corrupt, [] { Tokenizer::from_json(std::string(100, '[')); });
}

TEST_CASE("a folder without a tokenizer says so") {
  const TemporaryFolder folder;
  CHECK(
      contains(message_of(ErrorCode::not_found, [&] { Tokenizer::from_pretrained(folder.path()); }),
               "neither tokenizer.json nor vocab.txt"));
  folder.write("vocab.txt", "hello\nworld\n");
  CHECK(contains(
      message_of(ErrorCode::corrupt_checkpoint, [&] { Tokenizer::from_pretrained(folder.path()); }),
      "[CLS]"));
  folder.write("tokenizer_config.json", R"({"tokenizer_class":"GPT2Tokenizer"})");
  CHECK(contains(
      message_of(ErrorCode::unsupported, [&] { Tokenizer::from_pretrained(folder.path()); }),
      "GPT2Tokenizer"));
}

TEST_CASE("tokenizer_config.json gives the roles and the length") {
  const TemporaryFolder folder;
  folder.write("tokenizer.json", tiny_json().dump());
  folder.write("tokenizer_config.json",
               R"({"model_max_length":1e30,"bos_token":{"content":"hello"},"eos_token":"world"})");
  const Tokenizer tokenizer = Tokenizer::from_pretrained(folder.path());
  CHECK_FALSE(tokenizer.model_max_length().has_value());
  CHECK(tokenizer.bos_token_id() == 5);
  CHECK(tokenizer.eos_token_id() == 6);
}

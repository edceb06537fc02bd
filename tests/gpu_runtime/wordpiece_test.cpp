// WordPiece end to end, on a vocabulary of 15 tokens and on the real MiniLM's.
#include <doctest/doctest.h>

#include <string>
#include <utility>
#include <vector>

#include "gpu_runtime/tokenizer.h"
#include "tests/gpu_runtime/minilm.h"
#include "tests/gpu_runtime/support.h"
#include "tests/gpu_runtime/tiny_tokenizer.h"

using namespace gpumcp::gpu_runtime;

namespace {

using Ids = std::vector<std::int32_t>;
using Offsets = std::vector<std::pair<std::uint32_t, std::uint32_t>>;

Ids plain(const Tokenizer& tokenizer, std::string_view text) {
  return tokenizer.encode(text, {.add_special_tokens = false}).ids;
}

}  // namespace

TEST_CASE("ids equal Hugging Face's on every golden line, untruncated and cut at 256") {
  const Tokenizer tokenizer = Tokenizer::from_pretrained(minilm_folder());
  const auto texts = golden_lines("minilm/texts.jsonl");
  const auto golden = golden_lines("minilm/tokens.jsonl");
  REQUIRE(texts.size() == 347);
  REQUIRE(golden.size() == texts.size());
  std::size_t n_cut = 0;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    CAPTURE(i);
    const std::string text = texts[i]["text"].get<std::string>();
    const Ids ids = golden[i]["ids"].get<Ids>();
    const Encoding whole = tokenizer.encode(text, {.return_offsets = true});
    CHECK(whole.ids == ids);
    CHECK_FALSE(whole.truncated);
    CHECK(whole.offsets.size() == ids.size());
    CHECK(whole.attention_mask == std::vector<std::uint8_t>(ids.size(), 1));
    const Encoding cut = tokenizer.encode(text, {.max_length = 256});
    CHECK(cut.ids == (golden[i]["ids256"].is_null() ? ids : golden[i]["ids256"].get<Ids>()));
    CHECK(cut.truncated == (ids.size() > 256));
    CHECK(cut.n_tokens_before_truncation == ids.size());
    n_cut += cut.truncated;
  }
  CHECK(n_cut > 0);
}

TEST_CASE("vocab.txt alone gives the same ids as tokenizer.json") {
  const auto folder = minilm_folder();
  const TemporaryFolder copy;
  copy.write("vocab.txt", read_text_file(folder / "vocab.txt"));
  copy.write("tokenizer_config.json", read_text_file(folder / "tokenizer_config.json"));
  const Tokenizer tokenizer = Tokenizer::from_pretrained(copy.path());
  const auto texts = golden_lines("minilm/texts.jsonl");
  const auto golden = golden_lines("minilm/tokens.jsonl");
  for (std::size_t i = 0; i < texts.size(); ++i) {
    CAPTURE(i);
    CHECK(tokenizer.encode(texts[i]["text"].get<std::string>()).ids == golden[i]["ids"].get<Ids>());
  }
  CHECK(tokenizer.vocab_size() == 30522);
  CHECK(tokenizer.cls_token_id() == 101);
  CHECK(tokenizer.model_max_length() == 512);
}

TEST_CASE("words split greedily into the longest pieces, or become one unknown token") {
  const Tokenizer tokenizer = tiny();
  CHECK(plain(tokenizer, "hello world") == Ids{5, 6});
  CHECK(plain(tokenizer, "unaffable") == Ids{7, 8, 9});
  CHECK(plain(tokenizer, "unaffablex") == Ids{1});
  CHECK(plain(tokenizer, "unaffableaff") == Ids{1});  // 12 characters: more than 10
  CHECK(plain(tokenizer, "hello,world!") == Ids{5, 10, 6, 11});
  CHECK(plain(tokenizer, "中中") == Ids{12, 12});
  CHECK(plain(tokenizer, "Cafés CAFE\u0301S") == Ids{13, 14, 13, 14});
  CHECK(plain(tokenizer, "").empty());
  CHECK(plain(tokenizer, std::string("he\0llo\u200b", 9)) == Ids{5});
}

TEST_CASE("the limit of characters a word counts characters, after normalisation") {
  Json json = tiny_json();
  json["model"]["vocab"]["é"] = 15;
  json["model"]["vocab"]["##é"] = 16;
  json["normalizer"]["strip_accents"] = false;
  std::string ten;
  for (int i = 0; i < 10; ++i) ten += "é";
  CHECK(plain(tiny(json), ten).size() == 10);
  CHECK(plain(tiny(json), ten + "é") == Ids{1});
}

TEST_CASE("offsets are characters of the original text") {
  const Tokenizer tokenizer = tiny();
  const auto offsets = [&](std::string_view text) {
    return tokenizer.encode(text, {.add_special_tokens = false, .return_offsets = true}).offsets;
  };
  CHECK(offsets("hello world") == Offsets{{0, 5}, {6, 11}});
  CHECK(offsets("  unaffable") == Offsets{{2, 4}, {4, 7}, {7, 11}});
  CHECK(offsets("Cafés中") == Offsets{{0, 4}, {4, 5}, {5, 6}});
  CHECK(offsets("cafe\u0301s") == Offsets{{0, 4}, {5, 6}});
  CHECK(offsets("😀[MASK]hello") == Offsets{{0, 1}, {1, 7}, {7, 12}});
  const Encoding pair = tokenizer.encode("hello", "world", {.return_offsets = true});
  CHECK(pair.offsets == Offsets{{0, 0}, {0, 5}, {0, 0}, {0, 5}, {0, 0}});
  CHECK(tokenizer.encode("hello").offsets.empty());
}

TEST_CASE("special tokens written in the text become their ids; other cases of them do not") {
  const Tokenizer tokenizer = tiny();
  CHECK(plain(tokenizer, "hello[MASK]world") == Ids{5, 4, 6});
  CHECK(plain(tokenizer, "[mask]") == Ids{1, 1, 1});
  const Encoding encoding = tokenizer.encode("[SEP]");
  CHECK(encoding.ids == Ids{2, 3, 3});
  CHECK(encoding.special_tokens_mask == std::vector<std::uint8_t>{1, 0, 1});
}

TEST_CASE("a hundred thousand alternations of ASCII and Chinese take linear time") {
  std::string text;
  for (int i = 0; i < 100'000; ++i) text += "a中";
  CHECK(plain(tiny(), text).size() == 200'000);
}

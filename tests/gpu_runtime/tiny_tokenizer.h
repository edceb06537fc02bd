#pragma once

// A WordPiece tokenizer small enough to count by hand, and its tokenizer.json to bend.
#include <string>

#include "gpu_runtime/json.h"
#include "gpu_runtime/tokenizer.h"

namespace gpumcp::gpu_runtime {

inline Json tiny_json() {
  Json vocab = Json::object();
  const char* tokens[] = {"[PAD]", "[UNK]",  "[CLS]", "[SEP]", "[MASK]", "hello", "world", "un",
                          "##aff", "##able", ",",     "!",     "中",     "cafe",  "##s"};
  for (int id = 0; const char* token : tokens) vocab[token] = id++;
  Json added = Json::array();
  for (int id = 0; id < 5; ++id) {
    added.push_back(
        {{"id", id}, {"content", tokens[id]}, {"special", true}, {"normalized", false}});
  }
  return {{"truncation", {{"max_length", 4}, {"strategy", "LongestFirst"}, {"stride", 0}}},
          {"padding", {{"strategy", {{"Fixed", 9}}}, {"pad_id", 0}}},
          {"added_tokens", added},
          {"normalizer",
           {{"type", "BertNormalizer"},
            {"clean_text", true},
            {"handle_chinese_chars", true},
            {"strip_accents", nullptr},
            {"lowercase", true}}},
          {"pre_tokenizer", {{"type", "BertPreTokenizer"}}},
          {"post_processor",
           {{"type", "BertProcessing"}, {"sep", {"[SEP]", 3}}, {"cls", {"[CLS]", 2}}}},
          {"decoder", {{"type", "WordPiece"}, {"prefix", "##"}, {"cleanup", true}}},
          {"model",
           {{"type", "WordPiece"},
            {"unk_token", "[UNK]"},
            {"continuing_subword_prefix", "##"},
            {"max_input_chars_per_word", 10},
            {"vocab", vocab}}}};
}

inline Tokenizer tiny(const Json& json = tiny_json()) { return Tokenizer::from_json(json.dump()); }

}  // namespace gpumcp::gpu_runtime

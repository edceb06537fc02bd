#pragma once

// A Hugging Face tokenizer: text to token ids and back, with the ids of the `tokenizers` package.
// Reads tokenizer.json (or vocab.txt of a BERT). The file's own truncation and padding are not
// applied: callers say what they want in EncodeOptions, as sentence-transformers does. Immutable
// after loading and thread-safe; copying copies a shared handle.
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gpu_runtime/export.h"

namespace gpumcp::gpu_runtime {

// One encoded text (or pair). All vectors have one length, but offsets, which is empty unless asked
// for.
struct Encoding {
  std::vector<std::int32_t> ids;
  std::vector<std::int32_t> type_ids;
  std::vector<std::uint8_t> attention_mask;
  std::vector<std::uint8_t> special_tokens_mask;
  // Begin and end of each token in the text it came from, in characters (code points); (0, 0) for
  // tokens that the template adds.
  std::vector<std::pair<std::uint32_t, std::uint32_t>> offsets;
  std::size_t n_tokens_before_truncation = 0;  // with special tokens
  bool truncated = false;

  std::size_t size() const { return ids.size(); }
};

enum class TruncationStrategy { longest_first, only_first, only_second };
enum class Side { left, right };

struct EncodeOptions {
  bool add_special_tokens = true;
  std::optional<std::size_t> max_length;  // special tokens included; absent: no truncation
  TruncationStrategy strategy = TruncationStrategy::longest_first;
  Side truncation_side = Side::right;
  bool return_offsets = false;
};

struct PadOptions {
  std::size_t length = 0;       // at least this many columns; 0: the longest row
  std::size_t multiple_of = 1;  // columns are rounded up to this
  Side side = Side::right;
};

// Rows of equal length, row-major, ready for a tensor.
struct PaddedBatch {
  std::size_t rows = 0, columns = 0;
  std::vector<std::int64_t> ids, type_ids, attention_mask;
};

class GPUMCP_RUNTIME_API Tokenizer {
 public:
  // Error(not_found) when the folder has no tokenizer, Error(unsupported) naming the part of
  // tokenizer.json that this build lacks, Error(corrupt_checkpoint) for a broken file.
  static Tokenizer from_pretrained(const std::filesystem::path& folder);
  // From a tokenizer.json's text alone; special tokens by role are then guessed from its added
  // tokens.
  static Tokenizer from_json(std::string_view tokenizer_json,
                             const std::string& origin = "tokenizer.json");

  // Error(invalid_argument) for invalid UTF-8 (names the byte) and for a max_length that cannot
  // hold the special tokens.
  Encoding encode(std::string_view text, const EncodeOptions& options = {}) const;
  Encoding encode(std::string_view text, std::string_view pair,
                  const EncodeOptions& options = {}) const;

  // Row by row, on up to `threads` threads (0: as many as the machine has), in order.
  std::vector<Encoding> encode_batch(std::span<const std::string_view> texts,
                                     const EncodeOptions& options = {},
                                     std::size_t threads = 1) const;
  std::vector<Encoding> encode_batch(std::span<const std::string> texts,
                                     const EncodeOptions& options = {},
                                     std::size_t threads = 1) const;

  PaddedBatch pad(std::span<const Encoding> rows, const PadOptions& options = {}) const;

  // Ids that name no token are left out, as `tokenizers` does.
  std::string decode(std::span<const std::int32_t> ids, bool skip_special_tokens = true) const;

  std::optional<std::int32_t> token_to_id(std::string_view token) const;
  std::optional<std::string> id_to_token(std::int32_t id) const;
  std::vector<std::string> tokens(const Encoding& encoding) const;
  bool is_special(std::int32_t id) const;  // left out by decode() unless told otherwise
  std::size_t vocab_size() const;          // added tokens included

  // The tokens of a role, where the model has one.
  std::optional<std::int32_t> cls_token_id() const;
  std::optional<std::int32_t> sep_token_id() const;
  std::optional<std::int32_t> pad_token_id() const;
  std::optional<std::int32_t> mask_token_id() const;
  std::optional<std::int32_t> unk_token_id() const;
  std::optional<std::int32_t> bos_token_id() const;
  std::optional<std::int32_t> eos_token_id() const;

  // tokenizer_config.json's model_max_length; absent when missing or "very large".
  std::optional<std::size_t> model_max_length() const;
  // How many special tokens an encoding gets: 2 for a BERT text, 3 for a pair.
  std::size_t n_special_tokens(bool pair = false) const;

  struct State;  // gpu_runtime/tokenizer_state.h
  explicit Tokenizer(std::shared_ptr<const State> state) : state_(std::move(state)) {}

 private:
  std::shared_ptr<const State> state_;
};

// Text as its tokens come, one by one: push() gives what has become certain, which is nothing while
// a character lacks bytes. Keeps a few tokens only. Owned by one thread.
class GPUMCP_RUNTIME_API StreamDecoder {
 public:
  explicit StreamDecoder(Tokenizer tokenizer, bool skip_special_tokens = true)
      : tokenizer_(std::move(tokenizer)), skip_special_tokens_(skip_special_tokens) {}

  std::string push(std::int32_t id);
  std::string finish();  // what is left, bytes that made no character as U+FFFD; then begins anew

 private:
  Tokenizer tokenizer_;
  bool skip_special_tokens_;
  std::vector<std::int32_t> ids_;  // the ones before n_shown_ are context: their text is shown_
  std::size_t n_shown_ = 0;
  std::string shown_;
};

}  // namespace gpumcp::gpu_runtime

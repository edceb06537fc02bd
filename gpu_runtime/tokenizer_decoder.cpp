#include "gpu_runtime/tokenizer_decoder.h"

#include <fmt/format.h>

#include <array>
#include <utility>

#include "gpu_runtime/tokenizer_bytes.h"
#include "gpu_runtime/tokenizer_parts.h"
#include "gpu_runtime/tokenizer_regex.h"
#include "gpu_runtime/unicode.h"

namespace gpumcp::gpu_runtime {
namespace {

constexpr std::size_t kMaxToken = std::size_t{1} << 20;  // bytes that a Replace may make of one

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  if (text.find(from) == text.npos) return;
  std::string out;
  std::size_t done = 0;
  for (std::size_t at = text.find(from); at != text.npos; at = text.find(from, done)) {
    out.append(text, done, at - done).append(to);
    done = at + from.size();
  }
  text = out.append(text, done);
}

class JoinDecoder final : public TokenDecoder {
 public:
  void decode(TokenStrings& tokens) const override {
    for (std::size_t i = 1; i < tokens.size(); ++i) tokens[i] = fmt::format(" {}", tokens[i]);
  }
};

// Joins "##" tokens to the one before and puts a space before the others. cleanup takes the space
// away again where English has none; it looks at one token at a time, as `tokenizers` does.
class WordPieceDecoder final : public TokenDecoder {
 public:
  WordPieceDecoder(std::string prefix, bool cleanup)
      : prefix_(std::move(prefix)), cleanup_(cleanup) {}

  void decode(TokenStrings& tokens) const override {
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      if (i > 0) {
        if (tokens[i].starts_with(prefix_)) {
          tokens[i].erase(0, prefix_.size());
        } else {
          tokens[i] = fmt::format(" {}", tokens[i]);
        }
      }
      if (cleanup_) clean(tokens[i]);
    }
  }

 private:
  static void clean(std::string& text) {
    static constexpr std::array<std::pair<std::string_view, std::string_view>, 11> kReplacements{{
        {" .", "."},
        {" ?", "?"},
        {" !", "!"},
        {" ,", ","},
        {" ' ", "'"},
        {" n't", "n't"},
        {" 'm", "'m"},
        {" do not", " don't"},
        {" 's", "'s"},
        {" 've", "'ve"},
        {" 're", "'re"},
    }};
    for (const auto& [from, to] : kReplacements) replace_all(text, from, to);
  }

  std::string prefix_;
  bool cleanup_;
};

std::string joined(const TokenStrings& tokens) {
  std::string text;
  for (const std::string& token : tokens) text += token;
  return text;
}

class ByteLevelDecoder final : public TokenDecoder {
 public:
  void decode(TokenStrings& tokens) const override {
    std::string bytes;
    for (const std::string& token : tokens) bytes += bytes_of_token(token).value_or(token);
    tokens.assign(1, utf8_lossy(bytes));
  }
};

// "<0xE2><0x98><0x83>" becomes the character, or as many U+FFFD as bytes when they make none.
class ByteFallbackDecoder final : public TokenDecoder {
 public:
  void decode(TokenStrings& tokens) const override {
    TokenStrings out;
    std::string bytes;
    const auto flush = [&] {
      if (bytes.empty()) return;
      if (find_invalid_utf8(bytes)) {
        for (std::size_t i = 0; i < bytes.size(); ++i) out.emplace_back("\xef\xbf\xbd");
      } else {
        out.push_back(bytes);
      }
      bytes.clear();
    };
    for (std::string& token : tokens) {
      if (const auto byte = byte_of_fallback(token)) {
        bytes += static_cast<char>(*byte);
        continue;
      }
      flush();
      out.push_back(std::move(token));
    }
    flush();
    tokens.swap(out);
  }
};

class FuseDecoder final : public TokenDecoder {
 public:
  void decode(TokenStrings& tokens) const override { tokens.assign(1, joined(tokens)); }
};

class ReplaceDecoder final : public TokenDecoder {
 public:
  ReplaceDecoder(Regex regex, std::string content)
      : regex_(std::move(regex)), content_(std::move(content)) {}
  void decode(TokenStrings& tokens) const override {
    std::vector<Piece> matches;
    for (std::string& token : tokens) {
      matches.clear();
      regex_.find_all(token, {0, static_cast<std::uint32_t>(token.size())}, matches);
      if (matches.empty()) continue;
      if (token.size() + matches.size() * content_.size() > kMaxToken) {
        throw Error(ErrorCode::invalid_argument,
                    fmt::format("the tokenizer's decoder makes a token of more than {} bytes: its "
                                "file is out of order, pull the model again",
                                kMaxToken));
      }
      std::string out;
      std::size_t done = 0;
      for (const Piece match : matches) {
        out.append(token, done, match.begin - done);
        out += content_;
        done = match.end;
      }
      token = out.append(token, done);
    }
  }

 private:
  Regex regex_;
  std::string content_;
};

// Takes up to `start` of a character off a token's beginning, up to `stop` off its end.
class StripDecoder final : public TokenDecoder {
 public:
  StripDecoder(std::string content, std::size_t start, std::size_t stop)
      : content_(std::move(content)), start_(start), stop_(stop) {}
  void decode(TokenStrings& tokens) const override {
    for (std::string& token : tokens) {
      std::string_view rest = token;
      for (std::size_t i = 0; i < start_ && rest.starts_with(content_); ++i)
        rest.remove_prefix(content_.size());
      for (std::size_t i = 0; i < stop_ && rest.ends_with(content_); ++i)
        rest.remove_suffix(content_.size());
      token = std::string(rest);
    }
  }

 private:
  std::string content_;
  std::size_t start_, stop_;
};

class MetaspaceDecoder final : public TokenDecoder {
 public:
  MetaspaceDecoder(std::string replacement, bool prepended)
      : replacement_(std::move(replacement)), prepended_(prepended) {}
  void decode(TokenStrings& tokens) const override {
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      if (i == 0 && prepended_ && tokens[i].starts_with(replacement_))
        tokens[i].erase(0, replacement_.size());
      replace_all(tokens[i], replacement_, " ");
    }
  }

 private:
  std::string replacement_;
  bool prepended_;
};

class BpeDecoder final : public TokenDecoder {
 public:
  explicit BpeDecoder(std::string suffix) : suffix_(std::move(suffix)) {}
  void decode(TokenStrings& tokens) const override {
    if (suffix_.empty()) return;
    for (std::size_t i = 0; i < tokens.size(); ++i)
      replace_all(tokens[i], suffix_, i + 1 == tokens.size() ? "" : " ");
  }

 private:
  std::string suffix_;
};

class SequenceOfDecoders final : public TokenDecoder {
 public:
  explicit SequenceOfDecoders(std::vector<std::unique_ptr<const TokenDecoder>> parts)
      : parts_(std::move(parts)) {}
  void decode(TokenStrings& tokens) const override {
    for (const auto& part : parts_) part->decode(tokens);
  }

 private:
  std::vector<std::unique_ptr<const TokenDecoder>> parts_;
};

std::unique_ptr<const TokenDecoder> make_part(const TokenizerPart& part) {
  const std::string type = part.type();
  if (type == "WordPiece") {
    return std::make_unique<WordPieceDecoder>(part.string("prefix", "##"),
                                              part.boolean("cleanup", true));
  }
  if (type == "ByteLevel") return std::make_unique<ByteLevelDecoder>();
  if (type == "ByteFallback") return std::make_unique<ByteFallbackDecoder>();
  if (type == "Fuse") return std::make_unique<FuseDecoder>();
  if (type == "BPEDecoder") return std::make_unique<BpeDecoder>(part.string("suffix", "</w>"));
  if (type == "Strip") {
    const auto count = [&](const char* key) {
      return static_cast<std::size_t>(part.integer(key, 0, 1'000'000, 0));
    };
    const std::string content = part.string("content", " ");
    if (count_chars(content) != 1) part.refuse("content", "one character", part.at("content"));
    return std::make_unique<StripDecoder>(content, count("start"), count("stop"));
  }
  if (type == "Metaspace") {
    const std::string scheme =
        part.string("prepend_scheme", part.boolean("add_prefix_space", true) ? "always" : "never");
    const std::string replacement = part.string("replacement", "▁");
    if (count_chars(replacement) != 1)
      part.refuse("replacement", "one character", part.at("replacement"));
    return std::make_unique<MetaspaceDecoder>(replacement, scheme != "never");
  }
  if (type == "Replace") {
    const TokenizerPart pattern(part.at("pattern"), part.name() + ": pattern");
    return std::make_unique<ReplaceDecoder>(
        pattern.find("Regex") ? Regex(pattern.string("Regex"), part.name())
                              : Regex::literal(pattern.string("String"), part.name()),
        part.string("content"));
  }
  if (type == "Sequence") {
    const Json& list = part.at("decoders");
    if (!list.is_array() || list.size() > 64)
      part.refuse("decoders", "an array of at most 64 parts", list);
    std::vector<std::unique_ptr<const TokenDecoder>> parts;
    for (std::size_t i = 0; i < list.size(); ++i) {
      parts.push_back(
          make_part(TokenizerPart(list[i], fmt::format("{}: decoders[{}]", part.name(), i))));
    }
    return std::make_unique<SequenceOfDecoders>(std::move(parts));
  }
  part.unsupported(
      "BPEDecoder, ByteFallback, ByteLevel, Fuse, Metaspace, Replace, Sequence, Strip, WordPiece");
}

}  // namespace

std::unique_ptr<const TokenDecoder> make_decoder(const Json& json, const std::string& origin) {
  if (json.is_null()) return std::make_unique<JoinDecoder>();
  return make_part(TokenizerPart(json, origin + ": decoder"));
}

}  // namespace gpumcp::gpu_runtime

// Results stay under 1 KB: agents pay for every byte of them. What is large goes behind a URI; what
// is only for reading is cut, or left out, until the rest fits. Values and free functions, callable
// from any thread.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "mcp/json_type.h"

namespace gpumcp::interfaces {

inline constexpr std::size_t kResultBytes = 1023;

template <class T>
std::size_t json_size(const T& result) {
  std::string out;
  mcp::JsonType<T>::append(out, result);
  return out.size();
}

// Calls shorten() until the result is small, or shorten() says that there is nothing left to take.
template <class T, class F>
void fit_result(T& result, F&& shorten) {
  while (json_size(result) > kResultBytes && shorten()) {
  }
}

// Takes away texts that a reader can do without, from the last one on, until the result is small.
template <class T>
void fit_texts(T& result, const std::vector<std::optional<std::string>*>& texts) {
  std::size_t left = texts.size();
  fit_result(result, [&] {
    if (left == 0) return false;
    texts[--left]->reset();
    return true;
  });
}
// The same of matches, best first, that have a text each.
template <class T, class Match>
void fit_matches(T& result, std::vector<Match>& matches) {
  std::vector<std::optional<std::string>*> texts;
  for (Match& match : matches) texts.push_back(&match.text);
  fit_texts(result, texts);
}

// What a character costs inside a JSON string.
inline std::size_t json_bytes(unsigned char first, std::size_t length) {
  switch (first) {
    case '"':
    case '\\':
    case '\b':
    case '\f':
    case '\n':
    case '\r':
    case '\t':
      return 2;
    default:
      return first < 0x20 ? 6 : length;
  }
}

// The first `characters` code points of valid UTF-8, fewer where they would take more than
// `max_bytes` in JSON.
inline std::string cut_text(std::string_view text, std::size_t characters, std::size_t max_bytes) {
  std::size_t at = 0, bytes = 0;
  for (std::size_t n = 0; n < characters && at < text.size(); ++n) {
    const auto first = static_cast<unsigned char>(text[at]);
    const std::size_t length = first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
    bytes += json_bytes(first, length);
    if (bytes > max_bytes) break;
    at += length;
  }
  return std::string(text.substr(0, at));
}

// A token, or a name, in a result with several of them.
inline std::string cut_word(std::string_view text) { return cut_text(text, 20, 40); }

}  // namespace gpumcp::interfaces

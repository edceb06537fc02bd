#include "gpu_runtime/generation/text_stream.h"

#include <algorithm>

namespace gpumcp::gpu_runtime {
namespace {

// How long an end of `text` may be the beginning of `string`.
std::size_t unfinished(std::string_view text, std::string_view string) {
  for (std::size_t length = std::min(text.size(), string.size() - 1); length > 0; --length) {
    if (text.substr(text.size() - length) == string.substr(0, length)) return length;
  }
  return 0;
}

}  // namespace

std::string StopStrings::push(std::string_view piece) {
  if (found_) return {};
  if (strings_.empty()) return std::string(piece);
  held_ += piece;
  std::size_t first = std::string::npos;
  for (const std::string& string : strings_) {
    const std::size_t at = held_.find(string);
    if (at == std::string::npos || at > first || (at == first && string.size() <= which_.size()))
      continue;
    first = at;
    which_ = string;
  }
  if (first != std::string::npos) {
    found_ = true;
    held_.resize(first);
    return std::exchange(held_, {});
  }
  std::size_t keep = 0;
  for (const std::string& string : strings_) keep = std::max(keep, unfinished(held_, string));
  std::string shown = held_.substr(0, held_.size() - keep);
  held_.erase(0, shown.size());
  return shown;
}

std::string StopStrings::finish() { return std::exchange(held_, {}); }

std::string TextStream::finish() {
  std::string rest = stop_.push(decoder_.finish());
  return rest += stop_.finish();
}

}  // namespace gpumcp::gpu_runtime

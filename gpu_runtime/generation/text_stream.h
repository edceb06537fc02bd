#pragma once

// The text of one sequence as its tokens come. Whole characters only; where stop strings were
// given, what may yet become one is held back, so that no part of a stop string is ever shown.
// Owned by one thread. Needs no torch.
#include <string>
#include <string_view>
#include <vector>

#include "gpu_runtime/export.h"
#include "gpu_runtime/tokenizer.h"

namespace gpumcp::gpu_runtime {

// Finds the first of some strings in a text that comes in pieces.
class GPUMCP_RUNTIME_API StopStrings {
 public:
  explicit StopStrings(std::vector<std::string> strings) : strings_(std::move(strings)) {}

  // What may be shown now. Once a string is complete, the text before it; after that nothing.
  std::string push(std::string_view piece);
  std::string finish();  // what was held back in vain
  bool found() const { return found_; }
  // Of the one that was found; "" before.
  const std::string& which() const { return which_; }

 private:
  std::vector<std::string> strings_;
  std::string held_, which_;
  bool found_ = false;
};

class GPUMCP_RUNTIME_API TextStream {
 public:
  TextStream(const Tokenizer& tokenizer, bool skip_special_tokens, std::vector<std::string> stop)
      : decoder_(tokenizer, skip_special_tokens), stop_(std::move(stop)) {}

  // The next token; gives the text that has become certain, which may be empty.
  std::string push(std::int32_t token) { return stop_.push(decoder_.push(token)); }
  // After the last token: the rest.
  std::string finish();
  bool stopped() const { return stop_.found(); }
  const std::string& stop_string() const { return stop_.which(); }

 private:
  StreamDecoder decoder_;
  StopStrings stop_;
};

}  // namespace gpumcp::gpu_runtime

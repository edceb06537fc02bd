// TextLines: the texts of a LineInput, one a line: as they stand, or as JSON strings or {"text": …}
// objects. Which of the two is decided by the first line that is not blank, unless told. Owned by
// one thread.
#pragma once

#include <string>
#include <vector>

#include "cli/line_input.h"

namespace gpumcp::cli {

enum class TextFormat { automatic, text, json };

class TextLines {
 public:
  TextLines(LineInput& input, TextFormat format) : input_(input), format_(format) {}

  // Fills `texts` with up to max_texts of together about max_bytes. Waits for the first one if
  // may_wait; gives what there is once no more comes at once. Throws std::invalid_argument, which
  // names the line: no JSON where JSON is expected, no UTF-8.
  void next(std::vector<std::string>& texts, size_t max_texts, size_t max_bytes, bool may_wait);
  bool ended() const { return ended_; }

 private:
  bool take(const std::string& line, std::string& text);

  LineInput& input_;
  TextFormat format_;
  bool ended_ = false;
};

}  // namespace gpumcp::cli

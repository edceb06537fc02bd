// LineInput: the lines of a file or of stdin ("-"), one by one, as they come. next() can be asked
// not to wait, so that what has been read goes on while a terminal is silent. Owned by one thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "cli/interrupt.h"

namespace gpumcp::cli {

class LineInput {
 public:
  enum class Got { line, nothing_now, end };

  // Throws std::invalid_argument for a file that cannot be read.
  LineInput(const std::string& file, const Interrupt& interrupt);
  ~LineInput();
  LineInput(const LineInput&) = delete;
  LineInput& operator=(const LineInput&) = delete;

  // The next line, without its end ("\n" or "\r\n"). nothing_now: none is there and `wait` is
  // false, or the interrupt came. Throws std::invalid_argument for lines of more than 64 MiB.
  Got next(std::string& line, bool wait);

  uint64_t line_number() const { return line_number_; }  // of the last line; the first is 1
  uint64_t bytes_read() const { return bytes_read_; }    // of the lines that next() gave
  std::optional<uint64_t> total_bytes() const { return total_; }  // of a file
  const std::string& name() const { return name_; }

 private:
  bool take_line(std::string& line);

  const std::string name_;
  const Interrupt& interrupt_;
  int fd_ = -1;
  bool ended_ = false;
  std::string buffer_;
  size_t at_ = 0, searched_ = 0;
  uint64_t line_number_ = 0, bytes_read_ = 0;
  std::optional<uint64_t> total_;
};

}  // namespace gpumcp::cli

// Progress: one line on a terminal's stderr that is drawn anew at most ten times a second; nothing
// where stderr is no terminal. Owned by one thread; done() or destruction takes the line away.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

namespace gpumcp::cli {

class Progress {
 public:
  // total: what `done` counts up to; absent: unknown, so that no bar is drawn.
  Progress(std::string label, std::optional<uint64_t> total);
  ~Progress() { done(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // `note` stands behind the bar: "1,234 texts, 310/s".
  void update(uint64_t so_far, const std::string& note);
  void done();
  double seconds() const;
  bool shows() const { return terminal_; }

 private:
  using Clock = std::chrono::steady_clock;
  const std::string label_;
  const std::optional<uint64_t> total_;
  const bool terminal_;
  const Clock::time_point began_ = Clock::now();
  Clock::time_point drawn_{};
  bool visible_ = false;
};

// "1.2 GB", "34 MB", "512 B".
std::string bytes_text(uint64_t bytes);

}  // namespace gpumcp::cli

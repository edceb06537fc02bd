#include "cli/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

namespace gpumcp::cli {

Progress::Progress(std::string label, std::optional<uint64_t> total)
    : label_(std::move(label)), total_(total), terminal_(isatty(2) != 0) {}

double Progress::seconds() const {
  return std::chrono::duration<double>(Clock::now() - began_).count();
}

void Progress::update(uint64_t so_far, const std::string& note) {
  const auto now = Clock::now();
  if (!terminal_ || (visible_ && now - drawn_ < std::chrono::milliseconds(100))) return;
  drawn_ = now;
  visible_ = true;
  std::string line = label_;
  if (total_ && *total_ > 0) {
    constexpr size_t kWidth = 24;
    const double part = std::min(1.0, static_cast<double>(so_far) / static_cast<double>(*total_));
    const auto full = static_cast<size_t>(part * kWidth);
    line += fmt::format(" [{}{}] {:3.0f} %", std::string(full, '#'),
                        std::string(kWidth - full, '.'), part * 100);
    if (part > 0.01 && part < 1 && seconds() > 1)
      line += fmt::format(", {:.0f} s left", seconds() / part * (1 - part));
  }
  fmt::print(stderr, "\r\033[K{}  {}", line, note);
  std::fflush(stderr);
}

void Progress::done() {
  if (!visible_) return;
  visible_ = false;
  fmt::print(stderr, "\r\033[K");
  std::fflush(stderr);
}

std::string bytes_text(uint64_t bytes) {
  constexpr const char* kUnits[] = {"B", "kB", "MB", "GB", "TB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1000 && unit + 1 < std::size(kUnits)) {
    value /= 1000;
    ++unit;
  }
  return fmt::format(fmt::runtime(unit == 0 || value >= 100 ? "{:.0f} {}" : "{:.1f} {}"), value,
                     kUnits[unit]);
}

}  // namespace gpumcp::cli

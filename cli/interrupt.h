// Interrupt: SIGINT, SIGTERM and SIGHUP as a stop token, for commands that have something to tidy
// up. The first signal stops the token; a second one ends the process at once. One a process, made
// by the main thread before others; stop callbacks run on a thread of its own.
#pragma once

#include <stop_token>
#include <thread>

namespace gpumcp::cli {

inline constexpr int kInterrupted = 130;  // the exit code, as shells have it

class Interrupt {
 public:
  Interrupt();
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  std::stop_token token() const { return source_.get_token(); }
  bool raised() const;                 // from the signal on: the token follows by the thread
  int fd() const { return told_fd_; }  // readable once raised, for poll()

 private:
  int signal_fd_ = -1, told_fd_ = -1;
  std::stop_source source_;
  std::thread thread_;
};

}  // namespace gpumcp::cli

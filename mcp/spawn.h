// Starts programs: the one place that knows what a child process gets of ours. Free functions,
// thread-safe; the pid that spawn() gives belongs to the caller, who reaps it.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "mcp/result.h"

namespace gpumcp::mcp {

// Both ends close with it and on exec. Throws std::system_error if there are no descriptors left.
class Pipe {
 public:
  Pipe();
  ~Pipe();
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;

  int read_end() const { return ends_[0]; }
  int write_end() const { return ends_[1]; }
  void close_read() { close(0); }
  void close_write() { close(1); }
  // Gives an end away, to whoever closes it then.
  int take_read() { return std::exchange(ends_[0], -1); }
  int take_write() { return std::exchange(ends_[1], -1); }

 private:
  void close(int end);
  int ends_[2] = {-1, -1};
};

inline constexpr int kDevNull = -1;

struct SpawnOptions {
  // {ours, the child's}, each of the child's once; ours may be kDevNull. Of 0, 1 and 2 it has ours
  // unless one is named here, of all others none.
  std::vector<std::pair<int, int>> descriptors = {};
  std::optional<std::vector<std::string>> environment = {};  // NAME=VALUE; nullopt: ours
  std::filesystem::path folder = {};                         // to start in; empty: ours
  // own_group: one signal reaches it and its children. own_session: none that is meant for our
  // terminal or group reaches it.
  enum class Group { ours, own_group, own_session } group = Group::ours;
};

// `command[0]` by path, or by name as PATH finds it; no shell. Signals have their default actions
// and none is held back, but SIGHUP where it is ignored (nohup is the user's word). Error io_error:
// it cannot be started, and why.
Result<pid_t> spawn(const std::vector<std::string>& command, const SpawnOptions& options = {});

// Our environment with changes, as NAME=VALUE; nullopt takes a variable away.
std::vector<std::string> environment_with(
    const std::map<std::string, std::optional<std::string>>& changes);

// Whether a process ends within the time; it is not reaped. True for one that is gone.
bool ended_within(pid_t pid, std::chrono::milliseconds time);
// Waits for a child's end: the status of waitpid().
int reap(pid_t pid);
// Of such a status: as shells have it, 128 + N for signal N.
int exit_code(int status);
// "was killed by signal 9 (Killed), by somebody or because …", "exited with code 1".
std::string describe_end(int status);

}  // namespace gpumcp::mcp

// Confines this process, and all that it will start, for good: Landlock for files, signals and
// abstract sockets, seccomp for system calls. Linux only; needs no rights. Free functions for the
// main thread of a process that has no other yet: what runs already is not confined.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace gpumcp::sandbox {

// What Landlock of this kernel is good for here: empty, or why it is not. It must keep signals in,
// which it can since Linux 6.12.
std::string landlock_problem();

struct Confinement {
  std::vector<std::filesystem::path> read;   // files and folders; what is not there is left out
  std::vector<std::filesystem::path> write;  // read, too
  // Folders in which entries may be made and removed, and nothing else.
  std::vector<std::filesystem::path> entries = {};
  bool network = false;
};

// Throws std::runtime_error with what the kernel said.
void confine_files(const Confinement& confinement);
// No ptrace, no reading of other processes' memory, no mounts, namespaces, keys, io_uring; without
// `network` no sockets but Unix ones, and with `connect` false those reach nothing that has a name.
void confine_calls(bool network, bool connect);

}  // namespace gpumcp::sandbox

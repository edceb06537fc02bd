// Runs a program to its end and takes what it says. Free function; blocks its thread only.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "mcp/spawn.h"

namespace gpumcp::sandbox {

struct Finished {
  int code = 0;  // exit code; 128 + N if signal N ended it
  std::string out, err;
};

struct CaptureOptions {
  std::string_view input = {};  // its stdin
  // Lines of both its outputs, as they come, without their ends.
  std::function<void(std::string_view line)> on_line = {};
  mcp::SpawnOptions spawn = {};  // its descriptors are replaced
};

// `command[0]` is looked up on PATH; no shell. Error io_error if it cannot be started.
mcp::Result<Finished> run_captured(const std::vector<std::string>& command,
                                   CaptureOptions options = {});

}  // namespace gpumcp::sandbox

// Runs a program to its end and takes what it says. Free function; blocks its thread only.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "mcp/result.h"

namespace gpumcp::sandbox {

struct Finished {
  int code = 0;  // exit code; 128 + N if signal N ended it
  std::string out, err;
};

// `command[0]` is looked up on PATH; no shell. Error io_error if it cannot be started. `input` is
// its stdin.
mcp::Result<Finished> run_captured(const std::vector<std::string>& command,
                                   std::string_view input = {});

}  // namespace gpumcp::sandbox

// A server as a child process, spoken to over its stdin and stdout: a Transport for mcp::Client.
// The child is started at once. One that ends by itself fails the requests in flight with code
// kPeerRestarts, and the next message starts it again; a client of 2025-11-25 or older need not
// notice, since the new child is initialized before it hears anything else. A child that keeps
// ending before it has answered anything is given up. Thread-safe as Transport says. Destruction
// closes the child's stdin, then asks, then kills it, and waits for it.
#pragma once

#include <chrono>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "mcp/line_transport.h"
#include "mcp/transport.h"

namespace gpumcp::mcp {

struct ProcessOptions {
  std::map<std::string, std::string> environment =
      {};                             // beside ours; an empty value takes one away
  std::filesystem::path folder = {};  // to start it in; empty: ours
  size_t max_message_bytes = kMaxMessageBytes;
  int max_restarts = 5;  // in a row, without an answer in between; 0: it is never started again
  // For the child to end after its stdin did, and once more after SIGTERM.
  std::chrono::milliseconds patience = std::chrono::seconds(2);
};

// `command`: the program, by path or by name as PATH finds it, and its arguments; no shell. Its
// stderr is ours. Error io_error: it cannot be started, and why.
Result<std::unique_ptr<Transport>> make_process_transport(std::vector<std::string> command,
                                                          ProcessOptions options = {});

}  // namespace gpumcp::mcp

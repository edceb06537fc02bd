// Newline-delimited messages over file descriptors: stdio, Unix and TCP sockets, pipes (spec:
// basic/transports, stdio). Reads wait in poll() on the descriptor and a wake-up descriptor, which
// is how close() ends them. Writes of several threads are combined: while one writes, the others
// leave their lines with it.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "mcp/transport.h"

namespace gpumcp::mcp {

// Default for the longest message that is accepted, in bytes.
inline constexpr size_t kMaxMessageBytes = 8u << 20;

struct LineTransportOptions {
  size_t max_message_bytes = kMaxMessageBytes;
};

// Takes both descriptors (they may be the same one) and closes them when it is destroyed.
std::unique_ptr<Transport> make_line_transport(int read_fd, int write_fd,
                                               LineTransportOptions options = {});

// Moves stdout away for MCP: a duplicate of fd 1 carries the wire, and fd 1 then points at stderr,
// so that nothing that a library prints reaches the peer. Call before anything else prints; once
// per process.
Result<std::unique_ptr<Transport>> take_stdio(LineTransportOptions options = {});

// Unix sockets. Paths beyond the system's limit (about 107 bytes) are reached through their folder.
Result<int> connect_unix(const std::filesystem::path& path);
// Binds and listens; the socket file gets mode 0600. Fails if something listens there already.
Result<int> listen_unix(const std::filesystem::path& path);

}  // namespace gpumcp::mcp

// Newline-delimited messages over file descriptors: stdio, Unix and TCP sockets, pipes (spec:
// basic/transports, stdio). Nothing here blocks but read() and flush(), which wait in poll() on the
// descriptors and on a wake-up descriptor, which is how close() ends them.
//
//   write() ──▶ the descriptor, as far as the peer takes it now
//       └─ the rest, and what comes after it ──▶ queue ──▶ the thread in read() sends it, in time
//
// While one thread sends, others leave their lines with it. A peer that does not read is cut off
// when its queue is full: read() then says why, as Error closed.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "mcp/transport.h"

namespace gpumcp::mcp {

// Default for the longest message that is accepted, in bytes.
inline constexpr size_t kMaxMessageBytes = 8u << 20;

// Default for what may wait for a peer that does not read, in bytes.
inline constexpr size_t kMaxUnreadBytes = 128u << 20;

struct LineTransportOptions {
  size_t max_message_bytes = kMaxMessageBytes;
  // A write beyond it cuts the peer off; so one message more than that may wait.
  size_t max_unread_bytes = kMaxUnreadBytes;
};

// Takes both descriptors (they may be the same one) and closes them when it is destroyed.
std::unique_ptr<Transport> make_line_transport(int read_fd, int write_fd,
                                               LineTransportOptions options = {});

// Moves stdout away for MCP: a duplicate of fd 1 carries the wire, and fd 1 then points at stderr,
// so that nothing that a library prints reaches the peer. SIGPIPE, where it would end the process,
// does nothing from now on. Call before anything else prints; once per process.
Result<std::unique_ptr<Transport>> take_stdio(LineTransportOptions options = {});

// Unix sockets. Paths beyond the system's limit (about 107 bytes) are reached through their folder.
Result<int> connect_unix(const std::filesystem::path& path);
// Binds and listens; the socket file gets mode 0600. Fails if something listens there already.
Result<int> listen_unix(const std::filesystem::path& path);

}  // namespace gpumcp::mcp

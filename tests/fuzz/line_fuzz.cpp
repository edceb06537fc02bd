// However its bytes are cut into pieces, a stream gives the same lines: first byte = size of the
// pieces.
#include <sys/socket.h>
#include <unistd.h>

#include <thread>
#include <vector>

#include "mcp/line_transport.h"
#include "tests/fuzz/fuzz.h"

using namespace gpumcp::mcp;

namespace {

constexpr size_t kLimit = 40;

std::vector<std::string> lines_of(std::string_view bytes, size_t piece) {
  int fds[2];
  FUZZ_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
  auto transport = make_line_transport(fds[0], fds[0], {.max_message_bytes = kLimit});
  std::vector<std::string> lines;
  std::jthread writer([&] {
    for (size_t i = 0; i < bytes.size(); i += piece) {
      const auto part = bytes.substr(i, piece);
      FUZZ_CHECK(send(fds[1], part.data(), part.size(), MSG_NOSIGNAL) ==
                 static_cast<ssize_t>(part.size()));
    }
    shutdown(fds[1], SHUT_WR);
  });
  while (true) {
    auto line = transport->read();
    if (!line) {
      FUZZ_CHECK(line.error().code == ErrorCode::invalid_request);
      lines.push_back("(too long)");
      continue;
    }
    if (!*line) break;
    FUZZ_CHECK((*line)->size() <= kLimit + 1 && (*line)->find('\n') == std::string::npos);
    lines.push_back(std::move(**line));
  }
  writer.join();
  close(fds[1]);
  return lines;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2 || size > 4096) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  FUZZ_CHECK(lines_of(bytes, 1 + data[0] % 64) == lines_of(bytes, bytes.size()));
  return 0;
}

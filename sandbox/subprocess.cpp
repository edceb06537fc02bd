#include "sandbox/subprocess.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <system_error>

namespace gpumcp::sandbox {
namespace {

// One of a program's outputs, while it is read.
struct Heard {
  std::string& all;
  size_t told = 0;  // of it, as lines

  void take(std::string_view part, const std::function<void(std::string_view)>& on_line) {
    all += part;
    if (!on_line) return;
    for (size_t end = 0; (end = all.find('\n', told)) != all.npos; told = end + 1)
      on_line(std::string_view(all).substr(told, end - told));
  }
};

// What of it could be written; a program that reads nothing may be gone: its end says so, not
// SIGPIPE.
ssize_t write_quietly(int fd, std::string_view text) {
  struct sigaction ignore{}, before{};
  ignore.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &ignore, &before);
  const ssize_t n = ::write(fd, text.data(), text.size());
  const int error = errno;
  sigaction(SIGPIPE, &before, nullptr);
  errno = error;
  return n;
}

}  // namespace

mcp::Result<Finished> run_captured(const std::vector<std::string>& command,
                                   CaptureOptions options) try {
  mcp::Pipe in, out, err;
  options.spawn.descriptors = {{in.read_end(), 0}, {out.write_end(), 1}, {err.write_end(), 2}};
  const auto pid = mcp::spawn(command, options.spawn);
  if (!pid) return tl::unexpected(pid.error());
  in.close_read();
  out.close_write();
  err.close_write();
  std::string_view input = options.input;
  if (input.empty()) in.close_write();
  if (in.write_end() >= 0) fcntl(in.write_end(), F_SETFL, O_NONBLOCK);

  Finished done;
  Heard heard[2] = {{done.out}, {done.err}};
  while (out.read_end() >= 0 || err.read_end() >= 0 || in.write_end() >= 0) {
    pollfd fds[3] = {
        {out.read_end(), POLLIN, 0}, {err.read_end(), POLLIN, 0}, {in.write_end(), POLLOUT, 0}};
    if (poll(fds, 3, -1) < 0 && errno != EINTR) break;
    for (int i = 0; i < 2; ++i) {
      if (fds[i].fd < 0 || !fds[i].revents) continue;
      char buffer[16384];
      const ssize_t n = ::read(fds[i].fd, buffer, sizeof buffer);
      if (n > 0)
        heard[i].take({buffer, static_cast<size_t>(n)}, options.on_line);
      else if (n == 0 || errno != EINTR)
        (i ? err : out).close_read();
    }
    if (fds[2].fd >= 0 && fds[2].revents) {
      const ssize_t n = write_quietly(fds[2].fd, input);
      if (n > 0) input.remove_prefix(static_cast<size_t>(n));
      if (input.empty() || (n < 0 && errno != EINTR && errno != EAGAIN)) in.close_write();
    }
  }
  done.code = mcp::exit_code(mcp::reap(*pid));
  return done;
} catch (const std::system_error& e) {
  return mcp::fail(mcp::ErrorCode::io_error, e.what());
}

}  // namespace gpumcp::sandbox

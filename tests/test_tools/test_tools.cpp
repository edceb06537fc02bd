// An interface for tests of fronts, workers and clients: tools that succeed, wait, hang, crash,
// print and throw. No torch, so that a worker starts in milliseconds. Every tool may run on any
// number of threads at once.
#include <gpumcp/interface.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <mutex>

using namespace gpumcp;

namespace {

struct Slept {
  int64_t ms;
  bool cancelled;
};
GPUMCP_DESCRIBE(Slept, ms, cancelled)

// Waits until the time is over or the caller has cancelled; says every 100 ms how far it is.
Slept sleep_ms(int64_t ms, Context& context) {
  using Clock = std::chrono::steady_clock;
  using std::chrono::milliseconds;
  const auto begin = Clock::now();
  const auto end = begin + milliseconds(ms);
  std::mutex mutex;
  std::condition_variable_any stopped;
  std::unique_lock lock(mutex);
  while (Clock::now() < end && !context.cancelled()) {
    const auto next = std::min(end, Clock::now() + milliseconds(100));
    stopped.wait_until(lock, context.stop_token(), next, [] { return false; });
    const auto done = std::chrono::duration_cast<milliseconds>(Clock::now() - begin).count();
    context.progress(static_cast<double>(done), static_cast<double>(ms), "sleeping");
  }
  return {std::chrono::duration_cast<milliseconds>(Clock::now() - begin).count(),
          context.cancelled()};
}

// Never returns, whatever the caller does; only the end of the process ends it.
void hang() {
  std::mutex mutex;
  std::condition_variable never;
  std::unique_lock lock(mutex);
  never.wait(lock, [] { return false; });
}

}  // namespace

GPUMCP_INTERFACE(test_tools, interface) {
  interface.expose(
      "echo", "Gives the text back.", [](const std::string& text) { return text; },
      arg("text", "What to give back."));
  interface.expose("sleep_ms", "Waits; can be cancelled, and reports progress.", sleep_ms,
                   arg("ms", "How long, in milliseconds.").minimum(0).maximum(3'600'000));
  interface.expose("hang", "Never returns and ignores cancellation.", hang);
  interface.expose("crash", "Ends its process by a segmentation fault.",
                   [] { std::raise(SIGSEGV); });
  interface.expose(
      "print_stdout", "Prints the text to the process's standard output.",
      [](const std::string& text) {
        std::fwrite(text.data(), 1, text.size(), stdout);
        std::fflush(stdout);
      },
      arg("text", "What to print."));
  interface.expose("lose_device",
                   "Fails as on a device that is lost: its process is of no more use.",
                   [&host = interface.host()] {
                     host.leave("its device is lost");
                     throw std::runtime_error("the device is lost");
                   });
  interface.expose(
      "throw_error", "Fails with the message.",
      [](const std::string& message) { throw std::runtime_error(message); },
      arg("message", "What the error says."));
  interface.expose(
      "read_file", "The text of a file.",
      [](const std::string& path) {
        std::FILE* file = std::fopen(path.c_str(), "r");
        if (!file) throw std::runtime_error(path + ": " + std::strerror(errno));
        char text[4096];
        const size_t size = std::fread(text, 1, sizeof text, file);
        std::fclose(file);
        return std::string(text, size);
      },
      arg("path", "Which."));
  interface.expose("open_socket", "Opens a socket for TCP.", [] {
    const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0) throw std::runtime_error(std::string("socket: ") + std::strerror(errno));
    ::close(fd);
    return std::string("opened");
  });
  interface.expose("pid", "The id of the process that runs the tools.",
                   []() -> int64_t { return ::getpid(); });
}

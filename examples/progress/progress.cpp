// Long work within a call: it says how far it is, logs, and stops when nobody waits any more.
//   gpumcp call count to=5 -- build/release/bin/example_progress       shows the progress on a
//   terminal
#include <gpumcp/mcp.h>

#include <condition_variable>
#include <mutex>

using namespace gpumcp;

// False: the client cancelled, or left, before the time had passed.
bool wait(std::chrono::milliseconds time, const std::stop_token& stop) {
  std::mutex mutex;
  std::condition_variable_any never;
  std::unique_lock lock(mutex);
  never.wait_for(lock, stop, time, [] { return false; });
  return !stop.stop_requested();
}

int main() {
  mcp::Server server({.name = "counter", .version = "1.0"});
  server.expose(
      "count", "Count up to a number, a step in a tenth of a second.",
      [](int to, Context& context) {
        context.log(mcp::LogLevel::info, Json{{"counting_to", to}}, "counter");
        int i = 0;
        while (i < to && wait(std::chrono::milliseconds(100), context.stop_token())) {
          ++i;
          context.progress(i, to, "at " + std::to_string(i));
        }
        if (context.cancelled()) context.log(mcp::LogLevel::notice, "stopped early", "counter");
        return i;
      },
      arg("to").minimum(1).maximum(1000));
  return server.serve_stdio();
}

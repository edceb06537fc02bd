// Work that outlives its request: the call is answered at once with a task, the client may leave,
// come back, answer what the task asks, and fetch the outcome. Clients that know no tasks wait, and
// the tool does not notice.
//   build/release/bin/example_client call bake minutes=3 -- build/release/bin/example_tasks
#include <gpumcp/mcp.h>

#include <condition_variable>
#include <mutex>

using namespace gpumcp;

// A minute in the oven, quicker than life. False: the task was cancelled.
bool bake_a_minute(const std::stop_token& stop) {
  std::mutex mutex;
  std::condition_variable_any never;
  std::unique_lock lock(mutex);
  never.wait_for(lock, stop, std::chrono::milliseconds(100), [] { return false; });
  return !stop.stop_requested();
}

int main() {
  mcp::Server server({.name = "bakery", .version = "1.0"});
  server.expose(
      "bake", "Bake a cake.",
      [](int minutes, Context& context) -> std::string {
        context.start_task({.ttl = std::chrono::hours(1),
                            .poll_interval = std::chrono::milliseconds(100),
                            .message = "heating the oven"});
        for (int i = 1; i <= minutes; ++i) {
          if (!bake_a_minute(context.stop_token())) throw ToolError("the oven is off again");
          context.progress(i, minutes, "minute " + std::to_string(i));  // the task's message
        }
        const auto answer = context.elicit(
            "icing", {"Icing?", Json::parse(R"({"type": "object", "properties": {"icing":
                      {"type": "string", "enum": ["none", "lemon", "chocolate"], "default": "lemon"}}})")});
        return "a cake with " + answer.content.value("icing", "no") + " icing";
      },
      arg("minutes", "How long.", 3).minimum(1).maximum(60));
  return server.serve_stdio();
}

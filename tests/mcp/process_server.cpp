// A server for client_process_test.cpp: it says who it is, and ends when asked to.
#include <gpumcp/mcp.h>
#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

using namespace gpumcp;

int main() {
  mcp::Server server({.name = "child", .version = "1"});
  server.expose("pid", "The process's id.", [] { return static_cast<int64_t>(getpid()); });
  server.expose(
      "variable", "An environment variable.",
      [](const std::string& name) {
        const char* value = std::getenv(name.c_str());
        return std::string(value ? value : "(none)");
      },
      arg("name"));
  server.expose("folder", "Where it runs.",
                [] { return std::filesystem::current_path().string(); });
  server.expose("leave", "Exit status 3.", []() -> int { _exit(3); });
  server.expose("crash", "A signal.", []() -> int {
    raise(SIGKILL);
    return 0;
  });
  return server.serve_stdio();
}

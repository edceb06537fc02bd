// A server for client_process_test.cpp: it says who it is, and ends when asked to. On stdio, or
// with
// --unix PATH for any number of peers; then it prints a line once it listens.
#include <gpumcp/mcp.h>
#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>

using namespace gpumcp;
using namespace std::chrono_literals;

int main(int argc, char** argv) {
  const auto drain = 20s;
  mcp::Server server({.name = "child", .version = "1", .drain = drain});
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
  server.expose(
      "await", "Says that it runs, then waits until somebody writes to a pipe.",
      [](const std::string& pipe, Context& context) {
        context.progress(1);
        std::string line;
        std::getline(std::ifstream(pipe), line);  // opening waits for the writer
        return line;
      },
      arg("pipe"));
  if (argc == 3 && argv[1] == std::string("--unix")) {
    auto socket = mcp::listen_unix(argv[2]);
    if (!socket) return 1;
    mcp::ExitWatch watch([&] { server.shut_down(); }, {.grace = drain + 1s});
    std::cout << "listening" << std::endl;
    server.serve_listener(*socket);
    return 0;
  }
  return server.serve_stdio();
}

#include "cli/target.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <stdexcept>

#include "mcp/http_client.h"
#include "mcp/line_transport.h"

extern char** environ;

namespace gpumcp::cli {
namespace {

// Starts a stdio server; its stderr stays ours.
std::unique_ptr<mcp::Transport> spawn_server(const std::vector<std::string>& command,
                                             int& pid_out) {
  int to_child[2], from_child[2];
  if (pipe2(to_child, O_CLOEXEC) != 0 || pipe2(from_child, O_CLOEXEC) != 0)
    throw std::runtime_error("no pipes left");
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, to_child[0], 0);
  posix_spawn_file_actions_adddup2(&actions, from_child[1], 1);
  std::vector<char*> argv;
  for (auto& word : command) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  pid_t pid = 0;
  const int error = posix_spawnp(&pid, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  ::close(to_child[0]);
  ::close(from_child[1]);
  if (error) {
    ::close(to_child[1]);
    ::close(from_child[0]);
    throw std::runtime_error(fmt::format("cannot start {}: {}", command[0], std::strerror(error)));
  }
  pid_out = pid;
  return mcp::make_line_transport(from_child[0], to_child[1], {.max_message_bytes = 256u << 20});
}

}  // namespace

void TargetOptions::declare(CLI::App& app, bool positional_interfaces) {
  sandbox.declare(app, positional_interfaces);
  app.add_option("--url", url, "a server's Streamable HTTP address, as http://127.0.0.1:8080/mcp");
  app.add_option("--token-file", token_file, "file with the bearer token for --url");
  app.add_option("--era", era,
                 "protocol to speak: auto, modern (2026-07-28) or legacy (initialize)")
      ->check(CLI::IsMember({"auto", "modern", "legacy"}))
      ->capture_default_str();
}

Target::Target(const TargetOptions& options) {
  signal(SIGPIPE, SIG_IGN);
  mcp::ClientOptions client_options{.info = {"gpumcp", GPUMCP_VERSION}};
  client_options.era = options.era == "modern"   ? mcp::Era::modern
                       : options.era == "legacy" ? mcp::Era::legacy
                                                 : mcp::Era::automatic;
  std::unique_ptr<mcp::Transport> transport;
  if (!options.url.empty()) {
    mcp::HttpClientOptions http;
    if (!options.token_file.empty()) {
      std::ifstream file(options.token_file);
      if (!std::getline(file, http.token))
        throw std::runtime_error(fmt::format("cannot read {}", options.token_file));
    }
    auto made = mcp::make_http_transport(options.url, http);
    if (!made) throw std::runtime_error(made.error().message);
    transport = std::move(*made);
  } else if (!options.command.empty()) {
    transport = spawn_server(options.command, child_);
  } else {
    front_ = std::make_unique<FrontServer>(options.sandbox);
    auto [here, there] = mcp::make_memory_transports();
    transport = std::move(here);
    server_end_ = std::move(there);
    serving_ = std::thread([this] { front_->server->serve(*server_end_); });
  }
  auto client = mcp::Client::connect(std::move(transport), client_options);
  if (!client) {
    end();
    throw std::runtime_error(fmt::format("cannot reach the server: {}", client.error().message));
  }
  client_ = std::move(*client);
}

Target::~Target() { end(); }

void Target::end() {
  client_.reset();  // closes the child's stdin
  if (serving_.joinable()) {
    server_end_->close();
    front_->server->stop();
    serving_.join();
  }
  if (child_ > 0) {
    // A server leaves at the end of its input; one that does not is asked, then told.
    for (int signal_number : {0, SIGTERM, SIGKILL}) {
      if (signal_number) kill(child_, signal_number);
      for (int i = 0; i < 40; ++i) {
        if (waitpid(child_, nullptr, WNOHANG) == child_) return;
        usleep(50000);
      }
    }
    waitpid(child_, nullptr, 0);
  }
}

}  // namespace gpumcp::cli

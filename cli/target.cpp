#include "cli/target.h"

#include <fmt/format.h>
#include <signal.h>

#include <fstream>
#include <stdexcept>

#include "mcp/client_process.h"
#include "mcp/http_client.h"

namespace gpumcp::cli {

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
    // A worker's results may be larger than what is taken from strangers.
    auto made = mcp::make_process_transport(options.command, {.max_message_bytes = 256u << 20});
    if (!made) throw std::runtime_error(made.error().message);
    transport = std::move(*made);
  } else {
    front_ = std::make_unique<sandbox::FrontClient>(front_server_options(options.sandbox),
                                                    std::move(client_options));
    return;
  }
  auto client = mcp::Client::connect(std::move(transport), client_options);
  if (!client)
    throw std::runtime_error(fmt::format("cannot reach the server: {}", client.error().message));
  client_ = std::move(*client);
}

std::unique_ptr<Target> open_target(const TargetOptions& options) {
  try {
    return std::make_unique<Target>(options);
  } catch (const std::invalid_argument&) {
    throw;
  } catch (const std::runtime_error& e) {
    fmt::print(stderr, "gpumcp: {}\n", e.what());
    return nullptr;
  }
}

}  // namespace gpumcp::cli

#include "sandbox/front_server.h"

#include <fmt/format.h>

#include <cstdlib>
#include <stdexcept>

#include "sandbox/ledger.h"

namespace gpumcp::sandbox {

FrontServer::FrontServer(FrontServerOptions options) {
  server = std::make_unique<mcp::Server>(mcp::ServerOptions{
      .name = options.name,
      .version = GPUMCP_VERSION,
      .instructions = options.instructions,
      .max_tasks = 0});  // calls run in the worker, whose tasks nobody could ask after
  const char* ledger = std::getenv(kLedgerVariable);
  front = std::make_unique<Front>(FrontOptions{.config = std::move(options.config),
                                               .workspace = options.workspace,
                                               .ledger = ledger ? ledger : ""});
  if (!options.program_tools.empty()) {
    Manifest more{.name = "program"};
    for (const std::string& tool : options.program_tools)
      more.tools.push_back({.name = tool,
                            .description = "of this program's commands",
                            .inputSchema = {{"type", "object"}}});
    options.manifests.push_back(std::move(more));
  }
  front->attach(*server, std::move(options.manifests));
}

FrontClient::FrontClient(FrontServerOptions options, mcp::ClientOptions client_options)
    : front_(std::move(options)) {
  auto [here, there] = mcp::make_memory_transports();
  server_end_ = std::move(there);
  serving_ = std::thread([this] { front_.server->serve(*server_end_); });
  auto client = mcp::Client::connect(std::move(here), std::move(client_options));
  if (!client) {
    end();
    throw std::runtime_error(fmt::format("cannot reach the server: {}", client.error().message));
  }
  client_ = std::move(*client);
}

FrontClient::~FrontClient() { end(); }

void FrontClient::end() {
  client_.reset();
  server_end_->close();
  front_.server->stop();
  serving_.join();
}

}  // namespace gpumcp::sandbox

#include "sandbox/front_server.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cstdlib>
#include <stdexcept>

#include "sandbox/ledger.h"

namespace gpumcp::sandbox {
namespace {

std::vector<std::filesystem::path> watched_files(const std::vector<Manifest>& manifests,
                                                 const std::vector<std::filesystem::path>& more) {
  std::vector<std::filesystem::path> out = source_files(manifests);
  out.insert(out.end(), more.begin(), more.end());
  return out;
}

}  // namespace

FrontServer::FrontServer(FrontServerOptions options) {
  server = std::make_unique<mcp::Server>(mcp::ServerOptions{
      .name = options.name,
      .version = GPUMCP_VERSION,
      .instructions = options.instructions,
      .max_tasks = 0});  // calls run in the worker, whose tasks nobody could ask after
  const char* ledger = std::getenv(kLedgerVariable);
  front = std::make_unique<Front>(FrontOptions{.config = std::move(options.config),
                                               .workspace = options.workspace,
                                               .ledger = ledger ? ledger : "",
                                               .before_connect = [this] {
                                                 if (watching_) watch_->look();
                                               }});
  for (const Manifest& manifest : options.manifests)
    listed_.insert(listed_.end(), manifest.tools.begin(), manifest.tools.end());
  const auto files = options.offer_now ? watched_files(options.manifests, options.watched)
                                       : std::vector<std::filesystem::path>();
  if (!options.program_tools.empty()) {
    Manifest more{.name = "program"};
    for (const std::string& tool : options.program_tools)
      more.tools.push_back({.name = tool,
                            .description = "of this program's commands",
                            .inputSchema = {{"type", "object"}}});
    options.manifests.push_back(std::move(more));
  }
  front->attach(*server, std::move(options.manifests));
  if (!options.offer_now) return;
  watch_ = std::make_unique<FileWatch>(
      files, [this, now = options.offer_now, watched = options.watched] {
        try {
          const Offer offer = now();
          if (offer.gone.empty())
            take(offer);
          else
            front->refuse(offer.gone);
          return offer.gone.empty() ? watched_files(offer.manifests, watched)
                                    : std::vector<std::filesystem::path>();
        } catch (const std::exception& e) {
          spdlog::error("a file of the interfaces changed, and is not served so: {}", e.what());
          return std::vector<std::filesystem::path>();
        }
      });
  watching_ = true;
}

FrontServer::~FrontServer() {
  if (watch_) watch_->stop();
  front.reset();  // may look() at the files to the last
}

// Clients hear of it by list_changed.
void FrontServer::take(const Offer& offer) {
  std::vector<mcp::Tool> fresh;
  for (const Manifest& manifest : offer.manifests)
    fresh.insert(fresh.end(), manifest.tools.begin(), manifest.tools.end());
  const auto named = [](const std::vector<mcp::Tool>& tools, const std::string& name) {
    return std::find_if(tools.begin(), tools.end(), [&](auto& one) { return one.name == name; });
  };
  std::vector<mcp::Tool> changed;
  for (const mcp::Tool& tool : fresh) {
    const auto before = named(listed_, tool.name);
    if (before == listed_.end() || mcp::to_json(*before) != mcp::to_json(tool))
      changed.push_back(tool);
  }
  std::vector<std::string> removed;
  for (const mcp::Tool& tool : listed_) {
    if (named(fresh, tool.name) == fresh.end()) removed.push_back(tool.name);
  }
  spdlog::info("the interfaces changed: {} tools, {} of them new or other ones", fresh.size(),
               changed.size());
  front->change(offer.config);
  if (!changed.empty() || !removed.empty())
    server->replace_forwarded(std::move(changed), removed,
                              [this](std::shared_ptr<mcp::ForwardedRequest> request) {
                                front->forward(std::move(request));
                              });
  listed_ = std::move(fresh);
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

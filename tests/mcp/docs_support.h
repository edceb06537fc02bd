// What the snippets of docs/mcp.md stand in: a server and a client joined in memory. The snippets
// lie between "// snippet NAME" and "// end"; tests/mcp/quote_docs.py puts them into docs/mcp.md.
#pragma once

#include <doctest/doctest.h>
#include <gpumcp/mcp.h>

#include <future>
#include <iostream>

#include "tests/mcp/support.h"

namespace docs {

using namespace gpumcp;
using namespace std::chrono_literals;
using mcp::test::Gate;

// Serves `server` to one client until it goes.
class Joined {
 public:
  explicit Joined(mcp::Server& server, mcp::ClientOptions options = {}) {
    auto [near_end, far_end] = mcp::make_memory_transports();
    served_ = std::async(std::launch::async, [&server, far = std::move(far_end)]() mutable {
      server.serve(*far);
      far.reset();
    });
    auto connected = mcp::Client::connect(std::move(near_end), std::move(options));
    REQUIRE_MESSAGE(connected, (connected ? "" : connected.error().message));
    client_ = std::move(*connected);
  }
  ~Joined() {
    client_.reset();
    served_.get();
  }
  mcp::Client* operator->() { return client_.get(); }
  mcp::Client& operator*() { return *client_; }

 private:
  std::future<void> served_;
  std::unique_ptr<mcp::Client> client_;
};

template <class T>
T need(mcp::Result<T> result) {
  REQUIRE_MESSAGE(result, (result ? "" : result.error().message));
  return std::move(*result);
}

inline std::string text_of(const mcp::ContentBlock& block) {
  return std::get<mcp::TextContent>(block.value).text;
}

inline std::string call(mcp::Client& client, const std::string& tool,
                        const Json& arguments = Json::object(),
                        const mcp::CallOptions& options = {}) {
  return text_of(need(client.call_tool(tool, arguments, options)).content.at(0));
}

}  // namespace docs

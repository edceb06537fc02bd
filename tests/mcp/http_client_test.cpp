#include "mcp/http_client.h"

#include <doctest/doctest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "http_support.h"
#include "mcp/client.h"

using namespace gpumcp::mcp;
using namespace gpumcp::mcp::test;

namespace {
Result<std::unique_ptr<Client>> connect(const std::string& url, Era era = Era::automatic,
                                        HttpClientOptions options = {}) {
  auto transport = make_http_transport(url, std::move(options));
  REQUIRE(transport);
  return Client::connect(std::move(*transport), {.era = era});
}
}  // namespace

TEST_CASE("a client lists and calls over HTTP in both eras") {
  Fixture f;
  for (Era era : {Era::automatic, Era::modern, Era::legacy}) {
    auto client = connect(f.http().url(), era);
    REQUIRE_MESSAGE(client, (client ? "" : client.error().message));
    CHECK((*client)->modern() == (era != Era::legacy));
    CHECK((*client)->list_tools()->size() == 3);
    for (int i = 0; i < 20; ++i) {
      auto result = (*client)->call_tool("add", {{"a", i}, {"b", 1}});
      REQUIRE(result);
      CHECK(Json::parse(result->structuredContent)["result"] == i + 1);
    }
    auto unknown = (*client)->call_tool("no_such", Json::object());
    REQUIRE_FALSE(unknown);
    CHECK(unknown.error().code == ErrorCode::invalid_params);
  }
}

TEST_CASE("progress reaches the caller before the result") {
  Fixture f;
  auto client = connect(f.http().url());
  REQUIRE(client);
  std::vector<double> seen;
  auto result = (*client)->call_tool("steps", Json::object(), {.on_progress = [&](const Json& p) {
                                       seen.push_back(p["progress"].get<double>());
                                     }});
  REQUIRE(result);
  CHECK(seen == std::vector<double>{1, 2});
}

TEST_CASE("many calls at once over one transport") {
  Fixture f;
  auto client = connect(f.http().url());
  REQUIRE(client);
  std::vector<std::thread> threads;
  std::atomic<int> right = 0;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 20; ++i) {
        auto result = (*client)->call_tool("add", {{"a", t}, {"b", i}});
        if (result && Json::parse(result->structuredContent)["result"] == t + i) ++right;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(right == 160);
}

TEST_CASE("cancelling a modern call closes its stream, which stops the handler") {
  Fixture f;
  auto client = connect(f.http().url(), Era::modern);
  REQUIRE(client);
  std::stop_source stop;
  std::thread canceller([&] {
    f.entered.wait();
    stop.request_stop();
  });
  auto result = (*client)->call_tool("hold", Json::object(), {.stop_token = stop.get_token()});
  canceller.join();
  REQUIRE_FALSE(result);
  CHECK(result.error().code == ErrorCode::cancelled);
  CHECK(f.cancelled.wait());
  CHECK((*client)->call_tool("add", {{"a", 1}, {"b", 1}}));
}

TEST_CASE("destroying a client ends its calls") {
  Fixture f;
  auto client = connect(f.http().url());
  REQUIRE(client);
  (*client)->request_async("tools/call", R"("name":"hold","arguments":{})",
                           {.on_result = [](auto) {}});
  REQUIRE(f.entered.wait());
  client->reset();
  CHECK(f.cancelled.wait());
}

TEST_CASE("tokens are sent, and their absence is an error that says so") {
  Fixture f({.token = "sesame"});
  auto without = connect(f.http().url());
  REQUIRE_FALSE(without);
  CHECK(static_cast<int>(without.error().code) == 401);
  CHECK(without.error().message.find("bearer token") != std::string::npos);
  CHECK(connect(f.http().url(), Era::automatic, {.token = "sesame"}));
}

TEST_CASE("a server that is not there is an error with its address") {
  std::string url;
  {
    Fixture f;
    url = f.http().url();
  }
  auto client = connect(url);
  REQUIRE_FALSE(client);
  CHECK(static_cast<int>(client.error().code) == kHttpFailed);
  CHECK(client.error().message.find(url) != std::string::npos);
}

TEST_CASE("what is no URL is refused") {
  for (const char* url :
       {"", "localhost:80", "ftp://a/mcp", "http://", "http://a:b/", "http://u@a/"})
    CHECK_FALSE(make_http_transport(url));
}

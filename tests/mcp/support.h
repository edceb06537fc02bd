// What mcp's tests share: a Peer that speaks raw lines to a server in the same process, a reusable
// Gate, and short spellings of requests. A Peer belongs to its test's thread; its destructor ends
// the server's serve().
#pragma once

#include <doctest/doctest.h>

#include <condition_variable>
#include <future>
#include <mutex>
#include <string>
#include <thread>

#include "mcp/server.h"

namespace gpumcp::mcp::test {

constexpr auto kLong = std::chrono::seconds(20);

// Closed until open() is called; wait() says whether that happened in time.
class Gate {
 public:
  void open() {
    std::scoped_lock lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  bool wait() {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kLong, [&] { return open_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false;
};

inline Json json(std::string_view text) {
  auto parsed = parse_json(text);
  if (!parsed) FAIL(parsed.error().message << " in " << std::string(text));
  return *parsed;
}

inline bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != text.npos;
}

// The `_meta` of a 2026-07-28 request, with `more` members (",\"k\":v").
inline std::string modern_meta(std::string_view more = {}) {
  return R"("_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28",)"
         R"("io.modelcontextprotocol/clientCapabilities":{})" +
         std::string(more) + "}";
}

inline std::string request(std::string_view id, std::string_view method,
                           std::string_view params = {}) {
  std::string text =
      R"({"jsonrpc":"2.0","id":)" + std::string(id) + R"(,"method":")" + std::string(method) + '"';
  if (!params.empty()) text += ",\"params\":{" + std::string(params) + "}";
  return text + "}";
}

inline std::string modern(std::string_view id, std::string_view method,
                          std::string_view params = {}, std::string_view more_meta = {}) {
  return request(id, method,
                 std::string(params) + (params.empty() ? "" : ",") + modern_meta(more_meta));
}

inline std::string call(std::string_view id, std::string_view tool,
                        std::string_view arguments = "{}", std::string_view more = {}) {
  return request(id, "tools/call",
                 R"("name":")" + std::string(tool) + R"(","arguments":)" + std::string(arguments) +
                     std::string(more));
}

inline std::string modern_call(std::string_view id, std::string_view tool,
                               std::string_view arguments = "{}", std::string_view more_meta = {}) {
  return modern(id, "tools/call",
                R"("name":")" + std::string(tool) + R"(","arguments":)" + std::string(arguments),
                more_meta);
}

inline std::string cancel(std::string_view id) {
  return R"({"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":)" +
         std::string(id) + "}}";
}

class Peer {
 public:
  explicit Peer(Server& server) {
    auto [mine, theirs] = make_memory_transports();
    transport_ = std::move(mine);
    served_ = std::async(std::launch::async, [&server, far = std::move(theirs)]() mutable {
      server.serve(*far);
      far.reset();
    });
  }
  ~Peer() { close(); }

  void send(std::string_view text) { CHECK(transport_->write(text)); }
  // The next message's text; empty at the end.
  std::string line() {
    auto text = transport_->read();
    return text && *text ? **text : std::string();
  }
  Json next() {
    const std::string text = line();
    if (text.empty()) FAIL("the server closed");
    return json(text);
  }
  Json ask(std::string_view text) {
    send(text);
    return next();
  }
  void initialize(std::string_view version = "2025-11-25") {
    const Json answer =
        ask(request("\"init\"", "initialize",
                    R"("protocolVersion":")" + std::string(version) +
                        R"(","capabilities":{},"clientInfo":{"name":"t","version":"1"})"));
    REQUIRE(answer["result"]["protocolVersion"] == version);
    send(R"({"jsonrpc":"2.0","method":"notifications/initialized"})");
  }
  // Lets serve() end by itself: the peer closes, and waits for it.
  void close() {
    transport_->close();
    if (served_.valid()) served_.get();
  }
  bool served() { return served_.wait_for(kLong) == std::future_status::ready; }

 private:
  std::unique_ptr<Transport> transport_;
  std::future<void> served_;
};

}  // namespace gpumcp::mcp::test

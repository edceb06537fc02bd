// What the HTTP tests speak with: a server on a free port with tools that wait on latches, and a
// peer that writes raw bytes and reads whole responses or single events. Used by a test's own
// threads.
#pragma once

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <chrono>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "mcp/http_server.h"
#include "mcp/protocol.h"
#include "mcp/server.h"

namespace gpumcp::mcp::test {

inline constexpr auto kPatience = std::chrono::seconds(30);

// Something that happens once, or a number of times.
class Happening {
 public:
  void happen();
  bool wait(int times = 1);  // false after kPatience

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int count_ = 0;
};

struct Reply {
  int status = 0;                              // 0: the connection closed without a response
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;
  Json json() const { return Json::parse(body); }
};

// One connection, raw.
class Wire {
 public:
  explicit Wire(int port);
  ~Wire();
  Wire(const Wire&) = delete;
  Wire& operator=(const Wire&) = delete;
  bool send(std::string_view bytes);
  Reply read_head();                        // of the next response; the body follows
  Reply read();                             // a whole response
  std::optional<std::string> read_event();  // the next "data:" of a stream; nullopt: it ended
  struct Event {
    std::string id, type, data;
  };
  std::optional<Event> read_whole_event();  // also one without data; nullopt: the stream ended
  bool read_event_of_new_stream();          // a stream's head and its first event
  std::string rest_of_stream();
  std::string rest();          // all that comes until the server closes
  std::string read_comment();  // the next ":" line of a stream
  bool closed();               // the server closes within kPatience
  void close_writing();
  void close();

 private:
  std::optional<std::string> line();
  std::string bytes(size_t n);
  bool more();
  std::optional<std::string> chunk();
  std::string stream_line();
  int fd_;
  std::string input_, stream_;
  bool stream_ended_ = false;
};

// Texts of requests.
std::string post(std::string_view body, const std::string& extra_headers = "",
                 const std::string& path = "/mcp");
std::string modern(const Json& message,
                   const std::string& extra_headers = "");  // with matching headers
std::string legacy(const Json& message, const std::string& version = "2025-11-25");
Json modern_call(int id, const std::string& tool, Json arguments = Json::object(),
                 Json meta = Json::object());
Json legacy_call(int id, const std::string& tool, Json arguments = Json::object(),
                 Json meta = Json::object());
Json meta_of(Json more = Json::object());

// A running server. Tools: add(a, b); hold(): reports `entered`, waits for `release` or its
// cancellation, then reports `cancelled` or `finished`; steps(): two progress notifications, then
// "done".
class Fixture {
 public:
  explicit Fixture(HttpOptions options = {}, ServerOptions server_options = {.name = "test"});
  ~Fixture();
  int port() const { return http_->port(); }
  HttpServer& http() { return *http_; }
  Server& server() { return server_; }
  Reply ask(const std::string& request) const;  // on a connection of its own

  Happening entered, cancelled, finished;
  void release();

 private:
  std::mutex mutex_;
  std::condition_variable_any released_;
  bool release_ = false;
  Server server_;
  std::unique_ptr<HttpServer> http_;
  std::thread thread_;
};

}  // namespace gpumcp::mcp::test

// HttpSessions: the sessions of one HTTP server, by id (2024-11-05 to 2025-11-25). One begins with
// the answer to `initialize`, or with GET /sse, and ends by DELETE, after idling, or to make room:
// hosts often leave without a word. A session belongs to the principal that began it; to anybody
// else it does not exist. Thread-safe; sessions are shared with the requests that run in them.
// Private to mcp.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "mcp/http_limits.h"
#include "mcp/http_stream.h"
#include "mcp/session.h"

namespace gpumcp::mcp {

class HttpSession {
 public:
  using Clock = std::chrono::steady_clock;
  HttpSession(std::string id, std::string principal, std::string version,
              std::shared_ptr<Session> core, std::shared_ptr<KeptBytes> kept);

  const std::string id, principal, version;
  const std::shared_ptr<Session> core;
  const std::shared_ptr<KeptBytes> kept;

  // The stream of an answer to a POST; the one of GET has number 0.
  std::shared_ptr<HttpStream> make_stream();
  std::shared_ptr<HttpStream> standalone() const { return standalone_; }
  // Of a Last-Event-ID, with the number of that event; nullptr: it is not, or no longer, there.
  std::shared_ptr<HttpStream> find_stream(std::string_view event_id, uint64_t& after) const;
  // Forgets the stream if its client has all of it, and the oldest of those that are over.
  void done_with(const std::shared_ptr<HttpStream>& stream, bool unused = false);
  // Ends its calls and its streams.
  void close();

 private:
  friend class HttpSessions;
  std::shared_ptr<HttpStream> standalone_;
  mutable std::mutex mutex_;  // guards what follows
  std::map<uint64_t, std::shared_ptr<HttpStream>> streams_;
  uint64_t next_stream_ = 1;
  // Guarded by HttpSessions.
  size_t requests_ = 0;  // that run in it, streams included
  Clock::time_point used_ = Clock::now();
};

class HttpSessions {
 public:
  explicit HttpSessions(HttpSessionLimits limits) : limits_(limits) {}
  ~HttpSessions();  // ends them

  // Error: there are too many. Whoever gets a session hands it back with put().
  Result<std::shared_ptr<HttpSession>> begin(std::shared_ptr<Session> core, std::string principal,
                                             std::string version);
  // nullptr: unknown, expired, or somebody else's.
  std::shared_ptr<HttpSession> take(const std::string& id, const std::string& principal);
  void put(const std::shared_ptr<HttpSession>& session);
  void end(const std::shared_ptr<HttpSession>& session);
  size_t size() const;

 private:
  using Expired = std::vector<std::shared_ptr<HttpSession>>;
  Expired sweep(HttpSession::Clock::time_point now);  // with the mutex held

  const HttpSessionLimits limits_;
  const std::shared_ptr<KeptBytes> kept_ = std::make_shared<KeptBytes>();
  mutable std::mutex mutex_;  // guards what follows
  std::map<std::string, std::shared_ptr<HttpSession>> sessions_;
  HttpSession::Clock::time_point swept_ = HttpSession::Clock::now();
};

}  // namespace gpumcp::mcp

// HttpTransport: what http_client.h describes. Private to mcp's http_client*.cpp.
//   http_client.cpp           messages in and out, headers
//   http_client_exchange.cpp  one HTTP exchange; a request's way to its answer, resumption included
//   http_client_session.cpp   sessions of the older versions, their GET stream, HTTP+SSE
// Every exchange runs on a thread of the pool and is a Flight, which end() breaks off.
#pragma once

#include <httplib.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <set>

#include "mcp/http_client.h"
#include "mcp/message.h"
#include "mcp/param_headers.h"
#include "mcp/sse.h"
#include "mcp/thread_pool.h"

namespace gpumcp::mcp {

class HttpTransport final : public Transport {
 public:
  HttpTransport(std::string base, std::string path, HttpClientOptions options);
  ~HttpTransport() override;  // waits at most some seconds for the session's DELETE

  Result<std::optional<std::string>> read() override;
  Result<void> write(std::string_view text) override;
  void close() noexcept override;
  bool carries_headers() const override { return true; }
  void on_renewed(std::function<void()> renewed) override { renewed_ = std::move(renewed); }

 private:
  // What of a message decides its headers.
  struct Outgoing {
    std::string text, method, version, name;
    RequestId id;       // empty: no answer is expected
    RequestId cancels;  // of notifications/cancelled
  };
  // A request on its way, or a stream. The client is there while an exchange runs.
  struct Flight {
    RequestId id = {};
    httplib::Client* client = nullptr;
    std::atomic<bool> ended = false;
    bool answered = false;
    std::function<void()> on_head = {};  // the response has begun
  };
  // What came back.
  struct Reply {
    int status = 0;
    bool events = false, answered = false;
    std::string body, session, network_error, last_id;
    std::optional<std::chrono::milliseconds> retry;
    std::optional<Error> broken;
  };
  // Keeps a flight where close() and end_flight() find it.
  struct Registered {
    Registered(HttpTransport& transport, Flight& flight);
    ~Registered();
    HttpTransport& transport;
    Flight& flight;
  };
  using OnEvent = std::function<void(Reply&, const SseEvent&)>;

  static Outgoing read_outgoing(const Message& message);
  httplib::Headers headers_of(const Outgoing& out, const std::string& session);
  void add_param_headers(httplib::Headers& headers, const Outgoing& out);
  void learn_param_headers(std::string_view result);
  void enqueue(std::string message);

  std::unique_ptr<httplib::Client> take_client();
  void end_locked(Flight& flight);
  void end_flight(const RequestId& id);
  void note_answered(Flight& flight);
  // Returns when the response has ended. `body` is null for GET.
  Reply exchange(Flight& flight, const char* method, const std::string& path,
                 httplib::Headers headers, const std::string* body, const OnEvent& on_event);
  void post(const Outgoing& out);
  void resume(const Outgoing& out, Flight& flight, Reply& reply);
  void deliver(const Outgoing& out, Flight& flight, Reply& reply, std::string text);
  void finish(const Outgoing& out, Flight& flight, Reply& reply);
  bool pause(const Flight& flight, std::chrono::milliseconds time);  // false: it was ended

  std::string session();
  bool renew(const std::string& lost);
  void open_stream();
  void run_stream(const std::string& session);
  void settle_stream();
  void delete_session() noexcept;

  bool open_old_sse();
  void run_old_sse(const std::string& path);
  void post_old(const Outgoing& out);

  const std::string base_, path_;
  const HttpClientOptions options_;
  std::function<void()> renewed_;
  std::mutex renewing_;  // held by who begins a lost session again

  std::mutex mutex_;  // guards what follows
  std::condition_variable arrived_, changed_;
  std::deque<std::string> messages_;
  std::string version_, session_, initialize_;  // initialize_: its params
  RequestId initialize_id_;
  std::map<std::string, std::vector<ParamHeader>> param_headers_;  // by tool
  std::set<Flight*> flights_;
  std::vector<std::unique_ptr<httplib::Client>> idle_;
  enum class Old { no, opening, open, failed } old_ = Old::no;  // HTTP+SSE
  std::string endpoint_;                                        // where its messages go
  bool closed_ = false, stream_settled_ = false;  // the GET stream stands, or there is none
  ThreadPool pool_;  // last: its destructor waits for the exchanges, which use the rest
};

}  // namespace gpumcp::mcp

// What only servers up to 2025-11-25 have: sessions, the GET stream beside the POSTs, and the
// HTTP+SSE pair of 2024-11-05.
#include <fmt/format.h>

#include "mcp/http_client_transport.h"
#include "mcp/http_guards.h"
#include "mcp/json_members.h"
#include "mcp/protocol.h"

namespace gpumcp::mcp {
namespace {

constexpr auto kStreamRetry = std::chrono::milliseconds(1000);
constexpr auto kStreamPatience = std::chrono::milliseconds(250);
constexpr int kMaxFailedOpenings = 5;
constexpr auto kDeleteLimit = std::chrono::seconds(2);

}  // namespace

std::string HttpTransport::session() {
  std::scoped_lock lock(mutex_);
  return session_;
}

// Begins the session again, once however many find it lost. True: there is another one.
bool HttpTransport::renew(const std::string& lost) {
  std::scoped_lock one(renewing_);
  Outgoing out{.method = "initialize", .id = {"\"renewed\""}};
  std::string version;
  {
    std::scoped_lock lock(mutex_);
    if (session_ != lost) return true;
    if (initialize_.empty() || closed_) return false;
    out.text = make_request(out.id, out.method, initialize_);
    version = version_;
  }
  Flight flight{.id = out.id};
  std::string answer;
  Reply reply;
  {
    Registered registered(*this, flight);
    reply = exchange(flight, "POST", path_, headers_of(out, {}), &out.text,
                     [&](Reply& r, const SseEvent& event) {
                       auto message = parse_message(event.data);
                       if (!message || message->id() != out.id) return;
                       answer = event.data;
                       r.answered = true;
                     });
    if (!reply.events) answer = reply.body;
    auto message = parse_message(answer);
    if (reply.status >= 300 || !message || message->kind() != Message::Kind::result) return false;
    auto result = parse_json(message->result());
    // The client knows one version for its whole life.
    if (!result || text_of(*result, "protocolVersion") != version) return false;
    {
      std::scoped_lock lock(mutex_);
      session_ = reply.session;
    }
    const std::string done = make_notification("notifications/initialized", {});
    (void)exchange(
        flight, "POST", path_,
        headers_of({.method = "notifications/initialized", .version = version}, reply.session),
        &done, [](Reply&, const SseEvent&) {});
  }
  open_stream();
  if (renewed_) renewed_();
  return true;
}

void HttpTransport::open_stream() {
  std::string in_use;
  {
    std::scoped_lock lock(mutex_);
    if (closed_ || old_ != Old::no || is_modern_version(version_)) return;
    in_use = session_;
    stream_settled_ = false;
  }
  const bool taken = pool_.submit([this, in_use] {
    run_stream(in_use);
    settle_stream();
  });
  if (!taken) return;
  // So that nothing which the server says about what follows is missed; not for long, since some
  // servers begin their response with the first event.
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, kStreamPatience, [&] { return stream_settled_ || closed_; });
}

void HttpTransport::settle_stream() {
  std::scoped_lock lock(mutex_);
  stream_settled_ = true;
  changed_.notify_all();
}

// Ends when the server offers no stream, when the session is another one, or at close().
void HttpTransport::run_stream(const std::string& in_use) {
  Flight flight;
  flight.on_head = [this] { settle_stream(); };
  Registered registered(*this, flight);
  std::string last_id, version;
  auto retry = kStreamRetry;
  for (int failures = 0; failures < kMaxFailedOpenings;) {
    {
      std::scoped_lock lock(mutex_);
      if (closed_ || session_ != in_use) return;
      version = version_;
    }
    httplib::Headers headers = headers_of({.version = version}, in_use);
    headers.erase("Content-Type");
    headers.erase("Accept");
    headers.emplace("Accept", "text/event-stream");
    if (!last_id.empty()) headers.emplace("Last-Event-ID", last_id);
    Reply reply = exchange(flight, "GET", path_, std::move(headers), nullptr,
                           [&](Reply&, const SseEvent& event) {
                             if (event.type == "message" && parse_message(event.data))
                               enqueue(event.data);
                           });
    if (flight.ended || reply.status >= 400 || (reply.status != 0 && !reply.events)) return;
    if (!reply.last_id.empty()) last_id = reply.last_id;
    if (reply.retry) retry = std::clamp(*reply.retry, kStreamRetry / 10, kStreamRetry * 3600);
    failures = reply.status == 0 ? failures + 1 : 0;
    if (!pause(flight, retry * (1 << failures))) return;
  }
}

void HttpTransport::delete_session() noexcept {
  const std::string in_use = session_;  // nobody else is there any more
  if (in_use.empty() || is_modern_version(version_)) return;
  httplib::Client client(base_);
  client.set_connection_timeout(kDeleteLimit);
  client.set_read_timeout(kDeleteLimit);
  httplib::Headers headers = headers_of({.version = version_}, in_use);
  headers.erase("Content-Type");
  (void)client.Delete(path_, headers);
}

// True: the server's stream is there, and has said where messages go.
bool HttpTransport::open_old_sse() {
  std::vector<std::string> paths = {path_};
  if (path_.ends_with("/mcp")) paths.push_back(path_.substr(0, path_.size() - 3) + "sse");
  for (const std::string& path : paths) {
    {
      std::scoped_lock lock(mutex_);
      if (closed_) return false;
      old_ = Old::opening;
    }
    if (!pool_.submit([this, path] { run_old_sse(path); })) break;
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, options_.connect_timeout,
                      [&] { return closed_ || old_ != Old::opening; });
    if (old_ == Old::open) return true;
    old_ = Old::failed;
  }
  std::scoped_lock lock(mutex_);
  old_ = Old::no;
  return false;
}

// The stream that carries all answers; the transport ends with it.
void HttpTransport::run_old_sse(const std::string& path) {
  Flight flight;
  Registered registered(*this, flight);
  httplib::Headers headers = headers_of({}, {});
  headers.erase("Content-Type");
  headers.erase("Accept");
  headers.emplace("Accept", "text/event-stream");
  bool open = false;
  exchange(flight, "GET", path, std::move(headers), nullptr, [&](Reply&, const SseEvent& event) {
    if (event.type == "message" && open) {
      const auto message = parse_message(event.data);
      if (!message) return;
      if (message->kind() == Message::Kind::result) {
        std::scoped_lock lock(mutex_);
        if (message->id() == initialize_id_)
          (void)scan_json(message->result(), [&](std::string_view key, std::string_view value) {
            if (key == "protocolVersion") version_ = string_of(value);
          });
      }
      return enqueue(event.data);
    }
    if (event.type != "endpoint" || open) return;
    // Messages, with what they carry, go to the same origin only.
    std::string endpoint = event.data;
    if (const size_t mark = endpoint.find("://"); mark != endpoint.npos) {
      const size_t slash = endpoint.find('/', mark + 3);
      const auto origin = parse_origin(endpoint.substr(0, slash)), own = parse_origin(base_);
      endpoint = origin && own && *origin == *own && slash != endpoint.npos ? endpoint.substr(slash)
                                                                            : std::string();
    } else if (!endpoint.starts_with('/')) {
      endpoint = path.substr(0, path.rfind('/') + 1) + endpoint;
    }
    std::scoped_lock lock(mutex_);
    if (endpoint.empty() || endpoint.starts_with("//") || old_ != Old::opening)
      return end_locked(flight);
    endpoint_ = std::move(endpoint);
    old_ = Old::open;
    open = true;
    changed_.notify_all();
  });
  if (open) return close();
  std::scoped_lock lock(mutex_);
  if (old_ == Old::opening) old_ = Old::failed;
  changed_.notify_all();
}

void HttpTransport::post_old(const Outgoing& out) {
  Flight flight{.id = out.id};
  Registered registered(*this, flight);
  std::string endpoint;
  {
    std::scoped_lock lock(mutex_);
    endpoint = endpoint_;
  }
  const Reply reply = exchange(flight, "POST", endpoint, headers_of({.version = out.version}, {}),
                               &out.text, [](Reply&, const SseEvent&) {});
  if (flight.ended || out.id.empty()) return;
  if (reply.status >= 200 && reply.status < 300) return;  // the stream will bring the answer
  const bool refused = reply.status >= 400;
  enqueue(make_error(out.id,
                     {static_cast<ErrorCode>(refused ? reply.status : kHttpFailed),
                      refused ? fmt::format("{}{}: HTTP {}", base_, endpoint, reply.status)
                              : fmt::format("{}{}: {}", base_, endpoint, reply.network_error)}));
}

}  // namespace gpumcp::mcp

// One HTTP exchange, and a request's way to its answer:
//
//   POST ─ JSON ─────────────────────────────▶ delivered
//        ─ events … answer ──────────────────▶ delivered; the rest of the stream is not waited for
//        ─ events, with ids, end (legacy) ─ retry ms ─ GET Last-Event-ID ─ events …
//        ─ 404 to a session ─ initialize again ─ POST
//        ─ anything else ────────────────────▶ the request's error
#include <fmt/format.h>

#include "mcp/http_client_transport.h"
#include "mcp/http_guards.h"
#include "mcp/json_members.h"
#include "mcp/protocol.h"

namespace gpumcp::mcp {
namespace {

constexpr auto kDefaultRetry = std::chrono::milliseconds(1000);
constexpr auto kShortestRetry = std::chrono::milliseconds(50);
constexpr auto kLongestRetry = std::chrono::milliseconds(3'600'000);
constexpr int kMaxFailedGets = 5;      // GETs in a row that gave nothing
constexpr size_t kMaxLingering = 8;  // streams that go on after their answer

bool says_nothing_of_the_era(int status) { return status == 401 || status == 403 || status >= 500; }

}  // namespace

HttpTransport::Registered::Registered(HttpTransport& t, Flight& f) : transport(t), flight(f) {
  std::scoped_lock lock(transport.mutex_);
  if (transport.closed_) flight.ended = true;
  transport.flights_.insert(&flight);
}

HttpTransport::Registered::~Registered() {
  std::scoped_lock lock(transport.mutex_);
  transport.flights_.erase(&flight);
  transport.changed_.notify_all();
}

void HttpTransport::end_locked(Flight& flight) {
  flight.ended = true;
  if (flight.client) flight.client->stop();
  changed_.notify_all();
}

void HttpTransport::end_flight(const RequestId& id) {
  std::scoped_lock lock(mutex_);
  for (Flight* flight : flights_) {
    if (flight->id == id) end_locked(*flight);
  }
}

// A stream should end with its answer; those that do not may not pile up.
void HttpTransport::note_answered(Flight& answered) {
  std::scoped_lock lock(mutex_);
  answered.answered = true;
  size_t lingering = 0;
  for (Flight* flight : flights_) lingering += flight->answered;
  for (Flight* flight : flights_) {
    if (lingering <= kMaxLingering) return;
    if (flight == &answered || !flight->answered) continue;
    end_locked(*flight);
    --lingering;
  }
}

std::unique_ptr<httplib::Client> HttpTransport::take_client() {
  {
    std::scoped_lock lock(mutex_);
    if (!idle_.empty()) {
      auto client = std::move(idle_.back());
      idle_.pop_back();
      return client;
    }
  }
  auto client = std::make_unique<httplib::Client>(base_);
  client->set_keep_alive(true);
  client->set_tcp_nodelay(true);
  client->set_follow_location(false);
  client->set_connection_timeout(options_.connect_timeout);
  client->set_read_timeout(options_.read_timeout);
  client->set_write_timeout(std::chrono::seconds(30));
  return client;
}

HttpTransport::Reply HttpTransport::exchange(Flight& flight, const char* method,
                                             const std::string& path, httplib::Headers headers,
                                             const std::string* body, const OnEvent& on_event) {
  Reply reply;
  auto client = take_client();
  {
    std::scoped_lock lock(mutex_);
    if (flight.ended) return reply;
    flight.client = client.get();
  }
  httplib::Request request;
  request.method = method;
  request.path = path;
  request.headers = std::move(headers);
  // Given piece by piece, so that a flight that ended before it had a socket to shut down is
  // noticed.
  if (body) {
    request.content_length_ = body->size();
    request.content_provider_ = [&](size_t offset, size_t length, httplib::DataSink& sink) {
      return !flight.ended && sink.write(body->data() + offset, length);
    };
  }
  request.response_handler = [&](const httplib::Response& response) {
    reply.status = response.status;
    reply.events = media_type(response.get_header_value("Content-Type")) == "text/event-stream";
    reply.session = response.get_header_value("Mcp-Session-Id");
    if (flight.on_head) flight.on_head();
    return !flight.ended;
  };
  SseParser parser(options_.max_message_bytes);
  request.content_receiver = [&](const char* data, size_t size, uint64_t, uint64_t) {
    if (flight.ended || (reply.events && reply.answered)) return false;
    if (reply.events) {
      auto fed = parser.feed({data, size}, [&](const SseEvent& event) {
        if (!event.data.empty()) on_event(reply, event);
      });
      if (!fed) reply.broken = fed.error();
    } else if (reply.body.size() + size > options_.max_message_bytes) {
      reply.broken = Error{ErrorCode::io_error,
                           fmt::format("the response is longer than the limit of {} bytes",
                                       options_.max_message_bytes)};
    } else {
      reply.body.append(data, size);
    }
    return !reply.broken;
  };
  httplib::Response response;
  httplib::Error error = httplib::Error::Success;
  const bool sent = client->send(request, response, error);
  if (!sent) reply.network_error = httplib::to_string(error);
  reply.last_id = parser.last_id();
  reply.retry = parser.retry();
  std::scoped_lock lock(mutex_);
  flight.client = nullptr;
  if (sent && !flight.ended) idle_.push_back(std::move(client));
  return reply;
}

bool HttpTransport::pause(const Flight& flight, std::chrono::milliseconds time) {
  std::unique_lock lock(mutex_);
  return !changed_.wait_for(lock, time, [&] { return closed_ || flight.ended; });
}

void HttpTransport::post(const Outgoing& out) {
  {
    std::unique_lock lock(mutex_);
    if (old_ == Old::open) {
      lock.unlock();
      return post_old(out);
    }
  }
  Flight flight{.id = out.id};
  Registered registered(*this, flight);
  const OnEvent on_event = [&](Reply& reply, const SseEvent& event) {
    if (event.type == "message") deliver(out, flight, reply, event.data);
  };
  Reply reply;
  for (bool again = false;; again = true) {
    const std::string in_use = session();
    reply = exchange(flight, "POST", path_, headers_of(out, in_use), &out.text, on_event);
    if (flight.ended) return;
    const bool lost = reply.status == 404 && !in_use.empty() && out.method != "initialize" &&
                      !is_modern_version(out.version);
    if (!lost || again || !renew(in_use)) break;
  }
  // 405: no messages are taken here, in whatever words. 400 and 404 without a message of JSON-RPC:
  // it is no MCP that answers.
  const bool unknown_here = reply.status == 405 || ((reply.status == 400 || reply.status == 404) &&
                                                    !parse_message(reply.body));
  if (out.method == "initialize" && unknown_here && open_old_sse()) return post_old(out);
  if (!is_modern_version(out.version) && !out.id.empty()) resume(out, flight, reply);
  if (!flight.ended) finish(out, flight, reply);
}

// Follows a stream that ended before its answer.
void HttpTransport::resume(const Outgoing& out, Flight& flight, Reply& reply) {
  int failures = 0;
  auto retry = kDefaultRetry;
  std::string last_id;
  while (reply.events && !reply.answered && !reply.broken && failures < kMaxFailedGets) {
    if (reply.retry) retry = std::clamp(*reply.retry, kShortestRetry, kLongestRetry);
    if (!reply.last_id.empty()) last_id = reply.last_id;
    if (last_id.empty() || !pause(flight, retry * (1 << failures))) return;
    httplib::Headers headers = headers_of({.version = out.version}, session());
    headers.erase("Content-Type");
    headers.erase("Accept");
    headers.emplace("Accept", "text/event-stream");
    headers.emplace("Last-Event-ID", last_id);
    Reply next = exchange(flight, "GET", path_, std::move(headers), nullptr,
                          [&](Reply& r, const SseEvent& event) {
                            if (event.type == "message") deliver(out, flight, r, event.data);
                          });
    if (flight.ended) return;
    if (next.status >= 400) {
      reply = std::move(next);
      return;
    }
    failures = next.last_id.empty() ? failures + 1 : 0;
    next.events = true;  // no connection this time: there is still something to resume
    reply = std::move(next);
  }
}

// Hands a message on, and notes what it settles.
void HttpTransport::deliver(const Outgoing& out, Flight& flight, Reply& reply, std::string text) {
  auto message = parse_message(std::move(text));
  if (!message) return;
  using Kind = Message::Kind;
  const bool answer = message->kind() == Kind::result || message->kind() == Kind::error;
  if (answer && !out.id.empty() && message->id().empty()) {  // it could not name its request
    reply.answered = true;
    note_answered(flight);
    return enqueue(make_error(out.id, parse_error_object(message->error())));
  }
  if (answer && message->id() == out.id) {
    reply.answered = true;
    note_answered(flight);
  }
  if (message->kind() == Kind::result && message->id() == out.id) {
    if (out.method == "tools/list" && is_modern_version(out.version))
      learn_param_headers(message->result());
    if (out.method == "initialize") {
      auto result = parse_json(message->result());
      std::scoped_lock lock(mutex_);
      if (result) version_ = text_of(*result, "protocolVersion");
      session_ = reply.session;
    }
  }
  enqueue(message->text());
}

void HttpTransport::finish(const Outgoing& out, Flight& flight, Reply& reply) {
  // 401, 403 and 5xx say nothing about the protocol (mcp-spec 1.6), whatever their body holds.
  const bool refused = says_nothing_of_the_era(reply.status);
  if (!reply.events && !reply.body.empty() && !reply.broken && !refused)
    deliver(out, flight, reply, std::move(reply.body));
  if (out.id.empty() || reply.answered) return;
  std::string why;
  int code = kHttpFailed;
  if (reply.broken) {
    why = reply.broken->message;
  } else if (refused) {
    code = reply.status;
    why = fmt::format("{}{}: HTTP {}: {}", base_, path_, reply.status, reply.body.substr(0, 300));
  } else if (reply.status >= 400) {
    // Not what a peer of this era would say: lets the client try the other one.
    code = static_cast<int>(ErrorCode::invalid_request);
    why = fmt::format("{}{}: HTTP {}", base_, path_, reply.status);
  } else if (!reply.network_error.empty()) {
    why = fmt::format("{}{}: {}", base_, path_, reply.network_error);
  } else {
    why = fmt::format("{}{}: HTTP {} without an answer", base_, path_, reply.status);
  }
  enqueue(make_error(out.id, {static_cast<ErrorCode>(code), std::move(why)}));
}

}  // namespace gpumcp::mcp

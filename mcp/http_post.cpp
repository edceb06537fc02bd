// POST of Streamable HTTP: which session serves a message, and what becomes of its answer.
#include <fmt/format.h>

#include <condition_variable>
#include <mutex>
#include <optional>

#include "mcp/http_endpoint.h"
#include "mcp/session_request.h"

namespace gpumcp::mcp {
namespace {

HttpClaims claims_of(const HttpHead& head) {
  HttpClaims claims{head.find("mcp-protocol-version"), head.find("mcp-method"), std::nullopt, {}};
  if (auto name = head.find("mcp-name"))
    claims.name = decode_header_value(*name);  // not strict: as if absent
  constexpr std::string_view kParam = "mcp-param-";
  for (auto& [key, value] : head.headers) {
    if (!key.starts_with(kParam)) continue;
    auto [it, fresh] = claims.params.emplace(key.substr(kParam.size()), value);
    if (!fresh) (it->second += ", ") += value;
  }
  return claims;
}

// The answer to a request that names no session: a successful `initialize` begins one.
class Opening final : public ReplySink {
 public:
  Opening(HttpSessions& sessions, std::shared_ptr<Session> core, std::string principal,
          std::shared_ptr<HttpExchange> exchange)
      : sessions_(sessions),
        core_(std::move(core)),
        principal_(std::move(principal)),
        exchange_(std::move(exchange)) {}
  void notify(std::string message) override { exchange_->notify(std::move(message)); }
  void respond(std::string message, std::optional<ErrorCode> code) override {
    if (refused_)
      exchange_->refuse(503, make_error({}, *refused_, true), {{"Retry-After", "60"}});
    else
      exchange_->respond(std::move(message), code);
  }
  void settled(bool modern) override { exchange_->settled(modern); }
  void dropped() override { exchange_->dropped(); }
  void opened(const std::string& version) override {
    auto session = sessions_.begin(core_.lock(), principal_, version);
    if (!session) {
      refused_ = std::move(session.error());
      return;
    }
    (*session)->core->attach((*session)->standalone());
    exchange_->add_headers({{"Mcp-Session-Id", (*session)->id}});
    sessions_.put(*session);
  }

 private:
  HttpSessions& sessions_;
  const std::weak_ptr<Session> core_;
  const std::string principal_;
  const std::shared_ptr<HttpExchange> exchange_;
  std::optional<Error> refused_;
};

// What a connection's thread owes while its request is served: to see that the client has left, and
// to keep a long answer alive. While that thread runs a handler that takes long, a stand-in does
// it.
class Waiting {
 public:
  // A session has other calls than this one: they end with the session, or with the server.
  Waiting(HttpExchange& exchange, const HttpConnection& connection, Session& core, bool in_session)
      : exchange_(exchange), connection_(connection), core_(core), in_session_(in_session) {}
  Waiting(const Waiting&) = delete;
  Waiting& operator=(const Waiting&) = delete;

  // True: the connection is fit for more.
  bool finish() {
    if (!duty.given_away) return wait();
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return fit_.has_value(); });
    return *fit_;
  }

  StandIns::Duty duty{.perform = [this] {
    const bool fit = wait();
    std::scoped_lock lock(mutex_);
    fit_ = fit;
    changed_.notify_all();
  }};

 private:
  bool wait() {
    return exchange_.wait([this] {
      if (!in_session_ || connection_.stopping()) core_.cancel_all();
    });
  }

  HttpExchange& exchange_;
  const HttpConnection& connection_;
  Session& core_;
  const bool in_session_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<bool> fit_;
};

bool is_initialize(std::string_view message) {
  std::string_view method;
  (void)scan_json(message, [&](std::string_view key, std::string_view value) {
    if (key == "method") method = value;
  });
  return method == "\"initialize\"";
}

}  // namespace

bool HttpEndpoint::post(HttpConnection& connection, const HttpHead& head) const {
  const Accepts accepts = parse_accept(head.value("accept"));
  if (!accepts.json && !accepts.events)
    return reply_error(
        connection, head, 406,
        {ErrorCode::invalid_request, "Accept must name application/json and text/event-stream"});
  std::string body;
  if (!read_json(connection, head, body)) return false;
  // The body has been read: the connection stays fit whatever is answered.
  HttpHead done = head;
  done.content_length = 0;
  done.chunked = false;
  const HttpClaims claims = claims_of(head);
  const auto& version = claims.protocol_version;
  const bool known = !version || is_supported_version(*version);
  const auto id = head.find("mcp-session-id");
  // The body decides; what names 2026-07-28 there, or in the header at least, knows no sessions.
  const bool modern = (version && known && is_modern_version(*version)) ||
                      ((id || options_.require_session) && claims_modern(body));
  std::shared_ptr<HttpSession> session;
  if (id && !modern) {
    session = sessions_.take(*id, principal_of(head));
    if (!session) return no_such_session(connection, done);
  } else if (options_.require_session && !modern && !is_initialize(body)) {
    return reply_error(connection, done, 400,
                       {ErrorCode::invalid_request,
                        "an Mcp-Session-Id is needed: begin a session with initialize"});
  }
  struct Put {
    HttpSessions& sessions;
    const std::shared_ptr<HttpSession>& session;
    ~Put() {
      if (session) sessions.put(session);
    }
  } put{sessions_, session};
  if (session && !known)
    return reply_error(connection, done, 400,
                       {ErrorCode::invalid_request,
                        fmt::format("MCP-Protocol-Version \"{}\" is not supported; this session's "
                                    "is {}",
                                    version->substr(0, 40), session->version)});
  auto exchange = make_exchange(connection, head, false);
  if (claims.method == "subscriptions/listen" && !exchange->takes_events())
    return reply_error(connection, done, 406,
                       {ErrorCode::invalid_request,
                        "subscriptions/listen is answered by an event stream: Accept must name "
                        "text/event-stream, in HTTP/1.1"});
  std::shared_ptr<Session> core;
  std::shared_ptr<HttpStream> stream;
  std::shared_ptr<ReplySink> sink;
  if (session) {
    core = session->core;
    sink = stream = session->make_stream();
    stream->attach(exchange);
  } else {
    core = server_.make_session();
    core->set_principal(principal_of(head));
    sink = std::make_shared<Opening>(sessions_, core, principal_of(head), exchange);
  }
  Waiting waiting(*exchange, connection, *core, session != nullptr);
  if (core->receive(std::move(body), sink, &claims, &waiting.duty) ==
      Session::Received::notification) {
    if (stream) session->done_with(stream, true);
    if (known) return reply(connection, done, {202, ""});
    return reply_error(connection, done, 400,
                       {ErrorCode::invalid_request, "MCP-Protocol-Version is not supported"});
  }
  const bool fit = waiting.finish();
  if (stream) {
    stream->detach(exchange.get());
    session->done_with(stream);
  }
  return fit;
}

}  // namespace gpumcp::mcp

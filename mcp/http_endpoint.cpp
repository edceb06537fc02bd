#include "mcp/http_endpoint.h"

#include <fmt/format.h>

#include <algorithm>

#include "mcp/sealer.h"

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

bool is_batch(std::string_view body) {
  const size_t first = body.find_first_not_of(" \t\r\n");
  return first != body.npos && body[first] == '[';
}

bool claims_modern(const Json& message) {
  if (!message.is_object()) return false;
  auto params = message.find("params");
  if (params == message.end() || !params->is_object()) return false;
  auto meta = params->find("_meta");
  return meta != params->end() && meta->is_object() && meta->contains(kMetaProtocolVersion);
}

// Collects the answers to a batch; the last one sends them all. Notifications go out as they come.
class Batch : public std::enable_shared_from_this<Batch> {
 public:
  Batch(std::shared_ptr<ReplySink> exchange, size_t open)
      : exchange_(std::move(exchange)), open_(open) {}

  std::shared_ptr<ReplySink> sink() { return std::make_shared<Sink>(shared_from_this()); }
  // One message is dealt with; `answer` is empty for notifications.
  void close_one(const std::string& answer) {
    std::unique_lock lock(mutex_);
    if (!answer.empty()) (answers_ += answers_.empty() ? "[" : ",") += answer;
    if (--open_) return;
    if (answers_.empty()) {
      lock.unlock();
      return exchange_->dropped();  // every call was cancelled: nothing will come
    }
    answers_ += ']';
    std::string all = std::move(answers_);
    lock.unlock();
    exchange_->respond(std::move(all), std::nullopt);
  }

 private:
  struct Sink final : ReplySink {
    explicit Sink(std::shared_ptr<Batch> b) : batch(std::move(b)) {}
    void notify(std::string message) override { batch->exchange_->notify(std::move(message)); }
    void respond(std::string message, std::optional<ErrorCode>) override {
      batch->close_one(message);
    }
    void dropped() override { batch->close_one({}); }
    std::shared_ptr<Batch> batch;
  };
  const std::shared_ptr<ReplySink> exchange_;
  std::mutex mutex_;
  size_t open_;
  std::string answers_;
};

// Whose request it is, as far as HTTP tells: never the token itself.
std::string principal_of(const HttpHead& head) {
  const auto authorization = head.find("authorization");
  return authorization ? sha256_hex(*authorization) : "";
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
    exchange_->set_headers({{"Mcp-Session-Id", (*session)->id}});
    sessions_.put(*session);
  }

 private:
  HttpSessions& sessions_;
  const std::weak_ptr<Session> core_;
  const std::string principal_;
  const std::shared_ptr<HttpExchange> exchange_;
  std::optional<Error> refused_;
};

// HTTP+SSE: everything goes out on the one stream.
struct PairSink final : ReplySink {
  explicit PairSink(std::shared_ptr<HttpStream> s) : stream(std::move(s)) {}
  void notify(std::string message) override { stream->notify(std::move(message)); }
  void respond(std::string message, std::optional<ErrorCode>) override {
    stream->notify(std::move(message));
  }
  const std::shared_ptr<HttpStream> stream;
};

// Whether a message may come without a session where sessions are required.
bool needs_session(const std::string& body) {
  auto message = parse_json(body);
  if (!message || !message->is_object()) return true;
  return !claims_modern(*message) && message->value("method", "") != "initialize";
}

}  // namespace

HttpEndpoint::HttpEndpoint(Server& server, const HttpOptions& options, HttpGuard guard)
    : server_(server), options_(options), guard_(std::move(guard)), sessions_(options.sessions) {}

void HttpEndpoint::refuse(HttpConnection& connection, int status, std::string_view why) {
  const std::string body = fmt::format("{}\n", why.empty() ? status_text(status) : why);
  connection.write(response_head(status, "text/plain; charset=utf-8", body.size(), false), body);
  connection.linger();
}

bool HttpEndpoint::reply(HttpConnection& connection, const HttpHead& head, HttpReply reply) const {
  // An unread body would be taken for the next request: an attacker's page could hide one in it.
  const bool keep = head.keep_alive && !head.has_body();
  const std::string response =
      response_head(reply.status, reply.content_type, reply.body.size(), keep, reply.headers);
  const bool sent =
      connection.write(response, head.method == "HEAD" ? std::string_view() : reply.body);
  if (sent && !keep) connection.linger();
  return sent && keep;
}

bool HttpEndpoint::reply_error(HttpConnection& connection, const HttpHead& head, int status,
                               const Error& error, HttpHeaders headers) const {
  return reply(connection, head,
               {status, "application/json", make_error({}, error), std::move(headers)});
}

bool HttpEndpoint::serve(HttpConnection& connection, const HttpHead& head) const {
  const auto host = parse_authority(head.value("host"));
  if (!host || !guard_.host_allowed(*host)) {
    return reply_error(connection, head, 403,
                       {ErrorCode::invalid_request,
                        fmt::format("Host \"{}\" is not this server; add names with --allow-host",
                                    head.value("host").substr(0, 80))});
  }
  if (auto origin = head.find("origin"); origin && !guard_.origin_allowed(*origin, *host)) {
    return reply_error(connection, head, 403,
                       {ErrorCode::invalid_request,
                        fmt::format("Origin \"{}\" is not allowed; add origins with --allow-origin",
                                    origin->substr(0, 80))});
  }
  const bool stream = !options_.sse_path.empty() && head.path == options_.sse_path;
  const bool messages = !options_.messages_path.empty() && head.path == options_.messages_path;
  if (head.path != options_.path && !stream && !messages) return get(connection, head);
  if (!guard_.token_accepted(head.value("authorization"))) {
    return reply_error(connection, head, 401,
                       {ErrorCode::invalid_request, "a bearer token is needed"},
                       {{"WWW-Authenticate", "Bearer realm=\"gpumcp\""}});
  }
  const bool gets = head.method == "GET", posts = head.method == "POST";
  if (stream && gets) return open_pair(connection, head);
  if (messages && posts) return post_pair(connection, head);
  if (!stream && !messages) {
    if (posts) return post(connection, head);
    if (head.find("mcp-session-id") || options_.require_session) {
      if (gets) return get_stream(connection, head);
      if (head.method == "DELETE") return end_session(connection, head);
    }
  }
  const std::string_view allowed = stream ? "GET" : messages ? "POST" : "POST, GET, DELETE";
  return reply_error(
      connection, head, 405,
      {ErrorCode::invalid_request,
       fmt::format("{} takes {}{}", head.path, allowed,
                   stream || messages ? "" : "; GET and DELETE with an Mcp-Session-Id")},
      {{"Allow", std::string(allowed)}});
}

bool HttpEndpoint::get(HttpConnection& connection, const HttpHead& head) const {
  const bool reads = head.method == "GET" || head.method == "HEAD";
  auto found =
      std::find_if(options_.get.begin(), options_.get.end(), [&](const HttpOptions::Get& one) {
        return one.path.ends_with('/') ? head.path.starts_with(one.path) : head.path == one.path;
      });
  const bool known =
      found != options_.get.end() || head.path == "/healthz" || head.path == "/readyz";
  if (!known) return reply(connection, head, {404, "text/plain; charset=utf-8", "no such path\n"});
  if (!reads)
    return reply(connection, head,
                 {405, "text/plain; charset=utf-8", "GET only\n", {{"Allow", "GET, HEAD"}}});
  if (found != options_.get.end()) {
    if (!found->open && !guard_.token_accepted(head.value("authorization")))
      return reply(connection, head,
                   {401,
                    "text/plain; charset=utf-8",
                    "a bearer token is needed\n",
                    {{"WWW-Authenticate", "Bearer realm=\"gpumcp\""}}});
    try {
      return reply(connection, head, found->handler(head));
    } catch (const std::exception& e) {
      return reply(connection, head,
                   {500, "text/plain; charset=utf-8", fmt::format("{}\n", e.what())});
    }
  }
  if (head.path == "/healthz" || !options_.ready) return reply(connection, head, {.body = "ok\n"});
  const Json state = options_.ready();
  const bool ready = !state.is_object() || state.value("ready", true);
  return reply(connection, head, {ready ? 200 : 503, "application/json", to_text(state)});
}

std::shared_ptr<HttpExchange> HttpEndpoint::make_exchange(HttpConnection& connection,
                                                          const HttpHead& head, bool held) const {
  const Accepts accepts = held ? Accepts{false, true} : parse_accept(head.value("accept"));
  return std::make_shared<HttpExchange>(
      connection,
      ExchangeOptions{
          .accepts = head.minor_version == 0 && accepts.json ? Accepts{true, false} : accepts,
          .keep_alive = head.keep_alive && (head.minor_version == 1 || accepts.json),
          .chunked = head.minor_version == 1,
          .stream_after = options_.stream_after,
          .comment_every = options_.comment_every,
          .drain = held ? std::chrono::milliseconds(0) : server_.options().drain,
          .held = held});
}

bool HttpEndpoint::read_json(HttpConnection& connection, const HttpHead& head,
                             std::string& body) const {
  std::string_view why;
  if (media_type(head.value("content-type")) != "application/json")
    why = "Content-Type must be application/json";
  else if (head.find("content-encoding").value_or("identity") != "identity")
    why = "the body must not be compressed";
  if (!why.empty()) {
    reply_error(connection, head, 415, {ErrorCode::invalid_request, std::string(why)});
    return false;
  }
  const int status = connection.read_body(head, body);
  if (status > 0) refuse(connection, status);
  return status == 0;
}

bool HttpEndpoint::no_such_session(HttpConnection& connection, const HttpHead& head) const {
  return reply_error(connection, head, 404,
                     {ErrorCode::invalid_request,
                      "no such session: it ended, idled for too long or is not yours; begin a new "
                      "one with initialize"});
}

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
  const bool modern = version && known && is_modern_version(*version);
  const auto id = head.find("mcp-session-id");
  std::shared_ptr<HttpSession> session;
  if (id && !modern) {
    session = sessions_.take(*id, principal_of(head));
    if (!session) return no_such_session(connection, done);
  } else if (options_.require_session && !modern && needs_session(body)) {
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
  if (is_batch(body)) return post_batch(connection, head, body, exchange, session);
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
  if (core->receive(std::move(body), sink, &claims) == Session::Received::notification) {
    if (stream) session->done_with(stream, true);
    const std::string why =
        known
            ? ""
            : make_error({}, {ErrorCode::invalid_request, "MCP-Protocol-Version is not supported"});
    return connection.write(response_head(known ? 202 : 400, known ? "" : "application/json",
                                          why.size(), done.keep_alive),
                            why) &&
           done.keep_alive;
  }
  const bool fit = exchange->wait([&] { core->cancel_all(); });
  if (stream) {
    stream->detach(exchange.get());
    session->done_with(stream);
  }
  return fit;
}

bool HttpEndpoint::get_stream(HttpConnection& connection, const HttpHead& head) const {
  const auto id = head.find("mcp-session-id");
  if (!id)
    return reply_error(connection, head, 400,
                       {ErrorCode::invalid_request, "an Mcp-Session-Id is needed"});
  if (!parse_accept(head.value("accept")).events)
    return reply_error(connection, head, 406,
                       {ErrorCode::invalid_request, "Accept must name text/event-stream"});
  auto session = sessions_.take(*id, principal_of(head));
  if (!session) return no_such_session(connection, head);
  auto exchange = make_exchange(connection, head, true);
  exchange->settled(false);
  auto stream = session->standalone();
  const auto last = head.find("last-event-id");
  bool fit = false;
  uint64_t after = 0;
  if (last && !(stream = session->find_stream(*last, after))) {
    fit = reply_error(connection, head, 400,
                      {ErrorCode::invalid_request,
                       fmt::format("Last-Event-ID \"{}\": that stream is not kept any more",
                                   last->substr(0, 40))});
  } else if (!stream->attach(exchange, last ? HttpStream::Replay::yes : HttpStream::Replay::no,
                             after)) {
    fit = reply_error(connection, head, 409,
                      {ErrorCode::invalid_request, "this session's stream is open already"});
  } else {
    exchange->open_stream();
    fit = exchange->wait([] {});
    stream->detach(exchange.get());
    if (last) session->done_with(stream);
  }
  sessions_.put(session);
  return fit;
}

bool HttpEndpoint::end_session(HttpConnection& connection, const HttpHead& head) const {
  const auto id = head.find("mcp-session-id");
  if (!id)
    return reply_error(connection, head, 400,
                       {ErrorCode::invalid_request, "an Mcp-Session-Id is needed"});
  auto session = sessions_.take(*id, principal_of(head));
  if (!session) return no_such_session(connection, head);
  sessions_.end(session);
  return reply(connection, head, {});
}

// HTTP+SSE: the session lives as long as this stream.
bool HttpEndpoint::open_pair(HttpConnection& connection, const HttpHead& head) const {
  if (!parse_accept(head.value("accept")).events)
    return reply_error(connection, head, 406,
                       {ErrorCode::invalid_request, "Accept must name text/event-stream"});
  auto core = server_.make_session();
  core->set_principal(principal_of(head));
  auto session = sessions_.begin(core, principal_of(head), "2024-11-05");
  if (!session) return reply_error(connection, head, 503, session.error(), {{"Retry-After", "60"}});
  auto exchange = make_exchange(connection, head, true);
  exchange->settled(false);
  auto stream = (*session)->standalone();
  stream->attach(exchange);
  exchange->set_prologue(fmt::format("event: endpoint\ndata: {}?sessionId={}\n\n",
                                     options_.messages_path, (*session)->id));
  exchange->open_stream();
  core->attach(stream);
  const bool fit = exchange->wait([] {});
  stream->detach(exchange.get());
  sessions_.end(*session);
  return fit;
}

bool HttpEndpoint::post_pair(HttpConnection& connection, const HttpHead& head) const {
  std::string body;
  if (!read_json(connection, head, body)) return false;
  HttpHead done = head;
  done.content_length = 0;
  done.chunked = false;
  constexpr std::string_view kId = "sessionId=";
  const size_t at = head.query.find(kId);
  auto session = at == head.query.npos
                     ? nullptr
                     : sessions_.take(head.query.substr(at + kId.size(),
                                                        head.query.find('&', at) - at - kId.size()),
                                      principal_of(head));
  if (!session) return no_such_session(connection, done);
  session->core->receive(std::move(body), std::make_shared<PairSink>(session->standalone()));
  sessions_.put(session);
  return reply(connection, done, {202, "text/plain; charset=utf-8", "Accepted\n"});
}

// 2025-03-26 only; those who name a later version, or claim 2026-07-28 in an element, get an error.
bool HttpEndpoint::post_batch(HttpConnection& connection, const HttpHead& head,
                              const std::string& body,
                              const std::shared_ptr<HttpExchange>& exchange,
                              const std::shared_ptr<HttpSession>& session) const {
  auto refuse_batch = [&](const Error& error) {
    exchange->respond(make_error({}, error), error.code);
    return exchange->wait([] {});
  };
  const HttpClaims claims = claims_of(head);
  auto messages = parse_json(body);
  if (!messages) return refuse_batch(messages.error());
  const bool modern = std::any_of(messages->begin(), messages->end(), claims_modern);
  if (modern || claims.protocol_version.value_or("2025-03-26") > "2025-03-26" ||
      (session && session->version != "2025-03-26"))
    return refuse_batch({ErrorCode::invalid_request,
                         "batches exist in 2025-03-26 only: send one message at a time"});
  if (messages->empty() || messages->size() > options_.max_batch)
    return refuse_batch(
        {ErrorCode::invalid_request, fmt::format("a batch has 1 to {} messages, this one {}",
                                                 options_.max_batch, messages->size())});
  exchange->settled(false);
  const auto core = session ? session->core : server_.make_session();
  if (!session) core->set_principal(principal_of(head));
  std::shared_ptr<HttpStream> stream;
  std::shared_ptr<ReplySink> sink = exchange;
  if (session) {
    sink = stream = session->make_stream();
    stream->attach(exchange);
  }
  // One more than the messages, closed below: whether any of them asks for an answer shows only
  // then.
  auto batch = std::make_shared<Batch>(sink, messages->size() + 1);
  bool answers = false;
  for (const Json& message : *messages) {
    const auto received = core->receive(to_text(message), batch->sink(), &claims);
    if (received == Session::Received::notification)
      batch->close_one({});
    else
      answers = true;
  }
  batch->close_one({});
  if (!answers) {
    if (stream) session->done_with(stream, true);
    const bool keep = head.keep_alive;
    return connection.write(response_head(202, "", 0, keep)) && keep;
  }
  const bool fit = exchange->wait([&] { core->cancel_all(); });
  if (stream) {
    stream->detach(exchange.get());
    session->done_with(stream);
  }
  return fit;
}

}  // namespace gpumcp::mcp

#include "mcp/http_endpoint.h"

#include <fmt/format.h>

#include <algorithm>

namespace gpumcp::mcp {
namespace {

HttpClaims claims_of(const HttpHead& head) {
  HttpClaims claims{head.find("mcp-protocol-version"), head.find("mcp-method"), std::nullopt};
  if (auto name = head.find("mcp-name"))
    claims.name = decode_header_value(*name);  // not strict: as if absent
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
  Batch(std::shared_ptr<HttpExchange> exchange, size_t open)
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
  const std::shared_ptr<HttpExchange> exchange_;
  std::mutex mutex_;
  size_t open_;
  std::string answers_;
};

}  // namespace

HttpEndpoint::HttpEndpoint(Server& server, const HttpOptions& options, HttpGuard guard)
    : server_(server), options_(options), guard_(std::move(guard)) {}

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
  if (head.path != options_.path) return get(connection, head);
  if (!guard_.token_accepted(head.value("authorization"))) {
    return reply_error(connection, head, 401,
                       {ErrorCode::invalid_request, "a bearer token is needed"},
                       {{"WWW-Authenticate", "Bearer realm=\"gpumcp\""}});
  }
  if (head.method != "POST") {
    return reply_error(
        connection, head, 405,
        {ErrorCode::invalid_request, fmt::format("{} takes POST only", options_.path)},
        {{"Allow", "POST"}});
  }
  return post(connection, head);
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

bool HttpEndpoint::post(HttpConnection& connection, const HttpHead& head) const {
  if (media_type(head.value("content-type")) != "application/json")
    return reply_error(connection, head, 415,
                       {ErrorCode::invalid_request, "Content-Type must be application/json"});
  if (head.find("content-encoding").value_or("identity") != "identity")
    return reply_error(connection, head, 415,
                       {ErrorCode::invalid_request, "the body must not be compressed"});
  const Accepts accepts = parse_accept(head.value("accept"));
  if (!accepts.json && !accepts.events)
    return reply_error(
        connection, head, 406,
        {ErrorCode::invalid_request, "Accept must name application/json and text/event-stream"});
  std::string body;
  if (const int status = connection.read_body(head, body)) {
    if (status > 0) refuse(connection, status);
    return false;
  }
  const bool keep_alive = head.keep_alive && (head.minor_version == 1 || accepts.json);
  auto exchange = std::make_shared<HttpExchange>(
      connection,
      ExchangeOptions{
          .accepts = head.minor_version == 0 && accepts.json ? Accepts{true, false} : accepts,
          .keep_alive = keep_alive,
          .chunked = head.minor_version == 1,
          .stream_after = options_.stream_after,
          .comment_every = options_.comment_every,
          .drain = server_.options().drain});
  if (is_batch(body)) return post_batch(connection, head, body, exchange);
  const HttpClaims claims = claims_of(head);
  auto session = server_.make_session();
  if (session->receive(std::move(body), exchange, &claims) == Session::Received::notification) {
    const auto& version = claims.protocol_version;
    const bool known = !version || is_supported_version(*version);
    const std::string why =
        known
            ? ""
            : make_error({}, {ErrorCode::invalid_request, "MCP-Protocol-Version is not supported"});
    return connection.write(response_head(known ? 202 : 400, known ? "" : "application/json",
                                          why.size(), keep_alive),
                            why) &&
           keep_alive;
  }
  return exchange->wait([&] { session->cancel_all(); });
}

// 2025-03-26 only; those who name a later version, or claim 2026-07-28 in an element, get an error.
bool HttpEndpoint::post_batch(HttpConnection& connection, const HttpHead& head,
                              const std::string& body,
                              const std::shared_ptr<HttpExchange>& exchange) const {
  auto refuse_batch = [&](const Error& error) {
    exchange->respond(make_error({}, error), error.code);
    return exchange->wait([] {});
  };
  const HttpClaims claims = claims_of(head);
  auto messages = parse_json(body);
  if (!messages) return refuse_batch(messages.error());
  const bool modern = std::any_of(messages->begin(), messages->end(), claims_modern);
  if (modern || claims.protocol_version.value_or("2025-03-26") > "2025-03-26")
    return refuse_batch({ErrorCode::invalid_request,
                         "batches exist in 2025-03-26 only: send one message at a time"});
  if (messages->empty() || messages->size() > options_.max_batch)
    return refuse_batch(
        {ErrorCode::invalid_request, fmt::format("a batch has 1 to {} messages, this one {}",
                                                 options_.max_batch, messages->size())});
  exchange->settled(false);
  auto session = server_.make_session();
  // One more than the messages, closed below: whether any of them asks for an answer shows only
  // then.
  auto batch = std::make_shared<Batch>(exchange, messages->size() + 1);
  bool answers = false;
  for (const Json& message : *messages) {
    const auto received = session->receive(to_text(message), batch->sink(), &claims);
    if (received == Session::Received::notification)
      batch->close_one({});
    else
      answers = true;
  }
  batch->close_one({});
  if (!answers) {
    const bool keep = head.keep_alive;
    return connection.write(response_head(202, "", 0, keep)) && keep;
  }
  return exchange->wait([&] { session->cancel_all(); });
}

}  // namespace gpumcp::mcp

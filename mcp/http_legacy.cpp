// What only the older versions have over HTTP: a session's own stream and its end (GET and DELETE,
// up to 2025-11-25), and HTTP+SSE, the pair of endpoints of 2024-11-05.
#include <fmt/format.h>

#include <mutex>
#include <utility>
#include <vector>

#include "mcp/http_endpoint.h"

namespace gpumcp::mcp {
namespace {

// HTTP+SSE: everything goes out on the one stream; but what is no message at all is answered where
// it was posted. Which of both it is, receive() says only when it has returned: what is answered
// until then waits.
class PairSink final : public ReplySink {
 public:
  explicit PairSink(std::shared_ptr<HttpStream> stream) : stream_(std::move(stream)) {}
  void notify(std::string message) override { stream_->notify(std::move(message)); }
  void respond(std::string message, std::optional<ErrorCode>) override {
    std::scoped_lock lock(mutex_);
    if (receiving_)
      early_.push_back(std::move(message));
    else
      stream_->notify(std::move(message));
  }
  void settled(bool) override { go_on(); }

  // It was a message.
  void go_on() {
    std::scoped_lock lock(mutex_);
    receiving_ = false;
    for (std::string& message : std::exchange(early_, {})) stream_->notify(std::move(message));
  }
  std::string refusal() const {
    std::scoped_lock lock(mutex_);
    return early_.empty() ? "" : early_.front();
  }

 private:
  const std::shared_ptr<HttpStream> stream_;
  mutable std::mutex mutex_;  // guards what follows
  bool receiving_ = true;
  std::vector<std::string> early_;
};

}  // namespace

bool HttpEndpoint::no_such_session(HttpConnection& connection, const HttpHead& head) const {
  return reply_error(connection, head, 404,
                     {ErrorCode::invalid_request,
                      "no such session: it ended, idled for too long or is not yours; begin a new "
                      "one with initialize"});
}

// The session that GET or DELETE names, taken; nullptr: there is none, and `fit` is what is left.
std::shared_ptr<HttpSession> HttpEndpoint::named_session(HttpConnection& connection,
                                                         const HttpHead& head, bool& fit) const {
  const auto id = head.find("mcp-session-id");
  const auto version = head.find("mcp-protocol-version");
  if (!id) {
    fit = reply_error(connection, head, 400,
                      {ErrorCode::invalid_request, "an Mcp-Session-Id is needed"});
    return nullptr;
  }
  if (version && !is_supported_version(*version)) {
    fit = reply_error(
        connection, head, 400,
        {ErrorCode::invalid_request,
         fmt::format("MCP-Protocol-Version \"{}\" is not supported", version->substr(0, 40))});
    return nullptr;
  }
  auto session = sessions_.take(*id, principal_of(head));
  if (!session) fit = no_such_session(connection, head);
  return session;
}

bool HttpEndpoint::get_stream(HttpConnection& connection, const HttpHead& head) const {
  if (!parse_accept(head.value("accept")).events)
    return reply_error(connection, head, 406,
                       {ErrorCode::invalid_request, "Accept must name text/event-stream"});
  bool fit = false;
  auto session = named_session(connection, head, fit);
  if (!session) return fit;
  auto exchange = make_exchange(connection, head, true);
  exchange->settled(false);
  auto stream = session->standalone();
  const auto last = head.find("last-event-id");
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
  bool fit = false;
  auto session = named_session(connection, head, fit);
  if (!session) return fit;
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
  core->attach(stream);  // before the client knows where to post: what changes then is told
  exchange->open_stream();
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
  auto sink = std::make_shared<PairSink>(session->standalone());
  const auto received = session->core->receive(std::move(body), sink);
  sessions_.put(session);
  if (received == Session::Received::broken)
    return reply(connection, done, {400, "application/json", sink->refusal()});
  sink->go_on();
  return reply(connection, done, {202, "text/plain; charset=utf-8", "Accepted\n"});
}

}  // namespace gpumcp::mcp

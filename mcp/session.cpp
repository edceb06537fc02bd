#include "mcp/session.h"

#include <fmt/format.h>

#include "mcp/call.h"
#include "mcp/server_impl.h"
#include "mcp/session_request.h"
#include "mcp/subscriptions.h"

namespace gpumcp::mcp {
Session::Session(std::shared_ptr<Server::Impl> server)
    : server_(std::move(server)), legacy_(server_->nobody) {
  ++server_->connections;
}
Session::~Session() {
  server_->subscriptions.detach(this);
  --server_->connections;
}

void Session::attach(std::shared_ptr<ReplySink> unsolicited) {
  server_->subscriptions.attach(shared_from_this());
  std::scoped_lock lock(mutex_);
  unsolicited_ = std::move(unsolicited);
}

void Session::send(std::string message) {
  std::shared_ptr<ReplySink> sink;
  {
    std::scoped_lock lock(mutex_);
    sink = unsolicited_;
  }
  if (sink) sink->notify(std::move(message));
}

void Session::tell(std::string_view method, std::string_view params) {
  if (legacy_version()) send(make_notification(method, params));
}

void Session::tell_updated(const std::string& uri) {
  {
    std::scoped_lock lock(mutex_);
    if (!subscribed_.contains(uri)) return;
  }
  std::string params = R"({"uri":)";
  append_string(params, uri);
  send(make_notification("notifications/resources/updated", params + "}"));
}

Session::Received Session::receive(std::string text, std::shared_ptr<ReplySink> sink,
                                   const HttpClaims* http, StandIns::Duty* duty) {
  if (text.size() > server_->options.max_message_bytes) {
    const Error error{ErrorCode::invalid_request,
                      fmt::format("a message is longer than the limit of {} bytes",
                                  server_->options.max_message_bytes)};
    sink->respond(make_error({}, error, legacy_version().has_value()), error.code);
    return Received::broken;
  }
  if (is_batch(text)) return receive_batch(text, sink, http);
  return receive_one(std::move(text), std::move(sink), http, Within::nothing, duty);
}

Session::Received Session::receive_one(std::string text, std::shared_ptr<ReplySink> sink,
                                       const HttpClaims* http, Within within,
                                       StandIns::Duty* duty) {
  RequestId id;
  auto message = parse_message(std::move(text), &id);
  if (!message) {
    sink->respond(make_error(id, message.error(), legacy_version().has_value()),
                  message.error().code);
    return Received::broken;
  }
  switch (message->kind()) {
    case Message::Kind::request:
      if (within == Within::batch && message->method() == "initialize") {
        const Error error{ErrorCode::invalid_request, "initialize cannot be part of a batch"};
        sink->respond(make_error(message->id(), error), error.code);
        return Received::broken;
      }
      receive_request(std::move(*message), std::move(sink), http, duty);
      return Received::request;
    case Message::Kind::notification:
      receive_notification(*message);
      return Received::notification;
    default:
      receive_response(*message);
      return Received::notification;
  }
}

void Session::receive_notification(const Message& message) {
  if (message.method() != "notifications/cancelled" || message.params().empty()) return;
  std::string_view id_text;
  split_object(message.params(), [&](std::string_view key, std::string_view value) {
    if (key == "requestId") id_text = value;
  });
  auto id = parse_request_id(id_text);
  if (!id) return;
  std::shared_ptr<Call> call;
  std::shared_ptr<Listen> listen;
  {
    std::scoped_lock lock(mutex_);
    if (auto it = calls_.find(*id); it != calls_.end()) call = it->second;
    if (auto it = listens_.find(*id); it != listens_.end()) {
      listen = std::move(it->second);
      listens_.erase(it);
    }
  }
  if (call) call->cancel();
  if (listen) {
    server_->subscriptions.remove(listen);
    listen->cancel();
  }
}

// The barrier of what runs on the reading thread: a bug there costs one answer, not the server.
void Session::receive_request(Message message, std::shared_ptr<ReplySink> sink,
                              const HttpClaims* http, StandIns::Duty* duty) {
  const RequestId id = message.id();
  try {
    dispatch(std::move(message), sink, http, duty);
  } catch (const std::exception& e) {
    const Error error{ErrorCode::internal_error, fmt::format("internal error: {}", e.what())};
    std::shared_ptr<Call> call;
    {
      std::scoped_lock lock(mutex_);
      if (auto it = calls_.find(id); it != calls_.end()) call = it->second;
    }
    if (call)
      call->finish_error(error);
    else
      sink->respond(make_error(id, error), error.code);
  }
}

void Session::dispatch(Message message, std::shared_ptr<ReplySink> sink, const HttpClaims* http,
                       StandIns::Duty* duty) {
  Request r{.message = std::move(message), .sink = std::move(sink), .http = http, .duty = duty};
  if (auto ok = read_params(r); !ok) return fail_request(r, ok.error());
  if (auto ok = settle_era(r, http); !ok) return fail_request(r, ok.error());
  if (auto own = server_->methods.find(r.message.method()); own != server_->methods.end()) {
    auto result = own->second(r.message.params());
    return result ? respond(r, *result) : fail_request(r, result.error());
  }
  const auto method = methods().find(r.message.method());
  if (method == methods().end() || !(method->second.second & (r.modern ? kModern : kLegacy))) {
    if (method != methods().end() && !r.modern)
      return fail_request(
          r, {ErrorCode::invalid_params,
              fmt::format("\"{}\" needs params._meta with \"{}\": \"{}\" and \"{}\": {{}}",
                          r.message.method(), kMetaProtocolVersion, kModernVersion,
                          kMetaClientCapabilities)});
    r.sink->settled(r.modern);
    return fail_request(
        r, {ErrorCode::method_not_found,
            fmt::format("method \"{}\" is not known{}", r.message.method().substr(0, 80),
                        r.modern ? " in " + r.asker->version : "")});
  }
  r.sink->settled(r.modern);
  if (!server_->advertises(r.message.method()))
    return fail_request(
        r, {ErrorCode::method_not_found,
            fmt::format("method \"{}\": this server has none of these", r.message.method())});
  (this->*method->second.first)(r);
}

void Session::respond(Request& r, std::string_view result) {
  r.sink->respond(make_result(r.message.id(), r.modern ? modern_result(result, server_->info_member)
                                                       : std::string(result)),
                  std::nullopt);
}

void Session::respond_cacheable(Request& r, std::string_view result) {
  if (!r.modern) return respond(r, result);
  std::string out(result.substr(0, result.size() - 1));
  out += fmt::format(R"(,"ttlMs":{},"cacheScope":"{}"}})", server_->options.list_ttl_ms,
                     server_->options.list_cache_scope);
  respond(r, out);
}

void Session::fail_request(Request& r, const Error& error) {
  r.sink->respond(make_error(r.message.id(), error), error.code);
}

std::shared_ptr<Call> Session::start_call(Request& r, std::string name) {
  Call::Spec spec{.id = r.message.id(),
                  .method = r.message.method(),
                  .name = std::move(name),
                  .modern = r.modern,
                  .asker = r.asker,
                  .meta = r.meta,
                  .principal = principal_,
                  .arguments = std::string(r.arguments),
                  .input_responses = std::string(r.modern ? r.input_responses : ""),
                  .request_state = std::string(r.modern ? r.request_state : ""),
                  .sink = r.sink};
  auto call = std::make_shared<Call>(shared_from_this(), std::move(spec));
  // Looked at after the call was counted: whoever drains sees it, or it sees the draining.
  if (server_->draining) {
    fail_request(r, {ErrorCode::not_begun, "the server is leaving; the call was not begun"});
    return nullptr;
  }
  if (auto round = call->open_round(); !round) {
    fail_request(r, round.error());
    return nullptr;
  }
  std::unique_lock lock(mutex_);
  if (listens_.contains(r.message.id()) || !calls_.emplace(r.message.id(), call).second) {
    lock.unlock();
    fail_request(
        r, {ErrorCode::invalid_request,
            fmt::format("id {} belongs to a request that is still running", r.message.id().json)});
    return nullptr;
  }
  if (const size_t limit = server_->options.max_calls_per_session; calls_.size() > limit) {
    lock.unlock();
    call->fail_handler(
        fmt::format("busy: {} calls of this client run or wait, the limit of one client "
                    "(max_calls_per_session); retry when one has ended",
                    limit));
    return nullptr;
  }
  return call;
}

void Session::release_id(const RequestId& id) {
  std::shared_ptr<Call> ended;  // released after the lock
  std::scoped_lock lock(mutex_);
  if (auto it = calls_.find(id); it != calls_.end()) {
    ended = std::move(it->second);
    calls_.erase(it);
  }
  ++answering_;
}

void Session::end_call() {
  std::scoped_lock lock(mutex_);
  if (--answering_ == 0 && calls_.empty()) idle_.notify_all();
}

void Session::cancel_all() {
  std::map<RequestId, std::shared_ptr<Call>> calls;
  std::map<RequestId, std::shared_ptr<Listen>> listens;
  {
    std::scoped_lock lock(mutex_);
    calls = calls_;
    listens.swap(listens_);
  }
  for (auto& [id, call] : calls) call->cancel();
  for (auto& [id, listen] : listens) {
    server_->subscriptions.remove(listen);
    listen->cancel();
  }
}

bool Session::wait_idle(std::chrono::milliseconds limit) {
  std::unique_lock lock(mutex_);
  return idle_.wait_for(lock, limit, [&] { return calls_.empty() && answering_ == 0; });
}

std::optional<std::string> Session::legacy_version() const {
  std::scoped_lock lock(mutex_);
  return legacy_version_;
}

}  // namespace gpumcp::mcp

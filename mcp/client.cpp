// The client's messages: what is in flight, and the reader that gives answers, progress and
// notifications to whom they belong.
#include "mcp/client.h"

#include "mcp/json_members.h"

namespace gpumcp::mcp {
namespace {

// Handlers of older servers' questions at once, and waiting; a server that asks more is refused.
constexpr ThreadPoolOptions kTasks = {.max_threads = 8, .max_queued = 32};

}  // namespace

Client::Client(std::unique_ptr<Transport> transport, ClientOptions options)
    : transport_(std::move(transport)),
      options_(std::move(options)),
      cache_(options_.cache && !options_.server.empty() ? options_.cache
                                                        : std::make_shared<ClientCache>()),
      tasks_(kTasks) {
  transport_->on_renewed([this] { on_renewed(); });
  reader_ = std::thread([this] { read_loop(); });
}

Client::~Client() {
  close();
  stopping_.request_stop();
  {
    std::scoped_lock lock(mutex_);
    for (auto& [id, stop] : questions_) stop.request_stop();
  }
  tasks_.stop();
  reader_.join();
}

Result<std::unique_ptr<Client>> Client::connect(std::unique_ptr<Transport> transport,
                                                ClientOptions options) {
  std::unique_ptr<Client> client(new Client(std::move(transport), std::move(options)));
  if (auto ok = client->negotiate(); !ok) return tl::unexpected(std::move(ok.error()));
  std::scoped_lock lock(client->mutex_);
  if (client->closed_) return tl::unexpected(client->closed_error());
  client->connected_ = true;
  return client;
}

RequestId Client::next_id() {
  std::scoped_lock lock(mutex_);
  return {std::to_string(next_id_++)};
}

RequestId Client::request_async(std::string_view method, std::string_view params,
                                AsyncHandlers handlers, Json meta) {
  const RequestId id = next_id();
  start(id, method, params, std::move(handlers), std::move(meta));
  return id;
}

void Client::start(const RequestId& id, std::string_view method, std::string_view params,
                   AsyncHandlers handlers, Json meta) {
  auto shared = std::make_shared<AsyncHandlers>(std::move(handlers));
  bool waits = false;
  Result<void> sent;
  {
    std::scoped_lock lock(mutex_);
    waits = !closed_;
    if (waits)
      pending_.emplace(id, shared);
    else
      sent = tl::unexpected(closed_error());
  }
  if (waits)
    sent = transport_->write(make_request(
        id, method, with_meta(params, std::move(meta), id, shared->on_progress != nullptr)));
  // Not in flight any more: the reader has it, answered or failed with the connection.
  if (sent || (waits && !take_pending(id))) return;
  if (auto f = std::exchange(shared->on_result, nullptr)) f(tl::unexpected(sent.error()));
}

std::shared_ptr<Client::AsyncHandlers> Client::take_pending(const RequestId& id) {
  std::scoped_lock lock(mutex_);
  auto it = pending_.find(id);
  if (it == pending_.end()) return nullptr;
  auto handlers = std::move(it->second);
  pending_.erase(it);
  return handlers;
}

void Client::cancel(const RequestId& given, std::string_view reason) {
  const RequestId id = given;  // the caller's may live in the handlers that go here
  const auto handlers = take_pending(id);
  if (!handlers) return;
  std::string params = R"({"requestId":)" + id.json + R"(,"reason":)";
  append_string(params, reason);
  (void)transport_->write(make_notification("notifications/cancelled", params + "}"));
}

void Client::read_loop() {
  reader_id_ = std::this_thread::get_id();
  bool announce = false;
  std::optional<std::string> broken;
  while (true) {
    auto text = transport_->read();
    if (!text) broken = text.error().message;
    if (!text || !*text) break;  // also after a line too long: whose answer it was cannot be known
    if (auto message = parse_message(std::move(**text))) on_message(*message);
  }
  Error why;
  {
    std::scoped_lock lock(mutex_);
    closed_ = true;
    announce = connected_;
    if (broken) last_words_ = broken->substr(0, 400);
    why = closed_error();
    if (broken) why.message = *broken;
  }
  stopping_.request_stop();  // nothing that waits to try again would be heard
  if (announce && options_.on_closed) options_.on_closed();
  fail_all(why);
  end_subscriptions();
}

Error Client::closed_error() const {
  return {ErrorCode::closed, last_words_.empty()
                                 ? "the server closed the connection"
                                 : "the server closed the connection: " + last_words_};
}

void Client::on_message(const Message& message) {
  switch (message.kind()) {
    case Message::Kind::result:
    case Message::Kind::error:
      return on_answer(message);
    case Message::Kind::request:
      return on_question(message);
    case Message::Kind::notification:
      return on_notification(message);
  }
}

void Client::on_answer(const Message& message) {
  RequestId id = message.id();
  if (id.empty()) {  // the server could not read some message of ours
    std::unique_lock lock(mutex_);
    if (pending_.empty()) {  // or turns us away
      if (message.kind() == Message::Kind::error)
        last_words_ = parse_error_object(message.error()).message.substr(0, 400);
      return;
    }
    if (pending_.size() > 1) {
      lock.unlock();
      return transport_->close();  // whose answer it is cannot be known
    }
    id = pending_.begin()->first;
  }
  const auto handlers = take_pending(id);
  if (!handlers) return;
  auto on_result = std::exchange(handlers->on_result, nullptr);
  if (!on_result) return;
  if (message.kind() == Message::Kind::result)
    on_result(message.result());
  else
    on_result(tl::unexpected(parse_error_object(message.error())));
}

void Client::on_progress(const Message& message) {
  auto params = parse_json(message.params());
  if (!params || !params->contains("progressToken")) return;
  auto id = parse_request_id(to_text((*params)["progressToken"]));
  if (!id) return;
  std::shared_ptr<AsyncHandlers> handlers;
  {
    std::scoped_lock lock(mutex_);
    auto it = pending_.find(*id);
    if (it == pending_.end()) return;
    handlers = it->second;
  }
  if (handlers->on_progress) handlers->on_progress(*params);
}

void Client::on_notification(const Message& message) {
  if (message.method() == "notifications/progress") return on_progress(message);
  if (message.method() == "notifications/cancelled") on_question_cancelled(message.params());
  if (on_change(message)) return;  // of a subscription's own affairs
  if (message.method() == "notifications/message" && options_.on_log) {
    if (auto params = parse_json(message.params())) {
      const Json* data = member(*params, "data");
      options_.on_log({find_log_level(text_of(*params, "level")).value_or(LogLevel::info),
                       text_of(*params, "logger"), data ? *data : Json(nullptr)});
    }
  }
  if (options_.on_notification) options_.on_notification(message.method(), message.params());
}

void Client::fail_all(const Error& error) {
  std::map<RequestId, std::shared_ptr<AsyncHandlers>> pending;
  {
    std::scoped_lock lock(mutex_);
    pending.swap(pending_);
  }
  for (auto& [id, handlers] : pending) {
    if (auto f = std::exchange(handlers->on_result, nullptr)) f(tl::unexpected(error));
  }
}

bool Client::closed() const {
  std::scoped_lock lock(mutex_);
  return closed_;
}

void Client::close() { transport_->close(); }

}  // namespace gpumcp::mcp

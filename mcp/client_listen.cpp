// Hearing about changes. 2026-07-28: a subscriptions/listen request that stays open; its
// notifications name it. Before: lists' changes come unasked, resources are subscribed one by one.
// A subscription that breaks is sent again, after pauses that double, until it is stopped, the
// server refuses it, or the connection is closed. A peer that has started anew (a restarted
// process, a lost HTTP session) is told again what it must know.
#include <fmt/format.h>

#include "mcp/client.h"
#include "mcp/json_members.h"

namespace gpumcp::mcp {
namespace {

constexpr std::string_view kSubscriptionId = "io.modelcontextprotocol/subscriptionId";
constexpr auto kFirstPause = std::chrono::milliseconds(100),
               kLastPause = std::chrono::milliseconds(30000);

Json to_json(const ListenRequest& request) {
  Json out = Json::object();
  if (request.tools) out["toolsListChanged"] = true;
  if (request.prompts) out["promptsListChanged"] = true;
  if (request.resources) out["resourcesListChanged"] = true;
  if (!request.uris.empty()) out["resourceSubscriptions"] = request.uris;
  return out;
}

ListenRequest listen_request_from_json(const Json& json) {
  auto is = [&](const char* key) {
    const Json* value = member(json, key);
    return value && *value == true;
  };
  ListenRequest out{is("toolsListChanged"), is("promptsListChanged"), is("resourcesListChanged")};
  if (const Json* uris = member(json, "resourceSubscriptions"); uris && uris->is_array()) {
    for (const Json& uri : *uris)
      if (uri.is_string()) out.uris.push_back(uri.get<std::string>());
  }
  return out;
}

bool wants(const ListenRequest& request, const ListenEvent& event) {
  using Kind = ListenEvent::Kind;
  switch (event.kind) {
    case Kind::tools:
      return request.tools;
    case Kind::prompts:
      return request.prompts;
    case Kind::resources:
      return request.resources;
    case Kind::updated:
      for (const std::string& uri : request.uris)
        if (event.uri.starts_with(uri)) return true;  // a part of it, too
      return false;
    default:
      return true;
  }
}

bool refused(const Error& error) {
  return error.code == ErrorCode::method_not_found || error.code == ErrorCode::invalid_params ||
         error.code == ErrorCode::missing_client_capability;
}

}  // namespace

struct Client::Subscription {
  const int64_t id;
  const ListenRequest wanted;
  const std::function<void(const ListenEvent&)> on_event;
  std::mutex mutex;  // guards what follows
  std::condition_variable settled;
  RequestId request;  // the listen in flight
  ListenRequest honoured;
  bool acknowledged = false, stopped = false;
  std::optional<Error> error;  // that ended the first try
  std::chrono::milliseconds pause = kFirstPause;
};

Result<Listening> Client::listen(ListenRequest request,
                                 std::function<void(const ListenEvent&)> on_event) {
  if (reader_id_.load() == std::this_thread::get_id())
    return fail(ErrorCode::internal_error, "listen() was called from a callback of the client");
  if (!on_event) on_event = [](const ListenEvent&) {};
  int64_t id;
  std::shared_ptr<Subscription> s;
  {
    std::scoped_lock lock(mutex_);
    if (closed_) return fail(ErrorCode::closed, "the server closed the connection");
    id = next_subscription_++;
    s = std::make_shared<Subscription>(id, std::move(request), std::move(on_event));
    subscriptions_.emplace(id, s);
  }
  auto give_up = [&](Error error) -> Result<Listening> {
    stop_listening(id);
    return tl::unexpected(std::move(error));
  };
  if (!modern()) {
    for (const std::string& uri : s->wanted.uris)
      if (auto ok = subscribe(uri); !ok) return give_up(std::move(ok.error()));
    auto announces = [&](const char* what) {
      const Json* one = member(capabilities_, what);
      const Json* changed = one ? member(*one, "listChanged") : nullptr;
      return changed && *changed == true;
    };
    return Listening{
        id,
        {s->wanted.tools && announces("tools"), s->wanted.prompts && announces("prompts"),
         s->wanted.resources && announces("resources"), s->wanted.uris}};
  }
  send_listen(s);
  std::unique_lock lock(s->mutex);
  s->settled.wait_for(lock, options_.connect_timeout, [&] { return s->acknowledged || s->error; });
  if (s->acknowledged) return Listening{id, s->honoured};
  Error error = s->error.value_or(Error{
      ErrorCode::timeout, fmt::format("subscriptions/listen was not acknowledged within {} ms",
                                      options_.connect_timeout.count())});
  lock.unlock();
  return give_up(std::move(error));
}

Result<void> Client::subscribe(const std::string& uri) {
  std::string params = "\"uri\":";
  append_string(params, uri);
  auto text = request("resources/subscribe", params, {.timeout = options_.connect_timeout});
  if (!text) return tl::unexpected(std::move(text.error()));
  return {};
}

void Client::stop_listening(int64_t id) {
  std::shared_ptr<Subscription> s;
  std::vector<std::string> left;  // that nobody else hears about
  {
    std::scoped_lock lock(mutex_);
    auto it = subscriptions_.find(id);
    if (it == subscriptions_.end()) return;
    s = std::move(it->second);
    subscriptions_.erase(it);
    for (const std::string& uri : s->wanted.uris) {
      bool other = false;
      for (auto& [key, one] : subscriptions_)
        other |= std::find(one->wanted.uris.begin(), one->wanted.uris.end(), uri) !=
                 one->wanted.uris.end();
      if (!other) left.push_back(uri);
    }
  }
  RequestId request;
  {
    std::scoped_lock lock(s->mutex);
    s->stopped = true;
    request = std::exchange(s->request, {});
    s->settled.notify_all();
  }
  if (!request.empty()) cancel(request, "no longer listening");
  if (modern()) return;
  for (const std::string& uri : left) {
    std::string params = "\"uri\":";
    append_string(params, uri);
    request_async("resources/unsubscribe", params, {.on_result = [](auto) {}});
  }
}

void Client::send_listen(const std::shared_ptr<Subscription>& s) {
  const RequestId id = next_id();
  {
    std::scoped_lock lock(s->mutex);
    if (s->stopped) return;
    s->request = id;  // known before its acknowledgement can come
  }
  start(id, "subscriptions/listen", "\"notifications\":" + to_text(to_json(s->wanted)),
        {.on_result =
             [this, s](Result<std::string_view> result) {
               on_listen_ended(s, result ? nullptr : &result.error());
             }},
        Json::object());
}

// The request was answered: with a result where the server ends it in peace, or with an error.
void Client::on_listen_ended(const std::shared_ptr<Subscription>& s, const Error* error) {
  bool was_acknowledged, again;
  {
    std::scoped_lock lock(s->mutex);
    s->request = {};
    if (s->stopped) return;
    was_acknowledged = s->acknowledged;
    again = was_acknowledged && error && !refused(*error) && error->code != ErrorCode::closed;
    if (!was_acknowledged)
      s->error = error ? *error
                       : Error{ErrorCode::invalid_request,
                               "the server ended the subscription before it acknowledged it"};
    s->settled.notify_all();
  }
  if (!was_acknowledged) return;
  if (again && tasks_.submit([this, s] { listen_again(s); })) return;
  {
    std::scoped_lock lock(mutex_);
    if (!subscriptions_.erase(s->id)) return;
  }
  s->on_event({ListenEvent::Kind::ended});
}

void Client::listen_again(std::shared_ptr<Subscription> s) {
  {
    std::mutex mutex;
    std::condition_variable_any never;
    std::unique_lock lock(mutex);
    std::chrono::milliseconds pause;
    {
      std::scoped_lock own(s->mutex);
      pause = s->pause;
      s->pause = std::min(kLastPause, s->pause * 2);
    }
    never.wait_for(lock, stopping_.get_token(), pause, [] { return false; });
  }
  if (!stopping_.stop_requested()) send_listen(s);
}

void Client::tell_listeners(const ListenEvent& event, const RequestId& subscription) {
  std::vector<std::shared_ptr<Subscription>> all;
  {
    std::scoped_lock lock(mutex_);
    for (auto& [id, s] : subscriptions_) all.push_back(s);
  }
  for (auto& s : all) {
    {
      std::scoped_lock lock(s->mutex);
      if (s->stopped || (!subscription.empty() && s->request != subscription)) continue;
    }
    if (wants(s->wanted, event)) s->on_event(event);
  }
}

bool Client::on_change(const Message& message) {
  using Kind = ListenEvent::Kind;
  const std::string& method = message.method();
  const bool acknowledged = method == "notifications/subscriptions/acknowledged";
  ListenEvent event;
  if (method == "notifications/tools/list_changed") {
    event.kind = Kind::tools;
    forget("tools/list");
  } else if (method == "notifications/prompts/list_changed") {
    event.kind = Kind::prompts;
    forget("prompts/list");
  } else if (method == "notifications/resources/list_changed") {
    event.kind = Kind::resources;
    forget("resources/list");
    forget("resources/templates/list");
  } else if (method == "notifications/resources/updated") {
    event.kind = Kind::updated;
  } else if (!acknowledged) {
    return false;
  }
  auto params = parse_json(message.params().empty() ? "{}" : message.params());
  if (!params) return false;
  event.uri = text_of(*params, "uri");
  if (event.kind == Kind::updated) forget("resources/read", event.uri);
  RequestId subscription;
  const Json* meta = member(*params, "_meta");
  if (const Json* id = meta ? member(*meta, kSubscriptionId) : nullptr)
    subscription = parse_request_id(to_text(*id)).value_or(RequestId{});
  if (!acknowledged) {
    tell_listeners(event, subscription);
    return false;
  }
  std::vector<std::shared_ptr<Subscription>> all;
  {
    std::scoped_lock lock(mutex_);
    for (auto& [id, s] : subscriptions_) all.push_back(s);
  }
  for (auto& s : all) {
    bool again;
    {
      std::scoped_lock lock(s->mutex);
      if (subscription.empty() || s->request != subscription) continue;
      const Json* honoured = member(*params, "notifications");
      s->honoured = listen_request_from_json(honoured ? *honoured : Json());
      again = std::exchange(s->acknowledged, true);
      s->pause = kFirstPause;
      s->settled.notify_all();
    }
    if (!again) continue;
    forget_all();
    s->on_event({Kind::resumed});
  }
  return true;
}

// On a thread of the transport's, which must not wait for what it carries.
void Client::on_renewed() {
  {
    std::scoped_lock lock(mutex_);
    if (!connected_) return;
  }
  forget_all();
  if (modern()) return;  // a listen that broke is sent again; the rest goes with each request
  (void)tasks_.submit([this] {
    std::optional<LogLevel> level;
    std::vector<std::shared_ptr<Subscription>> all;
    {
      std::scoped_lock lock(mutex_);
      level = log_level_;
      for (auto& [id, s] : subscriptions_) all.push_back(s);
    }
    if (level) (void)set_log_level(*level);
    for (auto& s : all) {
      for (const std::string& uri : s->wanted.uris) (void)subscribe(uri);
      s->on_event({ListenEvent::Kind::resumed});
    }
  });
}

void Client::end_subscriptions() {
  std::map<int64_t, std::shared_ptr<Subscription>> all;
  {
    std::scoped_lock lock(mutex_);
    all.swap(subscriptions_);
  }
  for (auto& [id, s] : all) {
    {
      std::scoped_lock lock(s->mutex);
      if (std::exchange(s->stopped, true)) continue;
      s->settled.notify_all();
      if (modern() && !s->acknowledged) continue;  // listen() says so itself
    }
    s->on_event({ListenEvent::Kind::ended});
  }
}

}  // namespace gpumcp::mcp

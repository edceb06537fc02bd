#include "mcp/client.h"

#include <fmt/format.h>

#include <condition_variable>

namespace gpumcp::mcp {
namespace {

// The slot that request() waits on.
struct Waiter {
  std::mutex mutex;
  std::condition_variable_any done;
  std::optional<Result<std::string>> result;
  std::mutex progress_mutex;  // held while on_progress runs
  bool left = false;          // the caller has gone, and with it what on_progress refers to
};

constexpr int kMaxListPages = 1000;

Json object_member(const Json& json, std::string_view key) {
  auto it = json.find(key);
  return it != json.end() && it->is_object() ? *it : Json::object();
}

std::string string_member(const Json& json, const char* key) {
  auto it = json.find(key);
  return it != json.end() && it->is_string() ? it->get<std::string>() : std::string();
}

std::string json_string(std::string_view text) {
  std::string out;
  append_string(out, text);
  return out;
}

}  // namespace

Client::Client(std::unique_ptr<Transport> transport, ClientOptions options)
    : transport_(std::move(transport)), options_(std::move(options)) {
  reader_ = std::thread([this] { read_loop(); });
}

Client::~Client() {
  close();
  reader_.join();
}

Result<std::unique_ptr<Client>> Client::connect(std::unique_ptr<Transport> transport,
                                                ClientOptions options) {
  std::unique_ptr<Client> client(new Client(std::move(transport), std::move(options)));
  if (auto ok = client->negotiate(); !ok) return tl::unexpected(std::move(ok.error()));
  std::scoped_lock lock(client->mutex_);
  if (client->closed_) return fail(ErrorCode::closed, "the server closed the connection");
  client->connected_ = true;
  return client;
}

Result<void> Client::negotiate() {
  if (options_.era == Era::legacy) return initialize();
  // An old server may not answer what it does not know: with `automatic`, silence leads to
  // `initialize`.
  const auto probe =
      options_.era == Era::automatic ? options_.connect_timeout / 3 : options_.connect_timeout;
  auto found = request("server/discover", "", {.timeout = probe});
  if (found) {
    auto json = parse_json(*found);
    if (json && json->contains("supportedVersions")) {
      const Json& versions = (*json)["supportedVersions"];
      const bool ok = versions.is_array() &&
                      std::find(versions.begin(), versions.end(), kModernVersion) != versions.end();
      if (ok) {
        capabilities_ = object_member(*json, "capabilities");
        instructions_ = string_member(*json, "instructions");
        server_info_ = object_member(object_member(*json, "_meta"), kMetaServerInfo);
        return {};
      }
    }
  } else if (const int code = static_cast<int>(found.error().code);
             found.error().code == ErrorCode::closed || found.error().code == ErrorCode::io_error ||
             code == 401 || code == 403 || code >= 500) {
    return tl::unexpected(
        found.error());  // no connection, or an HTTP refusal: that says nothing about the era
  }
  if (options_.era == Era::modern && !found && found.error().code == ErrorCode::timeout)
    return tl::unexpected(found.error());
  if (options_.era == Era::modern)
    return fail(ErrorCode::unsupported_protocol_version,
                fmt::format("the server does not speak {}{}", kModernVersion,
                            found ? "" : ": " + found.error().message));
  return initialize();
}

Result<void> Client::initialize() {
  version_ = kLatestLegacyVersion;
  auto text = request("initialize",
                      fmt::format(R"("protocolVersion":"{}","capabilities":{{}},"clientInfo":{})",
                                  kLatestLegacyVersion, to_text(to_json(options_.info))),
                      {.timeout = options_.connect_timeout});
  if (!text) return tl::unexpected(std::move(text.error()));
  auto json = parse_json(*text);
  if (!json) return tl::unexpected(std::move(json.error()));
  version_ = string_member(*json, "protocolVersion");
  if (!is_supported_version(version_))
    return fail(
        ErrorCode::unsupported_protocol_version,
        fmt::format("the server chose protocol version \"{}\", which this client does not know",
                    version_));
  capabilities_ = object_member(*json, "capabilities");
  server_info_ = object_member(*json, "serverInfo");
  instructions_ = string_member(*json, "instructions");
  return transport_->write(make_notification("notifications/initialized", {}));
}

std::string Client::with_meta(std::string_view params, Json meta, const RequestId& id,
                              bool progress) const {
  if (modern()) {
    meta[std::string(kMetaProtocolVersion)] = version_;
    meta[std::string(kMetaClientCapabilities)] = Json::object();
    meta[std::string(kMetaClientInfo)] = to_json(options_.info);
  }
  if (progress) meta["progressToken"] = Json::parse(id.json);
  std::string out = "{";
  out += params;
  if (!meta.empty()) ((out += params.empty() ? "" : ",") += R"("_meta":)") += to_text(meta);
  return out + "}";
}

RequestId Client::request_async(std::string_view method, std::string_view params,
                                AsyncHandlers handlers, Json meta) {
  auto shared = std::make_shared<AsyncHandlers>(std::move(handlers));
  RequestId id;
  bool waits = false;
  {
    std::scoped_lock lock(mutex_);
    id.json = std::to_string(next_id_++);
    waits = !closed_;
    if (waits) pending_.emplace(id, shared);
  }
  const std::string text = make_request(
      id, method, with_meta(params, std::move(meta), id, shared->on_progress != nullptr));
  Result<void> sent =
      waits ? transport_->write(text) : fail(ErrorCode::closed, "the server closed the connection");
  if (!sent) {
    if (waits) {
      std::scoped_lock lock(mutex_);
      if (!pending_.erase(id))
        return id;  // the reader has it: answered, or failed with the connection
    }
    if (auto f = std::exchange(shared->on_result, nullptr)) f(tl::unexpected(sent.error()));
  }
  return id;
}

Result<std::string> Client::request(std::string_view method, std::string_view params,
                                    const CallOptions& options, Json meta) {
  auto waiter = std::make_shared<Waiter>();
  std::function<void(const Json&)> on_progress;
  if (options.on_progress) {
    on_progress = [waiter, f = options.on_progress](const Json& progress) {
      std::scoped_lock lock(waiter->progress_mutex);
      if (!waiter->left) f(progress);
    };
  }
  const RequestId id = request_async(method, params,
                                     {[waiter](Result<std::string_view> result) {
                                        std::scoped_lock lock(waiter->mutex);
                                        waiter->result =
                                            result ? Result<std::string>(std::string(*result))
                                                   : tl::unexpected(result.error());
                                        waiter->done.notify_all();
                                      },
                                      std::move(on_progress)},
                                     std::move(meta));
  std::unique_lock lock(waiter->mutex);
  auto ready = [&] { return waiter->result.has_value(); };
  if (!waiter->done.wait_for(lock, options.stop_token, options.timeout, ready)) {
    lock.unlock();
    const bool stopped = options.stop_token.stop_requested();
    cancel(id, stopped ? "cancelled by the caller" : "timed out");
    {
      std::scoped_lock progress_lock(waiter->progress_mutex);
      waiter->left = true;
    }
    if (stopped) return fail(ErrorCode::cancelled, fmt::format("{} was cancelled", method));
    return fail(ErrorCode::timeout,
                fmt::format("{} had no answer within {} ms", method, options.timeout.count()));
  }
  return std::move(*waiter->result);
}

void Client::cancel(const RequestId& given, std::string_view reason) {
  const RequestId id = given;               // the caller's may live in the handlers that go here
  std::shared_ptr<AsyncHandlers> handlers;  // they go at the end, without the lock
  {
    std::scoped_lock lock(mutex_);
    auto it = pending_.find(id);
    if (it == pending_.end()) return;
    handlers = std::move(it->second);
    pending_.erase(it);
  }
  (void)transport_->write(make_notification(
      "notifications/cancelled",
      fmt::format(R"({{"requestId":{},"reason":{}}})", id.json, json_string(reason))));
}

Result<std::vector<Tool>> Client::list_tools() {
  std::vector<Tool> tools;
  std::string cursor;
  int pages = 0;
  do {
    auto text = request("tools/list", cursor.empty() ? "" : "\"cursor\":" + json_string(cursor));
    if (!text) return tl::unexpected(std::move(text.error()));
    auto json = parse_json(*text);
    if (!json) return tl::unexpected(std::move(json.error()));
    const auto list = json->find("tools");
    if (list == json->end() || !list->is_array())
      return fail(ErrorCode::invalid_params, "the result of tools/list needs an array \"tools\"");
    for (const Json& one : *list) {
      auto tool = tool_from_json(one);
      if (!tool) return tl::unexpected(std::move(tool.error()));
      tools.push_back(std::move(*tool));
    }
    cursor = string_member(*json, "nextCursor");
  } while (!cursor.empty() && ++pages < kMaxListPages);
  return tools;
}

Result<CallToolResult> Client::call_tool(const std::string& name, const Json& arguments,
                                         const CallOptions& options, std::string* raw) {
  auto text = request(
      "tools/call",
      fmt::format(R"("name":{},"arguments":{})", json_string(name), to_text(arguments)), options);
  if (!text) return tl::unexpected(std::move(text.error()));
  auto result = call_tool_result_from_text(*text);
  if (raw) *raw = std::move(*text);
  return result;
}

Result<std::vector<ResourceContents>> Client::read_resource(const std::string& uri,
                                                            const CallOptions& options) {
  auto text = request("resources/read", "\"uri\":" + json_string(uri), options);
  if (!text) return tl::unexpected(std::move(text.error()));
  return resource_contents_from_text(*text);
}

void Client::read_loop() {
  bool announce = false;
  while (true) {
    auto text = transport_->read();
    if (!text || !*text) break;  // also after a line too long: whose answer it was cannot be known
    if (auto message = parse_message(std::move(**text))) on_message(*message);
  }
  {
    std::scoped_lock lock(mutex_);
    closed_ = true;
    announce = connected_;
  }
  if (announce && options_.on_closed) options_.on_closed();
  fail_all({ErrorCode::closed, "the server closed the connection"});
}

void Client::on_message(const Message& message) {
  using Kind = Message::Kind;
  std::shared_ptr<AsyncHandlers> handlers;
  if (message.kind() == Kind::result || message.kind() == Kind::error) {
    if (message.id().empty()) return transport_->close();  // some call of ours was not understood
    {
      std::scoped_lock lock(mutex_);
      auto it = pending_.find(message.id());
      if (it == pending_.end()) return;
      handlers = std::move(it->second);
      pending_.erase(it);
    }
    auto on_result = std::exchange(handlers->on_result, nullptr);
    if (!on_result) return;
    if (message.kind() == Kind::result)
      on_result(message.result());
    else
      on_result(tl::unexpected(parse_error_object(message.error())));
    return;
  }
  if (message.kind() == Kind::request) {
    // A legacy server may ping; nothing else is offered.
    const bool ping = message.method() == "ping";
    (void)transport_->write(ping ? make_result(message.id(), "{}")
                                 : make_error(message.id(), {ErrorCode::method_not_found,
                                                             "this client offers no methods"}));
    return;
  }
  if (message.method() == "notifications/progress") {
    auto params = parse_json(message.params());
    if (!params || !params->contains("progressToken")) return;
    auto id = parse_request_id(to_text((*params)["progressToken"]));
    if (!id) return;
    {
      std::scoped_lock lock(mutex_);
      auto it = pending_.find(*id);
      if (it == pending_.end()) return;
      handlers = it->second;
    }
    if (handlers->on_progress) handlers->on_progress(*params);
    return;
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

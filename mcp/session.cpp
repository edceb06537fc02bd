#include "mcp/session.h"

#include <fmt/format.h>

#include "mcp/call.h"
#include "mcp/server_impl.h"
#include "mcp/session_request.h"

namespace gpumcp::mcp {
namespace {

Error unsupported_version(std::string_view requested) {
  Json data = {{"supported", Json::array({kModernVersion})}, {"requested", requested}};
  return {ErrorCode::unsupported_protocol_version,
          fmt::format("protocol version \"{}\" is not supported; supported: {}",
                      requested.substr(0, 40), kModernVersion),
          to_text(data)};
}

}  // namespace

Session::Session(std::shared_ptr<Server::Impl> server) : server_(std::move(server)) {
  ++server_->connections;
}
Session::~Session() { --server_->connections; }

Session::Received Session::receive(std::string text, std::shared_ptr<ReplySink> sink,
                                   const HttpClaims* http) {
  RequestId id;
  if (text.size() > server_->options.max_message_bytes) {
    const Error error{ErrorCode::invalid_request,
                      fmt::format("a message is longer than the limit of {} bytes",
                                  server_->options.max_message_bytes)};
    sink->respond(make_error({}, error, legacy_version().has_value()), error.code);
    return Received::broken;
  }
  auto message = parse_message(std::move(text), &id);
  if (!message) {
    sink->respond(make_error(id, message.error(), legacy_version().has_value()),
                  message.error().code);
    return Received::broken;
  }
  switch (message->kind()) {
    case Message::Kind::request:
      receive_request(std::move(*message), std::move(sink), http);
      return Received::request;
    case Message::Kind::notification:
      receive_notification(*message);
      return Received::notification;
    default:
      return Received::notification;  // an answer to nothing that was asked
  }
}

void Session::receive_notification(const Message& message) {
  if (message.method() != "notifications/cancelled" || message.params().empty()) return;
  std::string_view id_text;
  if (!scan_json(message.params(), [&](std::string_view key, std::string_view value) {
        if (key == "requestId") id_text = value;
      }))
    return;
  auto id = parse_request_id(id_text);
  if (!id) return;
  std::shared_ptr<Call> call;
  {
    std::scoped_lock lock(mutex_);
    if (auto it = calls_.find(*id); it != calls_.end()) call = it->second;
  }
  if (call) call->cancel();
}

Result<void> Session::read_params(Request& r) {
  if (r.message.params().empty()) return {};
  std::string_view meta;
  auto scanned = scan_json(r.message.params(), [&](std::string_view key, std::string_view value) {
    if (key == "name")
      r.name = value;
    else if (key == "arguments")
      r.arguments = value;
    else if (key == "_meta")
      meta = value;
    else if (key == "uri")
      r.uri = value;
    else if (key == "cursor")
      r.cursor = value;
    else if (key == "protocolVersion")
      r.protocol_version = value;
    else if (key == "clientInfo")
      r.client_info = value;
    else if (key == "level")
      r.level = value;
  });
  if (!scanned) return scanned;
  if (meta.empty() || meta == "null") return {};
  auto parsed = parse_json(meta);
  if (!parsed) return tl::unexpected(std::move(parsed.error()));
  if (!parsed->is_object())
    return fail(ErrorCode::invalid_params,
                "params._meta: expected an object, got " + std::string(meta.substr(0, 20)));
  r.meta = std::move(*parsed);
  if (auto token = r.meta.find("progressToken");
      token != r.meta.end() && !token->is_string() && !token->is_number_integer())
    return fail(ErrorCode::invalid_params,
                "params._meta.progressToken: expected a string or an integer");
  return {};
}

// Settles which era serves the request, in the order that the official suite checks.
Result<void> Session::settle_era(Request& r, const HttpClaims* http) {
  const auto version = r.meta.find(kMetaProtocolVersion);
  const auto capabilities = r.meta.find(kMetaClientCapabilities);
  const bool claims_modern =
      version != r.meta.end() || capabilities != r.meta.end() ||
      (r.message.method() != "initialize" && http && http->protocol_version &&
       is_modern_version(*http->protocol_version) && is_supported_version(*http->protocol_version));
  if (!claims_modern) {
    std::scoped_lock lock(mutex_);
    if (r.message.method() == "initialize") return {};
    r.version = legacy_version_                  ? *legacy_version_
                : http && http->protocol_version ? *http->protocol_version
                : http                           ? "2025-03-26"
                                                 : std::string(kLatestLegacyVersion);
    r.client = legacy_client_;
    r.log_level = legacy_log_level_;
    if (!is_supported_version(r.version)) {
      return fail(ErrorCode::invalid_request,
                  fmt::format("MCP-Protocol-Version \"{}\" is not supported; supported: {}",
                              r.version.substr(0, 40), quoted_versions()));
    }
    return {};
  }
  r.modern = true;
  auto missing = [](std::string_view key, std::string_view what) {
    return fail(ErrorCode::invalid_params,
                fmt::format("params._meta[\"{}\"]: {} is needed", key, what));
  };
  if (version == r.meta.end() || !version->is_string())
    return missing(kMetaProtocolVersion, "a version string");
  if (capabilities == r.meta.end() || !capabilities->is_object())
    return missing(kMetaClientCapabilities, "an object ({} for none)");
  r.version = version->get<std::string>();
  auto mismatch = [](std::string_view header, std::string_view got, std::string_view want) {
    return fail(ErrorCode::header_mismatch,
                fmt::format("header {} is \"{}\", the body says \"{}\"", header, got.substr(0, 80),
                            want.substr(0, 80)));
  };
  if (http && !http->protocol_version) return mismatch("MCP-Protocol-Version", "", r.version);
  if (http && *http->protocol_version != r.version)
    return mismatch("MCP-Protocol-Version", *http->protocol_version, r.version);
  if (!is_modern_version(r.version) || !is_supported_version(r.version))
    return tl::unexpected(unsupported_version(r.version));
  if (http) {
    if (!http->method || *http->method != r.message.method())
      return mismatch("Mcp-Method", http->method.value_or(""), r.message.method());
    const std::string& method = r.message.method();
    const std::string_view subject = method == "tools/call" || method == "prompts/get" ? r.name
                                     : method == "resources/read"                      ? r.uri
                                                                  : std::string_view();
    if (subject.starts_with('"')) {
      const std::string want = Json::parse(subject).get<std::string>();
      if (!http->name || *http->name != want)
        return mismatch("Mcp-Name", http->name.value_or(""), want);
    }
  }
  if (auto info = r.meta.find(kMetaClientInfo); info != r.meta.end() && info->is_object()) {
    auto text = [&](const char* key) {
      auto it = info->find(key);
      return it != info->end() && it->is_string() ? it->get<std::string>() : std::string();
    };
    r.client = {text("name"), text("version")};
  }
  if (auto level = r.meta.find(kMetaLogLevel); level != r.meta.end()) {
    if (level->is_string()) r.log_level = find_log_level(level->get<std::string>());
    if (!r.log_level)
      return fail(ErrorCode::invalid_params,
                  "params._meta: the log level is unknown: debug to emergency");
  }
  return {};
}

// The barrier of what runs on the reading thread: a bug there costs one answer, not the server.
void Session::receive_request(Message message, std::shared_ptr<ReplySink> sink,
                              const HttpClaims* http) {
  const RequestId id = message.id();
  try {
    dispatch(std::move(message), sink, http);
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

void Session::dispatch(Message message, std::shared_ptr<ReplySink> sink, const HttpClaims* http) {
  Request r{.message = std::move(message), .sink = std::move(sink)};
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
                        r.modern ? " in " + r.version : "")});
  }
  r.sink->settled(r.modern);
  const bool advertised = r.message.method().starts_with("resources/") ? !server_->resources.empty()
                          : r.message.method().starts_with("tools/")   ? !server_->tools.empty()
                                                                       : true;
  if (!advertised)
    return fail_request(
        r, {ErrorCode::method_not_found,
            fmt::format("method \"{}\": this server has none of these", r.message.method())});
  (this->*method->second.first)(r);
}

void Session::respond(Request& r, std::string_view result) {
  r.sink->respond(make_result(r.message.id(), r.modern ? modern_result(result, server_->options)
                                                       : std::string(result)),
                  std::nullopt);
}

void Session::respond_cacheable(Request& r, std::string_view result) {
  if (!r.modern) return respond(r, result);
  std::string out(result.substr(0, result.size() - 1));
  out += fmt::format(R"(,"ttlMs":{},"cacheScope":"private"}})", server_->options.list_ttl_ms);
  respond(r, out);
}

void Session::fail_request(Request& r, const Error& error) {
  r.sink->respond(make_error(r.message.id(), error), error.code);
}

std::shared_ptr<Call> Session::start_call(Request& r, std::string name) {
  Call::Spec spec{.id = r.message.id(),
                  .method = r.message.method(),
                  .version = r.version,
                  .modern = r.modern,
                  .info = {std::move(name), r.version, r.client, std::move(r.meta)},
                  .arguments = std::string(r.arguments),
                  .log_level = r.log_level,
                  .sink = r.sink};
  if (auto token = spec.info._meta.find("progressToken"); token != spec.info._meta.end())
    spec.progress_token = to_text(*token);
  auto call = std::make_shared<Call>(shared_from_this(), std::move(spec));
  // Looked at after the call was counted: whoever drains sees it, or it sees the draining.
  if (server_->draining) {
    fail_request(r, {ErrorCode::not_begun, "the server is leaving; the call was not begun"});
    return nullptr;
  }
  std::unique_lock lock(mutex_);
  if (!calls_.emplace(r.message.id(), call).second) {
    lock.unlock();
    fail_request(
        r, {ErrorCode::invalid_request,
            fmt::format("id {} belongs to a request that is still running", r.message.id().json)});
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
  {
    std::scoped_lock lock(mutex_);
    calls = calls_;
  }
  for (auto& [id, call] : calls) call->cancel();
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

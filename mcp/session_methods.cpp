// Session's methods: the table, and what each answers. session.cpp has found the era and checked
// the envelope.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "mcp/call.h"
#include "mcp/json_members.h"
#include "mcp/server_impl.h"
#include "mcp/session_request.h"
#include "mcp/subscriptions.h"

namespace gpumcp::mcp {
namespace {

// What a session keeps of its client for as long as it lasts: who it is, what it can, and which
// resources it wants to hear of.
constexpr size_t kMaxClientBytes = 128u << 10;
constexpr size_t kMaxSubscribedBytes = 128u << 10;

size_t bytes_of(const std::set<std::string>& texts) {
  size_t bytes = 0;
  for (const std::string& text : texts) bytes += text.size();
  return bytes;
}

Error too_long_uris() {
  return {ErrorCode::invalid_params,
          fmt::format("the URIs that are subscribed to have more than {} bytes together, the limit",
                      kMaxSubscribedBytes)};
}

}  // namespace

const std::map<std::string, std::pair<Session::Method, int>, std::less<>>& Session::methods() {
  static const std::map<std::string, std::pair<Method, int>, std::less<>> kMethods = {
      {"initialize", {&Session::initialize, kLegacy}},
      {"ping", {&Session::ping, kLegacy}},
      {"logging/setLevel", {&Session::set_level, kLegacy}},
      {"server/discover", {&Session::discover, kModern}},
      {"tools/list", {&Session::list_tools, kBoth}},
      {"tools/call", {&Session::call_tool, kBoth}},
      {"resources/list", {&Session::list_resources, kBoth}},
      {"resources/templates/list", {&Session::list_resource_templates, kBoth}},
      {"resources/read", {&Session::read_resource, kBoth}},
      {"resources/subscribe", {&Session::subscribe, kLegacy}},
      {"resources/unsubscribe", {&Session::unsubscribe, kLegacy}},
      {"prompts/list", {&Session::list_prompts, kBoth}},
      {"prompts/get", {&Session::get_prompt, kBoth}},
      {"completion/complete", {&Session::complete, kBoth}},
      {"subscriptions/listen", {&Session::listen, kModern}},
      {"tasks/get", {&Session::get_task, kModern}},
      {"tasks/update", {&Session::update_task, kModern}},
      {"tasks/cancel", {&Session::cancel_task, kModern}},
  };
  return kMethods;
}

void Session::initialize(Request& r) {
  const std::string requested = string_of(r.protocol_version);
  if (requested.empty())
    return fail_request(
        r, {ErrorCode::invalid_params, "params.protocolVersion: a version string is needed",
            fmt::format(R"({{"supported":{}}})", quoted_versions())});
  // `initialize` can only agree on a legacy version; 2026-07-28 has no such method.
  const std::string version = is_supported_version(requested) && !is_modern_version(requested)
                                  ? requested
                                  : std::string(kLatestLegacyVersion);
  if (const size_t bytes = r.client_info.size() + r.client_capabilities.size();
      bytes > kMaxClientBytes)
    return fail_request(
        r, {ErrorCode::invalid_params,
            fmt::format("params.clientInfo and params.capabilities have {} bytes together; at most "
                        "{} are kept for a session",
                        bytes, kMaxClientBytes)});
  Json client = Json::object(), capabilities = Json::object();
  for (auto [key, text, into] :
       {std::tuple("clientInfo", r.client_info, &client),
        std::tuple("capabilities", r.client_capabilities, &capabilities)}) {
    if (!text.starts_with('{')) continue;
    auto json = parse_json(text);
    if (!json)
      return fail_request(
          r, {ErrorCode::invalid_params, fmt::format("params.{}: {}", key, json.error().message)});
    *into = std::move(*json);
  }
  {
    std::scoped_lock lock(mutex_);
    legacy_version_ = version;
    legacy_ = std::make_shared<const Asker>(Asker{version, implementation_from_json(client),
                                                  ClientCapabilities(std::move(capabilities)),
                                                  legacy_->log_level});
  }
  Json result = {{"protocolVersion", version},
                 {"capabilities", server_->capabilities(version)},
                 {"serverInfo", to_json(server_->info(), version)}};
  if (!server_->options.instructions.empty())
    result["instructions"] = server_->options.instructions;
  r.sink->opened(version);
  respond(r, to_text(result));
}

void Session::ping(Request& r) { respond(r, "{}"); }

void Session::set_level(Request& r) {
  const std::optional<LogLevel> level = find_log_level(string_of(r.level));
  if (!level)
    return fail_request(r, {ErrorCode::invalid_params,
                            "params.level: expected one of debug, info, notice, warning, "
                            "error, critical, alert, emergency"});
  {
    std::scoped_lock lock(mutex_);
    Asker asker = *legacy_;
    asker.log_level = *level;
    legacy_ = std::make_shared<const Asker>(std::move(asker));
  }
  respond(r, "{}");
}

void Session::discover(Request& r) {
  Json result = {{"supportedVersions", Json::array({kModernVersion})},
                 {"capabilities", server_->capabilities(r.asker->version)}};
  if (!server_->options.instructions.empty())
    result["instructions"] = server_->options.instructions;
  respond_cacheable(r, to_text(result));
}

void Session::list(Request& r, int kind) {
  std::optional<std::string> cursor;
  if (!r.cursor.empty() && r.cursor != "null") {
    if (!r.cursor.starts_with('"'))
      return fail_request(r, {ErrorCode::invalid_params, "params.cursor: expected a string"});
    cursor = string_of(r.cursor);
  }
  auto page = server_->catalog()->page(static_cast<ListKind>(kind), r.asker->version, cursor,
                                       server_->options.page_size);
  if (!page) return fail_request(r, page.error());
  respond_cacheable(r, *page);
}

void Session::list_tools(Request& r) { list(r, static_cast<int>(ListKind::tools)); }
void Session::list_resources(Request& r) { list(r, static_cast<int>(ListKind::resources)); }
void Session::list_resource_templates(Request& r) {
  list(r, static_cast<int>(ListKind::templates));
}
void Session::list_prompts(Request& r) { list(r, static_cast<int>(ListKind::prompts)); }

void Session::subscribe(Request& r) {
  const std::string uri = string_of(r.uri);
  if (uri.empty())
    return fail_request(
        r, {ErrorCode::invalid_params, "params.uri: the resource's URI, a string, is needed"});
  if (!server_->catalog()->find_resource(uri))
    return fail_request(r, resource_not_found(uri, r.modern));
  {
    std::scoped_lock lock(mutex_);
    if (subscribed_.size() >= server_->options.max_subscriptions && !subscribed_.contains(uri))
      return fail_request(
          r, {ErrorCode::invalid_params,
              fmt::format("this session is subscribed to {} resources already, the limit",
                          server_->options.max_subscriptions)});
    if (!subscribed_.contains(uri) && bytes_of(subscribed_) + uri.size() > kMaxSubscribedBytes)
      return fail_request(r, too_long_uris());
    subscribed_.insert(uri);
  }
  respond(r, "{}");
}

void Session::unsubscribe(Request& r) {
  {
    std::scoped_lock lock(mutex_);
    subscribed_.erase(string_of(r.uri));
  }
  respond(r, "{}");
}

// Answered when the server leaves; until then the subscription's notifications go out.
void Session::listen(Request& r) {
  const Json wanted =
      r.notifications.starts_with('{') ? parse_scanned(r.notifications).value_or(Json()) : Json();
  if (!wanted.is_object())
    return fail_request(r, {ErrorCode::invalid_params,
                            "params.notifications: an object such as {\"toolsListChanged\": true} "
                            "is needed"});
  auto asked = [&](const char* key) {
    const Json* value = member(wanted, key);
    return value && value->is_boolean() && value->get<bool>();
  };
  auto has = [&](ListKind kind) { return server_->catalog()->has(kind); };
  auto strings = [&](const Json& list) {
    return list.is_array() && list.size() <= server_->options.max_subscriptions &&
           std::all_of(list.begin(), list.end(), [](const Json& one) { return one.is_string(); });
  };
  Listen::Filter filter{.tools = asked("toolsListChanged") && has(ListKind::tools),
                        .prompts = asked("promptsListChanged") && has(ListKind::prompts),
                        .resources = asked("resourcesListChanged") && has(ListKind::resources)};
  if (const Json* uris = member(wanted, "resourceSubscriptions")) {
    if (!strings(*uris))
      return fail_request(r, {ErrorCode::invalid_params,
                              fmt::format("params.notifications.resourceSubscriptions: expected an "
                                          "array of at most {} URIs",
                                          server_->options.max_subscriptions)});
    for (const Json& uri : *uris) {
      if (server_->catalog()->find_resource(uri.get<std::string>()))
        filter.uris.insert(uri.get<std::string>());
    }
    if (bytes_of(filter.uris) > kMaxSubscribedBytes) return fail_request(r, too_long_uris());
  }
  if (const Json* ids = member(wanted, "taskIds"); ids && server_->tasks.enabled()) {
    if (!r.asker->capabilities.extension(kTasksExtension))
      return fail_request(r, missing_tasks_extension());
    if (!strings(*ids))
      return fail_request(r, {ErrorCode::invalid_params,
                              fmt::format("params.notifications.taskIds: expected an array of at "
                                          "most {} ids",
                                          server_->options.max_subscriptions)});
    for (const Json& id : *ids)
      if (server_->tasks.find(id.get<std::string>(), principal_))
        filter.tasks.insert(id.get<std::string>());
  }
  auto listen =
      std::make_shared<Listen>(r.message.id(), std::move(filter), r.sink, server_->info_member);
  {
    std::scoped_lock lock(mutex_);
    if (calls_.contains(r.message.id()) || !listens_.emplace(r.message.id(), listen).second)
      return fail_request(
          r, {ErrorCode::invalid_request, fmt::format("id {} belongs to a request that is still "
                                                      "running",
                                                      r.message.id().json)});
  }
  // Added before it starts: what changes before the acknowledgement is not told, and nothing that
  // changes after it is missed.
  const bool added = server_->subscriptions.add(listen);
  listen->start();
  if (!added) {
    {
      std::scoped_lock lock(mutex_);
      listens_.erase(r.message.id());
    }
    listen->end();
  }
}

}  // namespace gpumcp::mcp

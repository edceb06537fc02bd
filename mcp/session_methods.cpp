// Session's methods: the table, and what each answers. session.cpp has found the era and checked
// the envelope.
#include <fmt/format.h>

#include "mcp/call.h"
#include "mcp/server_impl.h"
#include "mcp/session_request.h"

namespace gpumcp::mcp {

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
  };
  return kMethods;
}

void Session::initialize(Request& r) {
  auto text = [](std::string_view json) {
    return json.starts_with('"') ? Json::parse(json).get<std::string>() : "";
  };
  const std::string requested = text(r.protocol_version);
  if (requested.empty())
    return fail_request(
        r, {ErrorCode::invalid_params, "params.protocolVersion: a version string is needed",
            fmt::format(R"({{"supported":{}}})", quoted_versions())});
  // `initialize` can only agree on a legacy version; 2026-07-28 has no such method.
  const std::string version = is_supported_version(requested) && !is_modern_version(requested)
                                  ? requested
                                  : std::string(kLatestLegacyVersion);
  Implementation client;
  if (r.client_info.starts_with('{')) {
    const auto info = parse_json(r.client_info);
    if (!info)
      return fail_request(
          r, {ErrorCode::invalid_params, "params.clientInfo: " + info.error().message});
    if (auto it = info->find("name"); it != info->end() && it->is_string())
      client.name = it->get<std::string>();
    if (auto it = info->find("version"); it != info->end() && it->is_string())
      client.version = it->get<std::string>();
  }
  {
    std::scoped_lock lock(mutex_);
    legacy_version_ = version;
    legacy_client_ = std::move(client);
  }
  Json result = {{"protocolVersion", version},
                 {"capabilities", server_->capabilities(false)},
                 {"serverInfo",
                  to_json(Implementation{server_->options.name, server_->options.version,
                                         version >= "2025-06-18" ? server_->options.title : ""})}};
  if (!server_->options.instructions.empty())
    result["instructions"] = server_->options.instructions;
  respond(r, to_text(result));
}

void Session::ping(Request& r) { respond(r, "{}"); }

void Session::set_level(Request& r) {
  std::optional<LogLevel> level;
  if (r.level.starts_with('"')) level = find_log_level(Json::parse(r.level).get<std::string>());
  if (!level)
    return fail_request(r, {ErrorCode::invalid_params,
                            "params.level: expected one of debug, info, notice, warning, "
                            "error, critical, alert, emergency"});
  {
    std::scoped_lock lock(mutex_);
    legacy_log_level_ = *level;
  }
  respond(r, "{}");
}

void Session::discover(Request& r) {
  Json result = {{"supportedVersions", Json::array({kModernVersion})},
                 {"capabilities", server_->capabilities(true)}};
  if (!server_->options.instructions.empty())
    result["instructions"] = server_->options.instructions;
  respond_cacheable(r, to_text(result));
}

namespace {
// All lists fit one page, so the only cursor that could come is none.
constexpr const char* kBadCursor =
    "params.cursor: no such page; leave it out to list from the start";
}  // namespace

void Session::list_tools(Request& r) {
  if (!r.cursor.empty()) return fail_request(r, {ErrorCode::invalid_params, kBadCursor});
  respond_cacheable(r, server_->tool_list(r.version));
}

void Session::list_resources(Request& r) {
  if (!r.cursor.empty()) return fail_request(r, {ErrorCode::invalid_params, kBadCursor});
  respond_cacheable(r, server_->resource_list(r.version, false));
}

void Session::list_resource_templates(Request& r) {
  if (!r.cursor.empty()) return fail_request(r, {ErrorCode::invalid_params, kBadCursor});
  respond_cacheable(r, server_->resource_list(r.version, true));
}

void Session::call_tool(Request& r) {
  if (!r.name.starts_with('"'))
    return fail_request(
        r, {ErrorCode::invalid_params, "params.name: the tool's name, a string, is needed"});
  std::string name = Json::parse(r.name).get<std::string>();
  const Server::Impl::ToolEntry* entry = server_->find_tool(name);
  if (!entry) {
    std::string known;
    for (auto& e : server_->tools) (known += known.empty() ? "" : ", ") += e.tool.name;
    return fail_request(
        r, {ErrorCode::invalid_params, fmt::format("unknown tool \"{}\"; tools: {}",
                                                   name.substr(0, 80), known.substr(0, 400))});
  }
  if (r.arguments == "null") r.arguments = {};
  if (!r.arguments.empty() && !r.arguments.starts_with('{'))
    return fail_request(r, {ErrorCode::invalid_params, "params.arguments: expected an object"});
  auto call = start_call(r, std::move(name));
  if (!call) return;
  if (entry->forwarder) return (*entry->forwarder)(call);
  const bool taken = server_->pool.submit([call, entry] {
    // The barrier: whatever a handler throws becomes this call's isError, and the server lives on.
    std::string what;
    try {
      if (call->cancelled()) return;
      auto arguments = parse_json(call->arguments().empty() ? "{}" : call->arguments());
      if (!arguments)
        return call->finish(CallToolResult::error("arguments: " + arguments.error().message));
      return call->finish(entry->handler(*arguments, *call));
    } catch (const DecodeError& e) {
      what = e.what();
    } catch (const ToolError& e) {
      what = e.what();
    } catch (const std::exception& e) {
      what = fmt::format("{} failed: {}", entry->tool.name, e.what());
    } catch (...) {
      what =
          fmt::format("{} failed: it threw something that is no std::exception", entry->tool.name);
    }
    call->finish(CallToolResult::error(std::move(what)));
  });
  if (!taken)
    call->finish(CallToolResult::error(
        fmt::format("busy: {} calls are running and {} wait; retry in a few seconds",
                    server_->options.max_running_calls, server_->options.max_queued_calls)));
}

void Session::read_resource(Request& r) {
  if (!r.uri.starts_with('"'))
    return fail_request(
        r, {ErrorCode::invalid_params, "params.uri: the resource's URI, a string, is needed"});
  std::string uri = Json::parse(r.uri).get<std::string>();
  auto not_found = [modern = r.modern](const std::string& u) {
    std::string data = R"({"uri":)";
    append_string(data, u);
    return Error{modern ? ErrorCode::invalid_params : ErrorCode::resource_not_found_legacy,
                 fmt::format("resource not found: {}", u.substr(0, 200)), data + "}"};
  };
  const Server::Impl::ResourceEntry* entry = server_->find_resource(uri);
  if (!entry) return fail_request(r, not_found(uri));
  auto call = start_call(r, std::move(uri));
  if (!call) return;
  if (entry->forwarder) return (*entry->forwarder)(call);
  const bool taken = server_->pool.submit([call, entry, not_found] {
    try {
      auto contents = entry->reader(call->name(), *call);
      if (contents)
        call->finish_contents(*contents);
      else
        call->finish_error(not_found(call->name()));
    } catch (const std::exception& e) {
      call->finish_error({ErrorCode::internal_error, e.what()});
    } catch (...) {
      call->finish_error({ErrorCode::internal_error, "reading the resource failed"});
    }
  });
  if (!taken)
    call->finish_error(
        {ErrorCode::internal_error, "busy: too many requests are running; retry in a few seconds"});
}

}  // namespace gpumcp::mcp

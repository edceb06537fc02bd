// A request's envelope: the members of its params, and the era that serves it. Source: 2026-07-28
// basic/versioning; the order of checks is the one that the official suite expects.
#include <fmt/format.h>

#include "mcp/session.h"
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
    else if (key == "capabilities")
      r.client_capabilities = value;
    else if (key == "level")
      r.level = value;
    else if (key == "inputResponses")
      r.input_responses = value;
    else if (key == "requestState")
      r.request_state = value;
    else if (key == "ref")
      r.ref = value;
    else if (key == "argument")
      r.argument = value;
    else if (key == "context")
      r.context = value;
    else if (key == "notifications")
      r.notifications = value;
    else if (key == "taskId")
      r.task_id = value;
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
    r.capabilities = legacy_capabilities_;
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
    const std::string_view subject =
        method == "tools/call" || method == "prompts/get" ? r.name
        : method == "resources/read"                      ? r.uri
        : method == "tasks/get" || method == "tasks/update" || method == "tasks/cancel"
            ? r.task_id
            : std::string_view();
    if (subject.starts_with('"')) {
      const std::string want = Json::parse(subject).get<std::string>();
      if (!http->name || *http->name != want)
        return mismatch("Mcp-Name", http->name.value_or(""), want);
    }
  }
  r.capabilities = ClientCapabilities(*capabilities);
  if (auto info = r.meta.find(kMetaClientInfo); info != r.meta.end())
    r.client = implementation_from_json(*info);
  if (auto level = r.meta.find(kMetaLogLevel); level != r.meta.end()) {
    if (level->is_string()) r.log_level = find_log_level(level->get<std::string>());
    if (!r.log_level)
      return fail(ErrorCode::invalid_params,
                  "params._meta: the log level is unknown: debug to emergency");
  }
  return {};
}

}  // namespace gpumcp::mcp

// A request's envelope: the members of its params, and the era that serves it. Source: 2026-07-28
// basic/versioning; the order of checks is the one that the official suite expects.
#include <fmt/format.h>

#include "mcp/json_members.h"
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

// The first thing that is wrong in a 2026-07-28 request's `_meta`, if it is one; and who asks.
void read_asker(RequestMeta& out) {
  const auto version = out.json.find(kMetaProtocolVersion);
  const auto capabilities = out.json.find(kMetaClientCapabilities);
  out.has_version = version != out.json.end();
  out.has_capabilities = capabilities != out.json.end();
  auto missing = [](std::string_view key, std::string_view what) {
    return Error{ErrorCode::invalid_params,
                 fmt::format("params._meta[\"{}\"]: {} is needed", key, what)};
  };
  if (!out.has_version || !version->is_string()) {
    out.broken = missing(kMetaProtocolVersion, "a version string");
  } else if (!out.has_capabilities || !capabilities->is_object()) {
    out.broken = missing(kMetaClientCapabilities, "an object ({} for none)");
  } else {
    Asker asker{version->get<std::string>(), {}, ClientCapabilities(*capabilities)};
    if (auto info = out.json.find(kMetaClientInfo); info != out.json.end())
      asker.client = implementation_from_json(*info);
    if (auto level = out.json.find(kMetaLogLevel); level != out.json.end()) {
      if (level->is_string()) asker.log_level = find_log_level(level->get<std::string>());
      if (!asker.log_level)
        out.broken_late = {ErrorCode::invalid_params,
                           "params._meta: the log level is unknown: debug to emergency"};
    }
    out.asker = std::make_shared<const Asker>(std::move(asker));
  }
}

Result<std::shared_ptr<const RequestMeta>> read_meta(std::string_view text) {
  constexpr size_t kMaxKept = 4096;
  struct Last {
    std::string text;
    std::shared_ptr<const RequestMeta> meta;
  };
  thread_local Last last;
  if (last.meta && last.text == text) return last.meta;
  auto parsed = parse_scanned(text);
  if (!parsed) return tl::unexpected(std::move(parsed.error()));
  if (!parsed->is_object())
    return fail(ErrorCode::invalid_params,
                "params._meta: expected an object, got " + std::string(text.substr(0, 20)));
  auto out = std::make_shared<RequestMeta>();
  out->json = std::move(*parsed);
  if (auto token = out->json.find("progressToken"); token != out->json.end()) {
    if (!token->is_string() && !token->is_number_integer())
      return fail(ErrorCode::invalid_params,
                  "params._meta.progressToken: expected a string or an integer");
    out->progress_token = to_text(*token);
    if (out->progress_token.size() > kMaxIdBytes)  // each notification repeats it
      return fail(ErrorCode::invalid_params,
                  fmt::format("params._meta.progressToken has {} bytes; at most {} are accepted",
                              out->progress_token.size(), kMaxIdBytes));
  }
  read_asker(*out);
  if (text.size() <= kMaxKept) last = {std::string(text), out};
  return out;
}

}  // namespace

Result<void> Session::read_params(Request& r) {
  std::string_view meta;
  split_object(r.message.params(), [&](std::string_view key, std::string_view value) {
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
  if (meta.empty() || meta == "null") meta = "{}";
  auto read = read_meta(meta);
  if (!read) return tl::unexpected(std::move(read.error()));
  r.meta = std::move(*read);
  return {};
}

// Settles which era serves the request, in the order that the official suite checks.
Result<void> Session::settle_era(Request& r, const HttpClaims* http) {
  const RequestMeta& meta = *r.meta;
  const bool claims_modern =
      meta.has_version || meta.has_capabilities ||
      (r.message.method() != "initialize" && http && http->protocol_version &&
       is_modern_version(*http->protocol_version) && is_supported_version(*http->protocol_version));
  if (!claims_modern) {
    bool initialized = false;
    {
      std::scoped_lock lock(mutex_);
      r.asker = legacy_;
      initialized = legacy_version_.has_value();
    }
    if (r.message.method() == "initialize" || !http || initialized) return {};
    Asker asker = *r.asker;
    asker.version = http->protocol_version.value_or("2025-03-26");
    r.asker = std::make_shared<const Asker>(std::move(asker));
    if (!is_supported_version(r.asker->version)) {
      return fail(ErrorCode::invalid_request,
                  fmt::format("MCP-Protocol-Version \"{}\" is not supported; supported: {}",
                              r.asker->version.substr(0, 40), quoted_versions()));
    }
    return {};
  }
  r.modern = true;
  r.asker = meta.asker;
  if (meta.broken) return tl::unexpected(*meta.broken);
  auto mismatch = [](std::string_view header, std::string_view got, std::string_view want) {
    return fail(ErrorCode::header_mismatch,
                fmt::format("header {} is \"{}\", the body says \"{}\"", header, got.substr(0, 80),
                            want.substr(0, 80)));
  };
  if (http && !http->protocol_version)
    return mismatch("MCP-Protocol-Version", "", r.asker->version);
  if (http && *http->protocol_version != r.asker->version)
    return mismatch("MCP-Protocol-Version", *http->protocol_version, r.asker->version);
  if (!is_modern_version(r.asker->version) || !is_supported_version(r.asker->version))
    return tl::unexpected(unsupported_version(r.asker->version));
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
      const std::string want = string_of(subject);
      if (!http->name || *http->name != want)
        return mismatch("Mcp-Name", http->name.value_or(""), want);
    }
  }
  if (meta.broken_late) return tl::unexpected(*meta.broken_late);
  return {};
}

}  // namespace gpumcp::mcp

#include "mcp/call.h"

#include <fmt/format.h>

#include "mcp/server_impl.h"

namespace gpumcp::mcp {
namespace {

constexpr std::string_view kComplete = R"({"resultType":"complete",)";

// The object's text with the members that `keep` answers with a text; what stays is as it came.
template <class Keep>
std::string filter_members(std::string_view object, Keep keep) {
  std::string out = "{";
  size_t from = object.find('{') + 1;
  (void)scan_json(object, [&](std::string_view key, std::string_view value) {
    const auto at = static_cast<size_t>(value.data() - object.data());
    std::string_view name = object.substr(from, at - from);  // `, "key" : `
    from = at + value.size();
    const std::optional<std::string> text = keep(key, value);
    if (!text) return;
    if (const size_t comma = name.find(','); comma < name.find('"')) name.remove_prefix(comma + 1);
    (out += out.size() > 1 ? "," : "") += name;
    out += *text;
  });
  return out += '}';
}

// A 2026-07-28 result as the older versions know it.
std::string legacy_result(std::string_view result) {
  return filter_members(
      result, [](std::string_view key, std::string_view value) -> std::optional<std::string> {
        if (key == "resultType" || key == "ttlMs" || key == "cacheScope") return std::nullopt;
        if (key != "_meta" || value.find(kMetaServerInfo) == value.npos) return std::string(value);
        std::string meta = filter_members(value, [](std::string_view k, std::string_view v) {
          return k == kMetaServerInfo ? std::nullopt : std::optional(std::string(v));
        });
        return meta == "{}" ? std::nullopt : std::optional(std::move(meta));
      });
}

}  // namespace

std::string server_info_member(const Implementation& server) {
  return fmt::format(R"("{}":{})", kMetaServerInfo, to_text(to_json(server)));
}

std::string modern_result(std::string_view result, std::string_view info_member) {
  std::string out;
  const std::string_view body = result.substr(1, result.size() - 2);  // without the braces
  out.reserve(kComplete.size() + body.size() + info_member.size() + 16);
  out += kComplete;
  out += body;
  if (!body.empty()) out += ',';
  ((out += R"("_meta":{)") += info_member) += "}}";
  return out;
}

Call::Call(std::shared_ptr<Session> session, Spec spec)
    : session_(std::move(session)), spec_(std::move(spec)) {
  session_->server_->call_began();
}

Call::~Call() { session_->server_->call_ended(this); }

bool Call::claim() {
  if (answered_.exchange(true)) return false;
  std::scoped_lock lock(mutex_);  // the last notification has left, later ones see answered_
  return true;
}

void Call::send(std::string message, std::optional<ErrorCode> code) {
  // The id is free before the peer can see the answer: it may use it again at once.
  session_->release_id(spec_.id);
  spec_.sink->respond(std::move(message), code);
  session_->end_call();
}

const CallInfo& Call::call() const {
  std::call_once(info_made_, [&] {
    info_.emplace(
        CallInfo{spec_.name, spec_.asker->version, spec_.asker->client, spec_.meta->json});
  });
  return *info_;
}

void Call::append_result(std::string& out, const CallToolResult& result) {
  Json meta;  // what goes out instead of the result's own
  {
    std::scoped_lock lock(mutex_);
    meta = result_meta_;
  }
  if (!meta.is_null() && !result._meta.is_null()) {
    Json own = result._meta;
    own.update(meta);
    meta = std::move(own);
  }
  if (spec_.modern && result._meta.is_object() && result._meta.contains(kMetaServerInfo)) {
    if (meta.is_null()) meta = result._meta;
    meta.erase(kMetaServerInfo);
  }
  const Json& sent = meta.is_null() ? result._meta : meta;
  out += spec_.modern ? kComplete : "{";
  append_members(out, result, spec_.asker->version);
  if (!spec_.modern) {
    if (!sent.is_null()) (out += R"(,"_meta":)") += to_text(sent);
    out += '}';
    return;
  }
  if (!sent.is_null() && !sent.is_object())
    throw std::runtime_error("its result's _meta is no object");
  out += R"(,"_meta":{)";
  if (!sent.empty()) {
    const std::string text = to_text(sent);
    (out += std::string_view(text).substr(1, text.size() - 2)) += ',';
  }
  (out += session_->server_->info_member) += "}}";
}

void Call::finish(const CallToolResult& result) {
  std::string text;
  if (auto task = this->task()) {
    append_result(text, result);
    return task->complete(std::move(text));
  }
  if (answered_) return;
  if (!wanted_.empty()) return finish_round();  // it caught what should have ended it
  text.reserve(512 + 3 * result.structuredContent.size());
  ((text += R"({"jsonrpc":"2.0","id":)") += spec_.id.json) += R"(,"result":)";
  append_result(text, result);  // may throw, and then another answer can still be given
  text += '}';
  if (claim()) send(std::move(text), std::nullopt);
}

void Call::finish_text(std::string result) {
  if (!wanted_.empty()) return finish_round();
  if (!claim()) return;
  if (spec_.modern) {
    const std::string& server = session_->server_->info_member;
    std::string meta;  // of its own, which it keeps
    const std::string rest = filter_members(
        result, [&](std::string_view key, std::string_view value) -> std::optional<std::string> {
          if (key != "_meta" || !value.starts_with('{')) return std::string(value);
          meta = value;
          return std::nullopt;
        });
    if (meta.empty()) {
      result = modern_result(result, server);
    } else {
      meta.insert(1, server + (meta == "{}" ? "" : ","));
      result = fmt::format(R"({}"_meta":{}{}{})", kComplete, meta, rest.size() > 2 ? "," : "",
                           std::string_view(rest).substr(1));
    }
  }
  send(make_result(spec_.id, result), std::nullopt);
}

void Call::fail_handler(const std::string& what, ErrorCode code) {
  if (spec_.method == "tools/call") return finish(CallToolResult::error(what));
  finish_error({code, what});
}

void Call::finish_contents(const std::vector<ResourceContents>& contents) {
  if (!wanted_.empty()) return finish_round();
  if (!claim()) return;
  std::string out = R"({"contents":[)";
  for (size_t i = 0; i < contents.size(); ++i) {
    if (i) out += ',';
    append_json(out, contents[i]);
  }
  out += ']';
  if (spec_.modern) {
    out += R"(,"ttlMs":0,"cacheScope":"private"})";
    out = modern_result(out, session_->server_->info_member);
  } else {
    out += '}';
  }
  send(make_result(spec_.id, out), std::nullopt);
}

void Call::finish_error(const Error& error) {
  Error out = error;
  if (static_cast<int>(out.code) > 0) out.code = ErrorCode::internal_error;
  if (auto task = this->task()) return task->fail(error_object(out));
  if (!claim()) return;
  // A worker speaks 2026-07-28, where an unknown resource is an invalid parameter.
  if (!spec_.modern && spec_.method == "resources/read" && out.code == ErrorCode::invalid_params)
    out.code = ErrorCode::resource_not_found_legacy;
  send(make_error(spec_.id, out), out.code);
}

void Call::cancel() {
  const bool first = !answered_.exchange(true);
  if (!first && task()) return;  // the request is over, the task goes on
  stop_.request_stop();
  if (!first) return;
  session_->server_->call_abandoned(this);  // until its handler lets go of it
  session_->release_id(spec_.id);
  spec_.sink->dropped();
  session_->end_call();
}

void Call::progress(double progress, std::optional<double> total, std::string_view message) {
  if (auto task = this->task()) return message.empty() ? void() : task->describe(message);
  if (!wants_progress()) return;
  Json params = {{"progress", progress}};
  if (total) params["total"] = *total;
  if (!message.empty()) params["message"] = message;
  notify_progress(params);
}

void Call::progress(const Json& params) { notify_progress(params); }

void Call::notify_progress(const Json& params) {
  if (!wants_progress()) return;
  const auto given = params.find("progress");
  if (given == params.end() || !given->is_number()) return;
  const double value = given->get<double>();
  std::string text = fmt::format(R"({{"progressToken":{},"progress":)", spec_.meta->progress_token);
  append_number(text, value);
  if (auto total = params.find("total"); total != params.end() && total->is_number())
    append_number(text += R"(,"total":)", total->get<double>());
  if (auto message = params.find("message");
      message != params.end() && message->is_string() && spec_.asker->version >= "2025-03-26")
    (text += R"(,"message":)") += to_text(*message);
  text += '}';
  std::scoped_lock lock(mutex_);
  if (answered_ || value <= last_progress_) return;  // the spec: it must grow
  last_progress_ = value;
  spec_.sink->notify(make_notification("notifications/progress", text));
}

void Call::log(LogLevel level, const Json& data, std::string_view logger) {
  const auto& wanted = spec_.asker->log_level;
  if (!wanted || level < *wanted) return;
  std::string params = fmt::format(R"({{"level":"{}")", log_level_name(level));
  if (!logger.empty()) append_string(params += R"(,"logger":)", logger);
  (params += R"(,"data":)") += to_text(data);
  params += '}';
  std::scoped_lock lock(mutex_);
  if (!answered_) spec_.sink->notify(make_notification("notifications/message", params));
}

void Call::set_meta(std::string_view key, Json value) {
  std::scoped_lock lock(mutex_);
  if (answered_ && !task_) return;
  if (result_meta_.is_null()) result_meta_ = Json::object();
  result_meta_[std::string(key)] = std::move(value);
}

void Call::respond_result(std::string_view result) {
  if (!claim()) return;
  if (spec_.modern) return send(make_result(spec_.id, result), std::nullopt);
  if (spec_.asker->version < "2025-06-18" && spec_.method == "tools/call") {
    // Older clients know neither structuredContent nor links: decode and write anew.
    if (auto decoded = call_tool_result_from_text(result))
      return send(make_result(spec_.id, to_text(*decoded, spec_.asker->version)), std::nullopt);
  }
  send(make_result(spec_.id, legacy_result(result)), std::nullopt);
}

void Call::respond_tool_error(std::string_view text) { fail_handler(std::string(text)); }

}  // namespace gpumcp::mcp

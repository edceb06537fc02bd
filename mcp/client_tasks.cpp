// Calls that go on as tasks (extension io.modelcontextprotocol/tasks, SEP-2663). A task is asked
// after at the pace that its server names; what it asks is answered by the handlers, each question
// once; its outcome is the call's. A connection that fails meanwhile is no reason to give a task
// up: that is what tasks are for.
//
//   tools/call ─ resultType "task" ─▶ tasks/get ─ working ──────────┐
//                                       ▲       ─ input_required ─ tasks/update
//                                       └────── pause ◀─────────────┘
//                                               ─ completed, failed, cancelled ─▶ the call's
//                                               outcome
#include <fmt/format.h>

#include <algorithm>

#include "mcp/client.h"
#include "mcp/json_members.h"

namespace gpumcp::mcp {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

// Between two questions after a task, whatever its server wants.
constexpr auto kShortestPause = milliseconds(10), kLongestPause = milliseconds(60000);
constexpr int kMaxUnanswered = 5;  // answers in a row that did not come

milliseconds milliseconds_of(std::string_view json, milliseconds otherwise) {
  const Json value = Json::parse(json, nullptr, false);
  constexpr double kMost = 1e15;
  return value.is_number() && value >= 0
             ? milliseconds(static_cast<int64_t>(std::min(value.get<double>(), kMost)))
             : otherwise;
}

std::optional<TaskInfo::Status> find_status(std::string_view name) {
  constexpr std::string_view kNames[] = {"working", "input_required", "completed", "failed",
                                         "cancelled"};
  const auto* it = std::find(std::begin(kNames), std::end(kNames), name);
  if (it == std::end(kNames)) return std::nullopt;
  return static_cast<TaskInfo::Status>(it - kNames);
}

// Of a result: CreateTaskResult, or what tasks/get gives (`detailed`).
Result<TaskInfo> read_task(std::string_view text, bool detailed) {
  TaskInfo out;
  std::string status;
  std::string_view requests, error;
  (void)scan_json(text, [&](std::string_view key, std::string_view value) {
    if (key == "taskId")
      out.id = string_of(value);
    else if (key == "status")
      status = string_of(value);
    else if (key == "statusMessage")
      out.message = string_of(value);
    else if (key == "createdAt")
      out.created_at = string_of(value);
    else if (key == "lastUpdatedAt")
      out.last_updated_at = string_of(value);
    else if (key == "ttlMs" && value != "null")
      out.ttl = milliseconds_of(value, milliseconds(0));
    else if (key == "pollIntervalMs")
      out.poll_interval = milliseconds_of(value, out.poll_interval);
    else if (key == "inputRequests")
      requests = value;
    else if (key == "result")
      out.result = value;
    else if (key == "error")
      error = value;
  });
  auto wrong = [](std::string what) {
    return fail(ErrorCode::invalid_request, "the server's task " + std::move(what));
  };
  if (out.id.empty()) return wrong("has no \"taskId\"");
  const auto known = find_status(status);
  if (!known) return wrong(fmt::format("has the status \"{}\"", status.substr(0, 80)));
  out.status = *known;
  if (!detailed) return out;
  using Status = TaskInfo::Status;
  if (out.status == Status::input_required) {
    auto json = parse_json(requests);
    if (!json || !json->is_object()) return wrong("needs input, but has no \"inputRequests\"");
    out.input_requests = std::move(*json);
  } else if (out.status == Status::completed && !out.result.starts_with('{')) {
    return wrong("is completed, but has no \"result\"");
  } else if (out.status == Status::failed) {
    if (!error.starts_with('{')) return wrong("failed, but has no \"error\"");
    out.error = parse_error_object(error);
  }
  return out;
}

std::string task_member(const std::string& id) {
  std::string out = "\"taskId\":";
  append_string(out, id);
  return out;
}

// The connection's failure, not the task's.
bool may_pass(const Error& error) {
  const int code = static_cast<int>(error.code);
  return code >= 500 && code <= 599;
}

// False: one of them stopped before the time had passed.
bool pause(milliseconds time, std::stop_token caller, std::stop_token client) {
  std::mutex mutex;
  std::condition_variable_any never;
  std::stop_callback wake(client, [&] {
    std::scoped_lock lock(mutex);
    never.notify_all();
  });
  std::unique_lock lock(mutex);
  never.wait_for(lock, caller, std::clamp(time, kShortestPause, kLongestPause),
                 [&] { return client.stop_requested(); });
  return !caller.stop_requested() && !client.stop_requested();
}

}  // namespace

Result<std::variant<CallToolResult, TaskInfo>> Client::start_tool(const std::string& name,
                                                                  const Json& arguments,
                                                                  const CallOptions& options) {
  using Started = std::variant<CallToolResult, TaskInfo>;
  auto outcome = call(name, arguments, options);
  if (!outcome) return tl::unexpected(std::move(outcome.error()));
  if (outcome->is_task)
    return read_task(outcome->text, false).map([](TaskInfo&& t) { return Started(std::move(t)); });
  return call_tool_result_from_text(outcome->text).map([](CallToolResult&& r) {
    return Started(std::move(r));
  });
}

Result<CallToolResult> Client::call_tool(const std::string& name, const Json& arguments,
                                         const CallOptions& options, std::string* raw) {
  auto outcome = call(name, arguments, options);
  if (!outcome) return tl::unexpected(std::move(outcome.error()));
  if (outcome->is_task) {
    auto task = read_task(outcome->text, false);
    if (!task) return tl::unexpected(std::move(task.error()));
    auto text = follow(std::move(*task), options);
    if (!text) return tl::unexpected(std::move(text.error()));
    outcome->text = std::move(*text);
  }
  auto result = call_tool_result_from_text(outcome->text);
  if (raw) *raw = std::move(outcome->text);
  return result;
}

Result<TaskInfo> Client::get_task(const std::string& id, const CallOptions& options) {
  auto text = request("tasks/get", task_member(id), options);
  if (!text) return tl::unexpected(std::move(text.error()));
  return read_task(*text, true);
}

Result<void> Client::update_task(const std::string& id, const Json& input_responses,
                                 const CallOptions& options) {
  auto text = request("tasks/update",
                      task_member(id) + ",\"inputResponses\":" + to_text(input_responses), options);
  if (!text) return tl::unexpected(std::move(text.error()));
  return {};
}

Result<void> Client::cancel_task(const std::string& id, const CallOptions& options) {
  auto text = request("tasks/cancel", task_member(id), options);
  if (!text) return tl::unexpected(std::move(text.error()));
  return {};
}

Result<CallToolResult> Client::follow_task(const std::string& id, const CallOptions& options,
                                           std::string* raw) {
  auto task = get_task(id, options);
  if (!task) return tl::unexpected(std::move(task.error()));
  auto text = follow(std::move(*task), options);
  if (!text) return tl::unexpected(std::move(text.error()));
  auto result = call_tool_result_from_text(*text);
  if (raw) *raw = std::move(*text);
  return result;
}

Result<std::string> Client::follow(TaskInfo task, const CallOptions& options) {
  using Status = TaskInfo::Status;
  const std::stop_token closing = stopping_.get_token();
  std::set<std::string> answered;
  auto began = Clock::now();
  auto give_up = [&](Error error) {  // nobody waits for it any more, and for its word neither
    request_async("tasks/cancel", task_member(task.id), {.on_result = [](auto) {}});
    return tl::unexpected<Error>(std::move(error));
  };
  auto is_over = [&] {
    return options.max_timeout.count() > 0 && Clock::now() >= began + options.max_timeout;
  };
  CallOptions asking = options;
  asking.on_progress = nullptr;
  asking.max_timeout = milliseconds(0);
  // How it came is known; what that brings is not, but for what is still working.
  bool known = task.status == Status::working || !task.result.empty() || task.error ||
               !task.input_requests.empty();
  std::optional<std::string> told;
  for (int failures = 0;;) {
    if (known) {
      if (options.on_task && told != task.last_updated_at + task.message) options.on_task(task);
      told = task.last_updated_at + task.message;
      if (task.status == Status::completed) return task.result;
      if (task.error) return tl::unexpected(std::move(*task.error));
      if (task.status == Status::input_required) {
        const auto asked = Clock::now();
        if (auto ok = answer_task(task, answered, asking); !ok) {
          if (options.stop_token.stop_requested() || !may_pass(ok.error()))
            return give_up(std::move(ok.error()));
        }
        began += Clock::now() - asked;  // the user's time does not count
      }
    }
    if (task.status == Status::cancelled)
      return fail(ErrorCode::cancelled,
                  fmt::format("the task {} was cancelled at the server", task.id.substr(0, 80)));
    if ((known || failures > 0) && !pause(task.poll_interval, options.stop_token, closing)) {
      if (closing.stop_requested())
        return fail(ErrorCode::closed, "the server closed the connection");
      return give_up({ErrorCode::cancelled, "the call, a task by now, was cancelled"});
    }
    if (is_over())
      return give_up(
          {ErrorCode::timeout, fmt::format("the task {} had no result within {} ms",
                                           task.id.substr(0, 80), options.max_timeout.count())});
    auto next = get_task(task.id, asking);
    if (next) {
      failures = 0;
      next->id = task.id;
      task = std::move(*next);
      known = true;
    } else if (next.error().code == ErrorCode::cancelled) {
      return give_up(std::move(next.error()));
    } else if (!may_pass(next.error()) || ++failures >= kMaxUnanswered) {
      return tl::unexpected(std::move(next.error()));
    }
  }
}

// A key may show until the server has taken its answer; it names one question for ever.
Result<void> Client::answer_task(const TaskInfo& task, std::set<std::string>& answered,
                                 const CallOptions& options) {
  Json open = Json::object();
  for (const auto& [key, question] : task.input_requests.items())
    if (!answered.contains(key)) open[key] = question;
  if (open.empty()) return {};
  auto answers = answers_to(to_text(open), options.stop_token);
  if (!answers) return tl::unexpected(std::move(answers.error()));
  auto text =
      request("tasks/update", task_member(task.id) + ",\"inputResponses\":" + *answers, options);
  if (!text) return tl::unexpected(std::move(text.error()));
  for (const auto& [key, question] : open.items()) answered.insert(key);
  return {};
}

}  // namespace gpumcp::mcp

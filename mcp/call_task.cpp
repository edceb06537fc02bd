// A call that goes on as a task: its request is answered with the task's id, and what its handler
// does from then on shows in the task. See tasks.h.
#include <fmt/format.h>

#include "mcp/call.h"
#include "mcp/server_impl.h"

namespace gpumcp::mcp {

std::shared_ptr<Task> Call::task() const {
  std::scoped_lock lock(mutex_);
  return task_;
}

bool Call::start_task(TaskOptions options) {
  if (task()) return true;
  TaskStore& tasks = session_->server_->tasks;
  const bool possible = spec_.modern && spec_.method == "tools/call" && tasks.enabled();
  if (!possible || !spec_.asker->capabilities.extension(kTasksExtension)) {
    if (options.required)
      throw MissingCapability(Json{{"extensions", Json{{kTasksExtension, Json::object()}}}});
    return false;
  }
  if (options.ttl <= std::chrono::milliseconds::zero())
    options.ttl = session_->server_->options.task_ttl;
  auto task = tasks.create({.principal = spec_.principal,
                            .options = options,
                            .stop =
                                [weak = weak_from_this()] {
                                  if (auto call = weak.lock()) call->stop_task();
                                },
                            .changed =
                                [server = std::weak_ptr(session_->server_)](
                                    const std::string& id, const std::string& members) {
                                  if (auto alive = server.lock())
                                    alive->subscriptions.task_changed(id, members);
                                }});
  if (!task) {
    if (options.required) throw ToolError("busy: too many tasks are kept; retry later");
    return false;
  }
  {
    std::scoped_lock lock(mutex_);
    task_ = task;
  }
  if (!claim()) {  // cancelled
    tasks.remove(task->id());
    throw HandlerLeft();
  }
  send(make_result(spec_.id, fmt::format(R"({{"resultType":"task",{},"_meta":{{{}}}}})",
                                         task->members(false), session_->server_->info_member)),
       std::nullopt);
  return true;
}

void Call::stop_task() {
  session_->server_->call_abandoned(this);  // until its handler lets go of it
  stop_.request_stop();
}

std::map<std::string, InputResponse> Call::ask_task(
    Task& task, const std::map<std::string, InputRequest>& requests) {
  const auto limit = session_->server_->options.ask_timeout;
  StandIns::about_to_wait();
  auto answers = task.ask(requests, stop_token(), limit);
  if (cancelled()) throw HandlerLeft();
  if (!answers)
    throw ToolError(fmt::format("the client did not answer within {} s", limit.count() / 1000));
  return std::move(*answers);
}

}  // namespace gpumcp::mcp

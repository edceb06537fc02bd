// Session's methods for tasks (extension io.modelcontextprotocol/tasks): tasks/get, tasks/update,
// tasks/cancel. Only for clients that declare the extension with the request; a task of another
// principal is unknown. Source: SEP-2663.
#include <fmt/format.h>

#include "mcp/json_members.h"
#include "mcp/server_impl.h"
#include "mcp/session_request.h"

namespace gpumcp::mcp {

Error missing_tasks_extension() {
  const Json required = {{"extensions", Json{{kTasksExtension, Json::object()}}}};
  return {ErrorCode::missing_client_capability,
          fmt::format("the client did not declare the extension {}", kTasksExtension),
          to_text(Json{{"requiredCapabilities", required}})};
}

std::shared_ptr<Task> Session::find_task(Request& r) {
  if (!server_->tasks.enabled()) {
    fail_request(r,
                 {ErrorCode::method_not_found, fmt::format("this server makes no tasks: \"{}\" is "
                                                           "not known",
                                                           r.message.method())});
    return nullptr;
  }
  if (!r.asker->capabilities.extension(kTasksExtension)) {
    fail_request(r, missing_tasks_extension());
    return nullptr;
  }
  if (!r.task_id.starts_with('"')) {
    fail_request(r, {ErrorCode::invalid_params, "params.taskId: a string is needed"});
    return nullptr;
  }
  const std::string id = string_of(r.task_id);
  auto task = server_->tasks.find(id, principal_);
  if (!task)
    fail_request(r, {ErrorCode::invalid_params,
                     fmt::format("task \"{}\" is not known here: it expired, or never was",
                                 id.substr(0, 80))});
  return task;
}

void Session::get_task(Request& r) {
  if (auto task = find_task(r)) respond(r, fmt::format("{{{}}}", task->members(true)));
}

void Session::update_task(Request& r) {
  auto task = find_task(r);
  if (!task) return;
  auto responses = parse_json(r.input_responses);
  if (!responses || !responses->is_object())
    return fail_request(r, {ErrorCode::invalid_params,
                            "params.inputResponses: an object of answers by key is needed"});
  if (auto ok = task->update(*responses); !ok) return fail_request(r, ok.error());
  respond(r, "{}");
}

void Session::cancel_task(Request& r) {
  auto task = find_task(r);
  if (!task) return;
  task->cancel();
  respond(r, "{}");
}

}  // namespace gpumcp::mcp

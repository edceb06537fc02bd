// Tasks: calls that outlive their request (extension io.modelcontextprotocol/tasks, 2026-07-28
// only). A handler makes its call a task by Context::start_task(): the client gets the task's id at
// once, asks how it goes (tasks/get), answers what it asks (tasks/update) or stops it
// (tasks/cancel). TaskStore owns them, one per server; the Call whose handler runs holds its own
// too. A task ends by itself, by cancel(), or when the server leaves; its outcome is kept for its
// time to live. Thread-safe. Private to mcp. Source: SEP-2663, ext-tasks.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <vector>

#include "mcp/client_features.h"
#include "mcp/context.h"
#include "mcp/result.h"

namespace gpumcp::mcp {

inline constexpr std::string_view kTasksExtension = "io.modelcontextprotocol/tasks";

class Task {
 public:
  using Clock = std::chrono::system_clock;
  struct Spec {
    std::string id, principal;
    TaskOptions options;
    std::function<void()> stop;  // tells the handler; called once at most, without a lock
    // Told of each change, with the task's members as text; in their order.
    std::function<void(const std::string& id, const std::string& members)> changed;
  };
  explicit Task(Spec spec);

  const std::string& id() const { return spec_.id; }
  const std::string& principal() const { return spec_.principal; }
  // The members of a Task object, without braces: `"taskId":…,"status":…`. With `detailed`, what
  // its status brings: inputRequests, result or error.
  std::string members(bool detailed) const;

  // The handler's side. After the first end nothing changes any more.
  void describe(std::string_view status_message);
  void complete(std::string result);  // JSON text of the result
  void fail(std::string error);       // JSON text of a JSON-RPC error object
  // Waits until the client has answered all; nullopt: nobody did in time, or it was stopped.
  std::optional<std::map<std::string, InputResponse>> ask(
      const std::map<std::string, InputRequest>& requests, std::stop_token stop,
      std::chrono::milliseconds limit);

  // The client's side. Unknown keys are ignored; an answer that does not fit its question is
  // invalid_params, and then none is taken.
  Result<void> update(const Json& input_responses);
  void cancel();

  bool ended() const;
  // True when its outcome has been kept for as long as was promised.
  bool expired(Clock::time_point now) const;
  size_t bytes() const;

 private:
  enum class Status { working, input_required, completed, failed, cancelled };
  struct Question {
    std::string name;  // what the handler calls it; the wire's key is used once in a task
    InputRequest request;
    std::optional<InputResponse> answer = {};
  };
  std::string members_locked(bool detailed) const;
  bool ended_locked() const { return status_ >= Status::completed; }
  void changed_locked();
  void end(Status status, std::string outcome);

  const Spec spec_;
  const Clock::time_point created_ = Clock::now();
  mutable std::mutex mutex_;  // guards what follows, and the order in which changes are told
  std::condition_variable_any answered_;
  Status status_ = Status::working;
  Clock::time_point updated_ = created_;
  std::string message_, outcome_;
  std::map<std::string, Question> questions_;  // outstanding and just answered, by key
  size_t rounds_ = 0;
};

class TaskStore {
 public:
  struct Limits {
    size_t max_tasks = 128;
    size_t max_bytes = 256u << 20;  // of outcomes that are kept
  };
  explicit TaskStore(Limits limits) : limits_(limits) {}

  // nullptr: there are too many. `spec` lacks the id, which is made here and cannot be guessed.
  std::shared_ptr<Task> create(Task::Spec spec);
  // nullptr: there is none of this id for this principal, or it has expired.
  std::shared_ptr<Task> find(const std::string& id, const std::string& principal);
  void remove(const std::string& id);
  void cancel_all();  // the server leaves; refuses new ones
  bool enabled() const { return limits_.max_tasks > 0; }

 private:
  const Limits limits_;
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<Task>> tasks_;
  bool leaving_ = false;
};

}  // namespace gpumcp::mcp

#include "mcp/tasks.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <sys/random.h>

#include <array>

#include "mcp/json_members.h"

namespace gpumcp::mcp {
namespace {

constexpr std::string_view kNames[] = {"working", "input_required", "completed", "failed",
                                       "cancelled"};
constexpr size_t kMaxStatusBytes = 1000;  // of a status message

std::string iso_8601(Task::Clock::time_point t) {
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(t.time_since_epoch());
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z",
                     fmt::gmtime(static_cast<std::time_t>(ms.count() / 1000)), ms.count() % 1000);
}

// 128 random bits: who knows the id was told it.
std::string random_id() {
  std::array<unsigned char, 16> bytes;
  if (getentropy(bytes.data(), bytes.size()) != 0)
    throw std::runtime_error("no random numbers from the system");
  std::string out;
  for (unsigned char byte : bytes) out += fmt::format("{:02x}", byte);
  return out;
}

}  // namespace

Task::Task(Spec spec) : spec_(std::move(spec)), message_(spec_.options.message) {}

std::string Task::members_locked(bool detailed) const {
  std::string out = R"("taskId":)";
  append_string(out, spec_.id);
  out += fmt::format(R"(,"status":"{}")", kNames[static_cast<int>(status_)]);
  if (!message_.empty()) append_string(out += R"(,"statusMessage":)", message_);
  out += fmt::format(R"(,"createdAt":"{}","lastUpdatedAt":"{}","ttlMs":{},"pollIntervalMs":{})",
                     iso_8601(created_), iso_8601(updated_), spec_.options.ttl.count(),
                     spec_.options.poll_interval.count());
  if (!detailed) return out;
  if (status_ == Status::completed) (out += R"(,"result":)") += outcome_;
  if (status_ == Status::failed) (out += R"(,"error":)") += outcome_;
  if (status_ == Status::input_required) {
    Json requests = Json::object();
    for (auto& [key, question] : questions_)
      if (!question.answer)
        requests[key] = {{"method", method_of(question.request)},
                         {"params", params_to_json(question.request)}};
    (out += R"(,"inputRequests":)") += to_text(requests);
  }
  return out;
}

std::string Task::members(bool detailed) const {
  std::scoped_lock lock(mutex_);
  return members_locked(detailed);
}

void Task::changed_locked() {
  updated_ = Clock::now();
  if (spec_.changed) spec_.changed(spec_.id, members_locked(true));
}

void Task::describe(std::string_view status_message) {
  std::scoped_lock lock(mutex_);
  status_message = status_message.substr(0, kMaxStatusBytes);
  if (ended_locked() || message_ == status_message) return;
  message_ = status_message;
  changed_locked();
}

void Task::end(Status status, std::string outcome) {
  std::scoped_lock lock(mutex_);
  if (ended_locked()) return;
  status_ = status;
  outcome_ = std::move(outcome);
  questions_.clear();
  message_.clear();
  changed_locked();
}

void Task::complete(std::string result) { end(Status::completed, std::move(result)); }
void Task::fail(std::string error) { end(Status::failed, std::move(error)); }

void Task::cancel() {
  if (ended()) return;
  end(Status::cancelled, {});
  if (spec_.stop) spec_.stop();
}

std::optional<std::map<std::string, InputResponse>> Task::ask(
    const std::map<std::string, InputRequest>& requests, std::stop_token stop,
    std::chrono::milliseconds limit) {
  std::unique_lock lock(mutex_);
  if (ended_locked()) return std::nullopt;
  ++rounds_;
  for (auto& [name, request] : requests)
    questions_.emplace(rounds_ == 1 ? name : fmt::format("{}#{}", name, rounds_),
                       Question{name, request});
  status_ = Status::input_required;
  changed_locked();
  const bool answered = answered_.wait_for(lock, stop, limit, [&] {
    for (auto& [key, question] : questions_)
      if (!question.answer) return false;
    return true;
  });
  if (!answered || ended_locked()) return std::nullopt;
  std::map<std::string, InputResponse> out;
  for (auto& [key, question] : questions_) out.emplace(question.name, std::move(*question.answer));
  questions_.clear();
  status_ = Status::working;
  changed_locked();
  return out;
}

Result<void> Task::update(const Json& input_responses) {
  std::scoped_lock lock(mutex_);
  std::map<std::string, InputResponse> good;
  for (auto& [key, json] : input_responses.items()) {
    auto it = questions_.find(key);
    if (it == questions_.end() || it->second.answer) continue;
    auto response = input_response_from_json(it->second.request, json);
    if (!response)
      return gpumcp::mcp::fail(ErrorCode::invalid_params,
                               fmt::format("params.inputResponses[\"{}\"]: {}", key.substr(0, 80),
                                           response.error().message));
    good.emplace(key, std::move(*response));
  }
  if (good.empty()) return {};
  bool all = true;
  for (auto& [key, question] : questions_) {
    if (auto it = good.find(key); it != good.end()) question.answer = std::move(it->second);
    all &= question.answer.has_value();
  }
  if (all)
    answered_.notify_all();
  else
    changed_locked();
  return {};
}

bool Task::ended() const {
  std::scoped_lock lock(mutex_);
  return ended_locked();
}

bool Task::expired(Clock::time_point now) const {
  std::scoped_lock lock(mutex_);
  return ended_locked() && now > updated_ + spec_.options.ttl;
}

size_t Task::bytes() const {
  std::scoped_lock lock(mutex_);
  return outcome_.size();
}

std::shared_ptr<Task> TaskStore::create(Task::Spec spec) {
  std::scoped_lock lock(mutex_);
  const auto now = Task::Clock::now();
  std::erase_if(tasks_, [&](const auto& one) { return one.second->expired(now); });
  size_t bytes = 0;
  for (auto& [id, task] : tasks_) bytes += task->bytes();
  if (leaving_ || tasks_.size() >= limits_.max_tasks || bytes >= limits_.max_bytes) return nullptr;
  spec.id = random_id();
  auto task = std::make_shared<Task>(std::move(spec));
  tasks_[task->id()] = task;
  return task;
}

std::shared_ptr<Task> TaskStore::find(const std::string& id, const std::string& principal) {
  std::scoped_lock lock(mutex_);
  auto it = tasks_.find(id);
  if (it == tasks_.end() || it->second->principal() != principal) return nullptr;
  if (it->second->expired(Task::Clock::now())) {
    tasks_.erase(it);
    return nullptr;
  }
  return it->second;
}

void TaskStore::remove(const std::string& id) {
  std::shared_ptr<Task> gone;  // released after the lock
  std::scoped_lock lock(mutex_);
  if (auto it = tasks_.find(id); it != tasks_.end()) {
    gone = std::move(it->second);
    tasks_.erase(it);
  }
}

void TaskStore::cancel_all() {
  std::map<std::string, std::shared_ptr<Task>> tasks;
  {
    std::scoped_lock lock(mutex_);
    leaving_ = true;
    tasks = tasks_;
  }
  for (auto& [id, task] : tasks) task->cancel();
}

}  // namespace gpumcp::mcp

#include "mcp/subscriptions.h"

#include <fmt/format.h>

namespace gpumcp::mcp {
namespace {

constexpr std::string_view kSubscriptionId = "io.modelcontextprotocol/subscriptionId";

}  // namespace

Listen::Listen(RequestId id, Filter filter, std::shared_ptr<ReplySink> sink,
               std::string server_meta)
    : id_(std::move(id)),
      filter_(std::move(filter)),
      sink_(std::move(sink)),
      server_meta_(std::move(server_meta)) {}

std::string Listen::meta() const { return fmt::format(R"("{}":{})", kSubscriptionId, id_.json); }

void Listen::send(std::string_view method, std::string_view members) {
  std::scoped_lock lock(mutex_);
  if (!started_ || ended_) return;
  sink_->notify(make_notification(method, fmt::format(R"({{"_meta":{{{}}}{}{}}})", meta(),
                                                      members.empty() ? "" : ",", members)));
}

void Listen::start() {
  Json honoured = Json::object();
  if (filter_.tools) honoured["toolsListChanged"] = true;
  if (filter_.prompts) honoured["promptsListChanged"] = true;
  if (filter_.resources) honoured["resourcesListChanged"] = true;
  if (!filter_.uris.empty()) honoured["resourceSubscriptions"] = filter_.uris;
  if (!filter_.tasks.empty()) honoured["taskIds"] = filter_.tasks;
  std::scoped_lock lock(mutex_);
  if (ended_) return;
  started_ = true;
  sink_->notify(make_notification(
      "notifications/subscriptions/acknowledged",
      fmt::format(R"({{"_meta":{{{}}},"notifications":{}}})", meta(), to_text(honoured))));
}

void Listen::list_changed(std::string_view what) {
  const bool wanted = what == "tools"     ? filter_.tools
                      : what == "prompts" ? filter_.prompts
                                          : filter_.resources;
  if (wanted) send(fmt::format("notifications/{}/list_changed", what), {});
}

void Listen::resource_updated(const std::string& uri) {
  if (!filter_.uris.contains(uri)) return;
  std::string members = R"("uri":)";
  append_string(members, uri);
  send("notifications/resources/updated", members);
}

void Listen::task_changed(const std::string& id, const std::string& members) {
  if (filter_.tasks.contains(id)) send("notifications/tasks", members);
}

void Listen::end() {
  std::scoped_lock lock(mutex_);
  if (std::exchange(ended_, true)) return;
  sink_->respond(make_result(id_, fmt::format(R"({{"resultType":"complete","_meta":{{{},{}}}}})",
                                              meta(), server_meta_)),
                 std::nullopt);
}

void Listen::cancel() {
  {
    std::scoped_lock lock(mutex_);
    if (std::exchange(ended_, true)) return;
  }
  sink_->dropped();
}

bool Subscriptions::add(const std::shared_ptr<Listen>& listen) {
  std::scoped_lock lock(mutex_);
  if (leaving_ || listens_.size() >= max_listens_) return false;
  listens_.insert(listen);
  return true;
}

void Subscriptions::remove(const std::shared_ptr<Listen>& listen) {
  std::scoped_lock lock(mutex_);
  listens_.erase(listen);
}

void Subscriptions::attach(const std::shared_ptr<Session>& session) {
  std::scoped_lock lock(mutex_);
  sessions_[session.get()] = session;
}

void Subscriptions::detach(const Session* session) {
  std::scoped_lock lock(mutex_);
  sessions_.erase(session);
}

std::vector<std::shared_ptr<Listen>> Subscriptions::all_listens() const {
  std::scoped_lock lock(mutex_);
  return {listens_.begin(), listens_.end()};
}

std::vector<std::shared_ptr<Session>> Subscriptions::all_sessions() const {
  std::scoped_lock lock(mutex_);
  std::vector<std::shared_ptr<Session>> out;
  for (auto& [key, weak] : sessions_)
    if (auto session = weak.lock()) out.push_back(std::move(session));
  return out;
}

void Subscriptions::list_changed(std::string_view what) {
  for (auto& listen : all_listens()) listen->list_changed(what);
  for (auto& session : all_sessions())
    session->tell(fmt::format("notifications/{}/list_changed", what), {});
}

void Subscriptions::resource_updated(const std::string& uri) {
  for (auto& listen : all_listens()) listen->resource_updated(uri);
  for (auto& session : all_sessions()) session->tell_updated(uri);
}

void Subscriptions::task_changed(const std::string& id, const std::string& members) {
  for (auto& listen : all_listens()) listen->task_changed(id, members);
}

void Subscriptions::elicitation_complete(const std::string& id) {
  for (auto& session : all_sessions()) session->tell_elicited(id);
}

void Subscriptions::broadcast(std::string_view method, std::string_view params) {
  for (auto& session : all_sessions()) session->send(make_notification(method, params));
}

void Subscriptions::end_all() {
  std::set<std::shared_ptr<Listen>> ended;
  {
    std::scoped_lock lock(mutex_);
    leaving_ = true;
    ended.swap(listens_);
  }
  for (auto& listen : ended) listen->end();
}

size_t Subscriptions::listens() const {
  std::scoped_lock lock(mutex_);
  return listens_.size();
}

}  // namespace gpumcp::mcp

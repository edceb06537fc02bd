// Subscriptions: who is told when lists or resources change. In 2026-07-28 that is each open
// subscriptions/listen, by its own filter; up to 2025-11-25 every session that has initialized, on
// the stream that it has. One per server. Thread-safe; nothing is sent under the lock. Private to
// mcp. Source: 2026-07-28 basic/patterns/subscriptions; 2025-11-25 server/resources.
#pragma once

#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "mcp/message.h"
#include "mcp/session.h"

namespace gpumcp::mcp {

// One open subscriptions/listen. Ends by end() (the server leaves: with a result) or cancel().
class Listen {
 public:
  struct Filter {
    bool tools = false, prompts = false, resources = false;
    std::set<std::string> uris, tasks;
  };
  Listen(RequestId id, Filter filter, std::shared_ptr<ReplySink> sink, std::string server_meta);

  // Sends the acknowledgement, which comes before every other message of this subscription.
  void start();
  void list_changed(std::string_view what);
  void resource_updated(const std::string& uri);
  void task_changed(const std::string& id, const std::string& members);
  void end();
  void cancel();

 private:
  std::string meta() const;  // {"io.modelcontextprotocol/subscriptionId":…}
  void send(std::string_view method, std::string_view members);

  const RequestId id_;
  const Filter filter_;
  const std::shared_ptr<ReplySink> sink_;
  const std::string server_meta_;  // the serverInfo member of results
  std::mutex mutex_;               // guards what follows, and the order of what is sent
  bool started_ = false, ended_ = false;
};

class Subscriptions {
 public:
  explicit Subscriptions(size_t max_listens) : max_listens_(max_listens) {}

  // False: there are too many, or the server is leaving.
  bool add(const std::shared_ptr<Listen>& listen);
  void remove(const std::shared_ptr<Listen>& listen);
  void attach(const std::shared_ptr<Session>& session);
  void detach(const Session* session);

  void list_changed(std::string_view what);
  void resource_updated(const std::string& uri);
  void task_changed(const std::string& id, const std::string& members);
  void elicitation_complete(const std::string& id);
  // A notification of ours to every session with a stream.
  void broadcast(std::string_view method, std::string_view params);
  void end_all();  // and refuses new ones
  size_t listens() const;

 private:
  std::vector<std::shared_ptr<Listen>> all_listens() const;
  std::vector<std::shared_ptr<Session>> all_sessions() const;

  const size_t max_listens_;
  mutable std::mutex mutex_;
  std::set<std::shared_ptr<Listen>> listens_;
  std::map<const Session*, std::weak_ptr<Session>> sessions_;
  bool leaving_ = false;
};

}  // namespace gpumcp::mcp

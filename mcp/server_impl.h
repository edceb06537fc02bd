// What Server and Session share: the catalog, subscriptions, and the pool. Private to mcp.
// Thread-safe; what changes while serving is guarded.
#pragma once

#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "mcp/catalog.h"
#include "mcp/exit_watch.h"
#include "mcp/sealer.h"
#include "mcp/server.h"
#include "mcp/stand_ins.h"
#include "mcp/subscriptions.h"
#include "mcp/tasks.h"
#include "mcp/thread_pool.h"

namespace gpumcp::mcp {

struct Asker;
class StreamSink;

struct Server::Impl {
  explicit Impl(ServerOptions o);
  ~Impl();

  // The snapshot that a request begins with; edit() replaces it.
  std::shared_ptr<const Catalog> catalog() const;
  void edit(const std::function<void(Catalog& catalog, uint64_t number)>& change);
  enum class Checks { own, by_schema };  // the handler's own, or those of check_calls()
  // Throws what is wrong with it; works out its headers.
  void prepare_tool(Catalog::ToolEntry& entry) const;
  void add_tool(Catalog::ToolEntry entry, Checks checks);
  void add_resource(Catalog::ResourceEntry entry);
  // Tells clients, if there may be any.
  void changed_list(std::string_view what);

  Implementation info() const;
  Json capabilities(std::string_view version) const;
  bool advertises(std::string_view method) const;

  const ServerOptions options;
  const std::string info_member;              // `"io.modelcontextprotocol/serverInfo":{…}`
  const std::shared_ptr<const Asker> nobody;  // who asks before `initialize`
  const Sealer sealer;
  Subscriptions subscriptions;
  TaskStore tasks;

 private:
  mutable std::mutex catalog_mutex_;
  std::shared_ptr<const Catalog> catalog_ = std::make_shared<Catalog>();
  uint64_t registrations_ = 0;

 public:
  std::map<std::string, std::function<Result<std::string>(std::string_view)>, std::less<>> methods;

  // Bookkeeping of calls; the three of Call's life.
  void call_began();
  void call_abandoned(const void* call);
  void call_ended(const void* call);
  void changed();  // options.on_change, unless the Server has gone
  std::mutex change_mutex;
  bool gone = false;

  mutable std::mutex abandoned_mutex;
  std::map<const void*, std::chrono::steady_clock::time_point> abandoned;
  std::atomic<std::chrono::steady_clock::time_point> last_activity =
      std::chrono::steady_clock::now();
  std::atomic<bool> draining = false;
  std::mutex drain_mutex;
  std::condition_variable drained;  // whether no call is left, once draining

  std::mutex transports_mutex;
  std::map<Transport*, std::shared_ptr<StreamSink>> transports;
  std::atomic<bool> stopped = false;
  const int stop_fd;  // readable once stopped
  std::atomic<size_t> calls = 0, connections = 0;

  std::unique_ptr<ExitWatch>
      exit_watch;  // of serve_stdio; outlives the pool, whose handlers may hang
  StandIns stand_ins;
  ThreadPool pool;  // stopped by ~Server, so that handlers have ended before the rest goes
};

}  // namespace gpumcp::mcp

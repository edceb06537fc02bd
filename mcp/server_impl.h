// What Server and Session share: the registered features, and the pool. Private to mcp.
// Features are written while one thread registers them, and only read from then on; what changes
// while serving is guarded.
#pragma once

#include <atomic>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "mcp/exit_watch.h"
#include "mcp/server.h"
#include "mcp/thread_pool.h"

namespace gpumcp::mcp {

class StreamSink;

struct Server::Impl {
  struct ToolEntry {
    Tool tool;
    ToolHandler handler;  // empty: forwarded
    const Forwarder* forwarder = nullptr;
  };
  struct ResourceEntry {
    ResourceTemplate resource;  // uriTemplate holds the URI of a plain resource
    bool is_template = false;
    ResourceReader reader;  // empty: forwarded
    const Forwarder* forwarder = nullptr;
  };

  explicit Impl(ServerOptions o);
  ~Impl();

  void insert_tool(ToolEntry entry);
  const ToolEntry* find_tool(std::string_view name) const;
  const ResourceEntry* find_resource(std::string_view uri) const;
  Json capabilities(bool modern) const;
  // The lists' JSON, written once a version.
  std::string tool_list(const std::string& version);
  std::string resource_list(const std::string& version, bool templates) const;

  const ServerOptions options;
  std::vector<ToolEntry> tools;  // in the order of registration, which is the order of the list
  std::map<std::string, size_t, std::less<>> tool_index;
  std::vector<ResourceEntry> resources;
  std::vector<std::unique_ptr<Forwarder>> forwarders;

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

  std::mutex list_mutex;
  std::map<std::string, std::string> tool_lists;

  std::mutex transports_mutex;
  std::map<Transport*, std::shared_ptr<StreamSink>> transports;
  std::atomic<bool> stopped = false;
  const int stop_fd;  // readable once stopped
  std::atomic<size_t> calls = 0, connections = 0;

  std::unique_ptr<ExitWatch>
      exit_watch;   // of serve_stdio; outlives the pool, whose handlers may hang
  ThreadPool pool;  // stopped by ~Server, so that handlers have ended before the rest goes
};

}  // namespace gpumcp::mcp

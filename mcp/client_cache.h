// ClientCache: what clients remember of their servers (2026-07-28 SEP-2549): results whose server
// said for how long they hold ("ttlMs") and whether others may see them ("cacheScope"), and which
// protocol version a server spoke last, so that an old one is not probed each time. One client has
// its own unless several are given the same. Bounded: what was stored first goes first.
// Thread-safe.
#pragma once

#include <chrono>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "mcp/json.h"

namespace gpumcp::mcp {

// For how long a result holds, and for whom; read from its members. Absent, negative or not a
// number: not at all. A day at most, whatever the server says.
struct CacheHint {
  std::chrono::milliseconds ttl{0};
  bool is_public = false;
  static CacheHint of(std::string_view result);
};

class ClientCache {
 public:
  using Clock = std::chrono::steady_clock;
  // The results' texts: of one request, or of a list's pages in order.
  using Texts = std::shared_ptr<const std::vector<std::string>>;

  // What a result belongs to. `principal`: who asked (a name for the credentials in use, never the
  // credentials); results that are not public are found by the same one only.
  struct Key {
    std::string server, principal, method, params;
  };

  explicit ClientCache(size_t max_bytes = 16u << 20) : max_bytes_(max_bytes) {}

  Texts find(const Key& key, Clock::time_point now = Clock::now());
  // Does nothing if the ttl is none, or the texts are more than an eighth of the room.
  void store(const Key& key, std::vector<std::string> texts, CacheHint hint,
             Clock::time_point now = Clock::now());
  // Forgets what `server` said to `method`; with `uri`, only reads of it or of what it is part of.
  void drop(std::string_view server, std::string_view method,
            std::optional<std::string_view> uri = {});
  void clear();
  size_t bytes() const;

  std::optional<std::string> version(const std::string& server) const;
  void set_version(const std::string& server, std::string version);

 private:
  struct Entry {
    std::string id;  // of the key, without the principal if it is public
    std::string server, method, params;
    Texts texts;
    size_t bytes = 0;
    Clock::time_point expires;
  };
  void erase(std::list<Entry>::iterator entry);

  const size_t max_bytes_;
  mutable std::mutex mutex_;  // guards what follows
  std::list<Entry> entries_;  // oldest first
  std::map<std::string, std::list<Entry>::iterator> by_id_;
  std::map<std::string, std::string> versions_;
  size_t bytes_ = 0;
};

}  // namespace gpumcp::mcp

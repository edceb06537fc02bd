#include "mcp/client_cache.h"

#include <algorithm>

#include "mcp/json_members.h"

namespace gpumcp::mcp {
namespace {

constexpr int64_t kMaxTtlMs = 24 * 3600 * 1000;
constexpr size_t kMaxVersions = 1024;
constexpr size_t kEntryBytes = 256;  // about what an entry takes beside its texts

// Lengths first, so that no two keys share an id.
std::string id_of(const ClientCache::Key& key, bool is_public) {
  std::string out = is_public ? "+" : "-";
  for (const std::string* part : {&key.server, &key.method, &key.params, &key.principal}) {
    if (is_public && part == &key.principal) continue;
    append_number(out, static_cast<uint64_t>(part->size()));
    (out += ':') += *part;
  }
  return out;
}

}  // namespace

CacheHint CacheHint::of(std::string_view result) {
  CacheHint hint;
  (void)scan_json(result, [&](std::string_view key, std::string_view value) {
    if (key == "cacheScope") hint.is_public = value == "\"public\"";
    if (key != "ttlMs" || value.empty() || value[0] < '0' || value[0] > '9') return;
    const auto ms = parse_scanned(value);
    if (!ms) return;  // a number beyond double
    hint.ttl = std::chrono::milliseconds(
        static_cast<int64_t>(std::min(ms->get<double>(), static_cast<double>(kMaxTtlMs))));
  });
  return hint;
}

ClientCache::Texts ClientCache::find(const Key& key, Clock::time_point now) {
  std::scoped_lock lock(mutex_);
  for (const bool is_public : {false, true}) {
    auto it = by_id_.find(id_of(key, is_public));
    if (it == by_id_.end()) continue;
    if (it->second->expires > now) return it->second->texts;
    erase(it->second);
  }
  return nullptr;
}

void ClientCache::store(const Key& key, std::vector<std::string> texts, CacheHint hint,
                        Clock::time_point now) {
  std::scoped_lock lock(mutex_);
  for (const bool is_public : {false, true}) {
    if (auto it = by_id_.find(id_of(key, is_public)); it != by_id_.end()) erase(it->second);
  }
  size_t bytes = kEntryBytes + key.params.size();
  for (const std::string& text : texts) bytes += text.size();
  if (hint.ttl <= hint.ttl.zero() || bytes > max_bytes_ / 8) return;
  while (!entries_.empty() && bytes_ + bytes > max_bytes_) erase(entries_.begin());
  entries_.push_back({id_of(key, hint.is_public), key.server, key.method, key.params,
                      std::make_shared<const std::vector<std::string>>(std::move(texts)), bytes,
                      now + hint.ttl});
  by_id_[entries_.back().id] = std::prev(entries_.end());
  bytes_ += bytes;
}

void ClientCache::erase(std::list<Entry>::iterator entry) {
  bytes_ -= entry->bytes;
  by_id_.erase(entry->id);
  entries_.erase(entry);
}

void ClientCache::drop(std::string_view server, std::string_view method,
                       std::optional<std::string_view> uri) {
  std::scoped_lock lock(mutex_);
  for (auto it = entries_.begin(); it != entries_.end();) {
    const auto entry = it++;
    if (entry->server != server || entry->method != method) continue;
    // params of a read: "uri":"…"
    if (uri && !uri->starts_with(text_of(Json::parse("{" + entry->params + "}"), "uri"))) continue;
    erase(entry);
  }
}

void ClientCache::clear() {
  std::scoped_lock lock(mutex_);
  entries_.clear();
  by_id_.clear();
  versions_.clear();
  bytes_ = 0;
}

size_t ClientCache::bytes() const {
  std::scoped_lock lock(mutex_);
  return bytes_;
}

std::optional<std::string> ClientCache::version(const std::string& server) const {
  std::scoped_lock lock(mutex_);
  auto it = versions_.find(server);
  return it == versions_.end() ? std::nullopt : std::optional(it->second);
}

void ClientCache::set_version(const std::string& server, std::string version) {
  std::scoped_lock lock(mutex_);
  if (versions_.size() >= kMaxVersions && !versions_.contains(server)) versions_.clear();
  versions_[server] = std::move(version);
}

}  // namespace gpumcp::mcp

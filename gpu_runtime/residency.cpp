#include "gpu_runtime/residency.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iterator>

#include "gpu_runtime/error.h"

namespace gpumcp::gpu_runtime {
namespace {

// How often somebody who waits for room asks whether it is still wanted: callers that leave give no
// sign here.
constexpr auto kAskAgain = std::chrono::milliseconds(20);

std::string place_name(c10::Device device) {
  return device.is_cpu() ? std::string("cpu") : device.str();
}

}  // namespace

std::string readable_bytes(std::uint64_t bytes) {
  constexpr const char* kUnits[] = {"bytes", "kB", "MB", "GB", "TB", "PB", "EB"};
  std::size_t unit = 0;
  double value = static_cast<double>(bytes);
  for (; value >= 999.5 && unit + 1 < std::size(kUnits); ++unit) value /= 1000;
  char text[32];
  std::snprintf(text, sizeof text, unit == 0 || value >= 99.95 ? "%.0f %s" : "%.1f %s", value,
                kUnits[unit]);
  return text;
}

std::uint64_t physical_memory() {
  const auto pages = static_cast<std::uint64_t>(::sysconf(_SC_PHYS_PAGES));
  std::uint64_t bytes = pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  std::ifstream file("/sys/fs/cgroup/memory.max");  // a number, or "max"
  if (std::uint64_t quota = 0; file >> quota && quota > 0) bytes = std::min(bytes, quota);
  return bytes;
}

std::uint64_t resident_memory() {
  std::ifstream file("/proc/self/statm");
  std::uint64_t all = 0, resident = 0;
  file >> all >> resident;
  return resident * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

Residency::Residency(Limit limit) : limit_(std::move(limit)) {}

// The place, its limit known. The limit is asked for without the lock: it may wake a driver.
Residency::Place& Residency::place_of(c10::Device device, Lock& lock) {
  const std::pair key(device.type(), device.is_cpu() ? c10::DeviceIndex(0) : device.index());
  Place& place = places_[key];  // nodes stay where they are
  if (!place.limit) {
    lock.unlock();
    const std::uint64_t limit = limit_(device);
    lock.lock();
    if (!place.limit) place.limit = limit;
  }
  return place;
}

void Residency::hold(Place& place, const std::shared_ptr<Tenant>& tenant, std::uint64_t bytes) {
  Held& held = place.held[tenant.get()];
  held.tenant = tenant;
  held.name = tenant->tenant_name();
  held.bytes += bytes;
  place.used += bytes;
  place.peak = std::max(place.peak, place.used);
}

std::vector<std::shared_ptr<Tenant>> Residency::others(const Place& place,
                                                       const Tenant* except) const {
  std::vector<std::shared_ptr<Tenant>> all;
  for (const auto& [key, held] : place.held) {
    if (key == except) continue;
    if (auto tenant = held.tenant.lock()) all.push_back(std::move(tenant));
  }
  return all;
}

std::string Residency::explain_locked(c10::Device device, const Place& place) const {
  std::string text = place_name(device) + " holds " + readable_bytes(place.used) +
                     " of its limit of " + readable_bytes(place.limit.value_or(0));
  std::vector<const Held*> held;
  for (const auto& [key, one] : place.held) held.push_back(&one);
  std::ranges::sort(held, [](const Held* a, const Held* b) { return a->bytes > b->bytes; });
  const char* separator = ": ";
  for (const Held* one : held) {
    text += separator + one->name + " " + readable_bytes(one->bytes);
    separator = ", ";
  }
  return text;
}

// The idle one that was not used for longest. False: none is idle.
bool Residency::evict_oldest(Place& place, const Tenant* for_whom, Lock& lock) {
  const std::vector<std::shared_ptr<Tenant>> candidates = others(place, for_whom);
  lock.unlock();
  std::shared_ptr<Tenant> oldest;
  std::optional<SteadyTime> since;
  for (const auto& tenant : candidates) {
    const auto idle = tenant->idle_since();
    if (!idle || (since && *idle >= *since)) continue;
    oldest = tenant;
    since = idle;
  }
  const bool gone = oldest && oldest->evict();
  lock.lock();
  if (gone) ++place.evictions;
  return oldest != nullptr;
}

// One step towards room, for the first of the queue. True: something changed, look again; false:
// all who could go are in use (and have been asked to make way).
bool Residency::make_room(c10::Device device, const Tenant* for_whom, std::uint64_t bytes,
                          Lock& lock) {
  Place& place = place_of(device, lock);
  if (evict_oldest(place, for_whom, lock)) return true;
  std::vector<std::shared_ptr<Tenant>> candidates = others(place, for_whom);
  const std::uint64_t limit = *place.limit, used = place.used;
  lock.unlock();
  // In use, all of them: as many as it takes are asked to let no new calls in.
  std::uint64_t promised = 0;
  for (const auto& tenant : candidates) {
    if (tenant->pinned()) continue;
    if (used + bytes - std::min(used + bytes, promised) <= limit) break;
    tenant->make_way(true);
    lock.lock();
    if (const auto held = place.held.find(tenant.get()); held != place.held.end())
      promised += held->second.bytes;
    lock.unlock();
  }
  lock.lock();
  return false;
}

void Residency::acquire(const std::shared_ptr<Tenant>& tenant, c10::Device device,
                        std::uint64_t bytes, const StillWanted& wanted) {
  Lock lock(mutex_);
  Place& place = place_of(device, lock);
  place.queue.push_back(tenant.get());
  // Whichever way this ends: the next may look, and whoever was asked to make way and did not have
  // to go serves on.
  struct Turn {
    Residency& residency;
    Place& place;
    const Tenant* tenant;
    Lock& lock;
    std::list<const Tenant*>::iterator me = std::prev(place.queue.end());
    ~Turn() {
      if (!lock.owns_lock()) lock.lock();
      place.queue.erase(me);
      ++place.changes;
      residency.changed_.notify_all();
      const auto rest = residency.others(place, tenant);
      lock.unlock();
      for (const auto& one : rest) one->make_way(false);
    }
  } turn{*this, place, tenant.get(), lock};
  auto refuse = [&](const std::string& why) {
    return Error(ErrorCode::out_of_memory,
                 tenant->tenant_name() + " needs " + readable_bytes(bytes) + " on " +
                     place_name(device) + ", " + why + ". " + explain_locked(device, place) +
                     ". Raise the limit (--" + (device.is_cpu() ? "host" : "device") +
                     "-memory), unload or unpin a model, or take a smaller one or dtype");
  };
  for (;;) {
    if (bytes > *place.limit) throw refuse("more than all that models may hold");
    if (place.queue.front() == tenant.get()) {
      if (place.used + bytes <= *place.limit) return hold(place, tenant, bytes);
      std::uint64_t fixed = 0;
      for (const auto& one : others(place, tenant.get()))
        fixed += one->pinned() ? place.held.at(one.get()).bytes : 0;
      if (fixed + bytes > *place.limit) throw refuse("but models that are pinned take the room");
      const std::uint64_t seen = place.changes;
      if (make_room(device, tenant.get(), bytes, lock) || place.changes != seen) continue;
    }
    if (wanted) {
      lock.unlock();
      const bool go_on = wanted();
      lock.lock();
      if (!go_on) throw Error(ErrorCode::cancelled, "the call was cancelled");
    }
    changed_.wait_for(lock, kAskAgain);
  }
}

bool Residency::try_acquire(const std::shared_ptr<Tenant>& tenant, c10::Device device,
                            std::uint64_t bytes) {
  Lock lock(mutex_);
  Place& place = place_of(device, lock);
  if (!place.queue.empty() || bytes > *place.limit - std::min(*place.limit, place.used))
    return false;
  hold(place, tenant, bytes);
  return true;
}

void Residency::settle(const Tenant& tenant, c10::Device device, std::uint64_t bytes) {
  Lock lock(mutex_);
  Place& place = place_of(device, lock);
  const auto found = place.held.find(&tenant);
  if (found == place.held.end()) return;
  place.used += bytes - found->second.bytes;
  found->second.bytes = bytes;
  place.peak = std::max(place.peak, place.used);
  ++place.changes;
  changed_.notify_all();
}

bool Residency::resize(const Tenant& tenant, c10::Device device, std::uint64_t bytes) {
  Lock lock(mutex_);
  Place& place = place_of(device, lock);
  for (;;) {
    const auto found = place.held.find(&tenant);
    if (found == place.held.end()) return true;  // its weights are gone, and all with them
    const std::uint64_t before = found->second.bytes;
    if (bytes <= before || place.used - before + bytes <= *place.limit) {
      place.used += bytes - before;
      found->second.bytes = bytes;
      place.peak = std::max(place.peak, place.used);
      ++place.changes;
      changed_.notify_all();
      return true;
    }
    if (!evict_oldest(place, &tenant, lock)) return false;
  }
}

void Residency::release(const Tenant& tenant, c10::Device device) {
  Lock lock(mutex_);
  Place& place = place_of(device, lock);
  const auto found = place.held.find(&tenant);
  if (found == place.held.end()) return;
  place.used -= found->second.bytes;
  place.held.erase(found);
  ++place.changes;
  changed_.notify_all();
}

void Residency::became_idle(c10::Device device) {
  Lock lock(mutex_);
  ++place_of(device, lock).changes;
  changed_.notify_all();
}

std::size_t Residency::evict_idle(c10::Device device, const Tenant* except) {
  Lock lock(mutex_);
  Place& place = place_of(device, lock);
  const auto all = others(place, except);
  lock.unlock();
  std::size_t count = 0;
  for (const auto& tenant : all) {
    if (tenant->idle_since() && tenant->evict()) ++count;
  }
  lock.lock();
  place.evictions += count;
  return count;
}

std::uint64_t Residency::limit(c10::Device device) {
  Lock lock(mutex_);
  return *place_of(device, lock).limit;
}

std::uint64_t Residency::used(c10::Device device) {
  Lock lock(mutex_);
  return place_of(device, lock).used;
}

std::string Residency::explain(c10::Device device) {
  Lock lock(mutex_);
  return explain_locked(device, place_of(device, lock));
}

Json Residency::status() {
  Lock lock(mutex_);
  Json all = Json::object();
  for (const auto& [key, place] : places_) {
    Json holders = Json::object();
    for (const auto& [tenant, held] : place.held) {
      const std::uint64_t before = holders.value(held.name, std::uint64_t{0});
      holders[held.name] = before + held.bytes;  // two handles may share a name
    }
    all[place_name(c10::Device(key.first, key.second))] = {{"limit", place.limit.value_or(0)},
                                                           {"used", place.used},
                                                           {"peak", place.peak},
                                                           {"evictions", place.evictions},
                                                           {"holders", std::move(holders)}};
  }
  return all;
}

}  // namespace gpumcp::gpu_runtime

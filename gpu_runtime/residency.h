#pragma once

// Who holds how much memory where, and who must go for whom. A place is a device's memory, or the
// host's ("cpu"); each has a limit. A tenant is what holds bytes in one place: a model's weights,
// or a copy of them that waits in host memory.
//
//   acquire() ──fits──────────────────────────────────────────▶ held
//       │ too little room: idle tenants go, longest unused first
//       │ all others are in use: they are told to let it in; it waits its turn
//       └ larger than the limit, or only pinned ones in its way ▶ Error(out_of_memory) says who
//                                                                 holds what
//
// Requests of one place are served in their order, so that two models that do not fit together take
// turns, and neither waits for ever. Thread-safe; owned by the Runtime; tenants outlive their stay.
#include <c10/core/Device.h>

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "gpu_runtime/call_scope.h"
#include "gpu_runtime/export.h"
#include "gpu_runtime/json.h"
#include "gpu_runtime/packing.h"

namespace gpumcp::gpu_runtime {

// Called by Residency with no lock of its own held, from the thread that needs room.
class GPUMCP_RUNTIME_API Tenant {
 public:
  virtual ~Tenant() = default;
  virtual std::string tenant_name() const = 0;
  // When it was last used; nothing: it is in use, or pinned, and cannot go now.
  virtual std::optional<SteadyTime> idle_since() const = 0;
  virtual bool pinned() const = 0;
  // Gives its bytes back (by release()) if nobody uses it; false: somebody does.
  virtual bool evict() = 0;
  // Others wait for its room: while `yes`, new calls wait until it has gone, or this is taken back.
  virtual void make_way(bool yes) = 0;
};

struct Holding {
  std::string name;
  std::uint64_t bytes = 0;
};

// "18.5 GB": for people. Powers of ten, as disks and weights are sold.
GPUMCP_RUNTIME_API std::string readable_bytes(std::uint64_t bytes);

// What the machine, or the cgroup that this process lives in, has of memory.
GPUMCP_RUNTIME_API std::uint64_t physical_memory();
// What of this process lies in memory now.
GPUMCP_RUNTIME_API std::uint64_t resident_memory();

class GPUMCP_RUNTIME_API Residency {
 public:
  // Bytes that tenants may hold in a place. Asked once a place, at its first use.
  using Limit = std::function<std::uint64_t(c10::Device)>;

  explicit Residency(Limit limit);
  Residency(const Residency&) = delete;
  Residency& operator=(const Residency&) = delete;

  // Holds the bytes for the tenant, which holds none there yet; makes room as above. Throws
  // Error(out_of_memory), or Error(cancelled) when `wanted` says so while it waits.
  void acquire(const std::shared_ptr<Tenant>& tenant, c10::Device place, std::uint64_t bytes,
               const StillWanted& wanted);
  // Holds them if there is room without anybody's leaving.
  bool try_acquire(const std::shared_ptr<Tenant>& tenant, c10::Device place, std::uint64_t bytes);
  // What it holds turned out to be this much.
  void settle(const Tenant& tenant, c10::Device place, std::uint64_t bytes);
  // It needs so much in all from now on (caches that texts fill, adapters); where that is more,
  // idle tenants go for it. False: there is no room, and nothing has changed.
  bool resize(const Tenant& tenant, c10::Device place, std::uint64_t bytes);
  void release(const Tenant& tenant, c10::Device place);

  // A tenant of the place became idle: somebody may wait for that.
  void became_idle(c10::Device place);
  // Evicts what is idle there, all of it but `except`. Returns how many went.
  std::size_t evict_idle(c10::Device place, const Tenant* except = nullptr);

  std::uint64_t limit(c10::Device place);
  std::uint64_t used(c10::Device place);
  // "cuda:0 holds 18.5 GB of its limit of 20 GB: a/b 18.5 GB".
  std::string explain(c10::Device place);
  // {"cpu": {"limit": …, "used": …, "peak": …, "evictions": …, "holders": {NAME: bytes}}, …}
  Json status();

 private:
  struct Held {
    std::weak_ptr<Tenant> tenant;
    std::string name;
    std::uint64_t bytes = 0;
  };
  struct Place {
    std::optional<std::uint64_t> limit;
    std::uint64_t used = 0, peak = 0, evictions = 0;
    std::map<const Tenant*, Held> held;
    std::list<const Tenant*> queue;  // who waits for room, in order
    std::uint64_t changes = 0;       // for those who wait
  };
  using Lock = std::unique_lock<std::mutex>;

  Place& place_of(c10::Device device, Lock& lock);
  void hold(Place& place, const std::shared_ptr<Tenant>& tenant, std::uint64_t bytes);
  std::vector<std::shared_ptr<Tenant>> others(const Place& place, const Tenant* except) const;
  std::string explain_locked(c10::Device device, const Place& place) const;
  bool evict_oldest(Place& place, const Tenant* for_whom, Lock& lock);
  bool make_room(c10::Device device, const Tenant* for_whom, std::uint64_t bytes, Lock& lock);

  const Limit limit_;
  std::mutex mutex_;
  std::condition_variable changed_;
  // Guarded by mutex_:
  std::map<std::pair<c10::DeviceType, c10::DeviceIndex>, Place> places_;
};

}  // namespace gpumcp::gpu_runtime

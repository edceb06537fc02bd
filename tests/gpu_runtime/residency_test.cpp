#include "gpu_runtime/residency.h"

#include <doctest/doctest.h>

#include <future>
#include <map>

#include "fake_model.h"
#include "gpu_runtime/runtime.h"
#include "support.h"

using namespace gpumcp::gpu_runtime;
using namespace std::chrono_literals;

namespace {

// Fake models of known sizes on a device with a limit of 100 bytes. Each folder's name is its
// model's: "a40" takes 40 bytes.
struct Rig {
  std::map<std::string, std::shared_ptr<Recorder>> recorders;
  std::atomic<int> loads{0}, memory_failures{0};
  std::atomic<std::chrono::milliseconds::rep> time{1'000'000};
  TemporaryFolder folder;
  std::unique_ptr<Runtime> runtime;

  static std::uint64_t size_of(const std::filesystem::path& path) {
    return std::stoull(path.filename().string().substr(1));
  }
  RuntimeOptions options() {
    RuntimeOptions o;
    o.device = "cpu";
    o.num_threads = 1;
    o.reaper = false;
    o.host_memory = 100;
    o.clock = [this] { return SteadyTime(std::chrono::milliseconds(++time)); };  // no two alike
    o.reads_files = false;
    o.measure = [](const LoadRequest& request) { return size_of(request.folder); };
    o.loader = [this](const LoadRequest& request) -> std::unique_ptr<BatchModel> {
      ++loads;
      if (memory_failures > 0) {
        --memory_failures;
        throw std::bad_alloc();
      }
      return std::make_unique<FakeModel>(recorders.at(request.folder.filename().string()));
    };
    return o;
  }
  void start(RuntimeOptions o) { runtime = std::make_unique<Runtime>(std::move(o)); }
  Rig() {
    for (const char* name : {"a40", "b40", "c40", "d60", "e99", "f101"}) {
      recorders[name] = std::make_shared<Recorder>();
      folder.write(std::string(name) + "/config.json", "{}");
    }
    start(options());
  }
  std::shared_ptr<ResidentModel> model(const std::string& name, ModelOptions options = {}) {
    return runtime->model(ModelPath(folder / name), options);
  }
  void call(const std::string& name) { model(name)->run({row_of(1)}, {}); }
  std::future<void> later(const std::string& name, CallLimits limits = {}) {
    return std::async(std::launch::async, [this, name, limits] {
      CallScope scope(limits);
      call(name);
    });
  }
  std::string state(const std::string& name) { return model(name)->status()["state"]; }
  std::uint64_t used() { return runtime->residency().used(c10::kCPU); }
};

}  // namespace

TEST_CASE("models that fit together stay, and every byte is accounted for") {
  Rig rig;
  rig.call("a40");
  rig.call("b40");
  CHECK(rig.state("a40") == "hot");
  CHECK(rig.state("b40") == "hot");
  const Json memory = rig.runtime->status()["memory"]["cpu"];
  CHECK(memory["used"] == 80);
  CHECK(memory["limit"] == 100);
  CHECK(memory["holders"].size() == 2);
  rig.runtime->unload_all();
  CHECK(rig.used() == 0);
  CHECK(rig.runtime->status()["memory"]["cpu"]["holders"].empty());
}

TEST_CASE("what room is needed for goes longest unused first") {
  Rig rig;
  rig.call("a40");
  rig.call("b40");
  rig.call("a40");
  rig.call("c40");  // b40 was used longest ago
  CHECK(rig.state("a40") == "hot");
  CHECK(rig.state("b40") == "cold");
  CHECK(rig.recorders["b40"]->destroyed);
  CHECK(rig.used() == 80);
  rig.call("d60");  // 60 + 40: one of the others may stay, the younger
  CHECK(rig.state("a40") == "cold");
  CHECK(rig.state("c40") == "hot");
  CHECK(rig.used() == 100);
  CHECK(rig.runtime->status()["memory"]["cpu"]["evictions"] == 2);
}

TEST_CASE("a model larger than the limit is refused with who holds how much; others live on") {
  Rig rig;
  rig.call("a40");
  const std::string message = message_of(ErrorCode::out_of_memory, [&] { rig.call("f101"); });
  CHECK(contains(message, "101 bytes"));
  CHECK(contains(message, "limit of 100 bytes"));
  CHECK(contains(message, "a40 40 bytes"));
  CHECK(contains(message, "--host-memory"));
  CHECK(rig.state("a40") == "hot");
  rig.call("a40");
  CHECK(rig.used() == 40);
}

TEST_CASE("pinned models are not unloaded for others, nor for idling") {
  Rig rig;
  RuntimeOptions options = rig.options();
  options.pinned_models = {(rig.folder / "b40").string()};
  rig.start(options);
  rig.model("a40", {.pin = true})->run({row_of(1)}, {});
  rig.call("b40");
  const std::string message = message_of(ErrorCode::out_of_memory, [&] { rig.call("d60"); });
  CHECK(contains(message, "pinned"));
  CHECK(contains(message, "a40 40 bytes"));
  rig.time += 10'000'000;
  CHECK(rig.runtime->sweep() == 0);
  CHECK(rig.state("a40") == "hot");
  CHECK(rig.model("a40")->status()["pinned"] == true);
}

TEST_CASE("two models that do not fit together take turns, and both are served") {
  Rig rig;
  rig.recorders["d60"]->hold();
  auto busy = rig.later("d60");
  rig.recorders["d60"]->wait_for_entered(1);
  auto other = rig.later("e99");  // waits for d60's call
  // Asks while e99 waits: it must not hold that up.
  wait_until([&] { return rig.state("e99") == "loading"; });
  auto again = rig.later("d60");
  rig.recorders["d60"]->let_go();
  busy.get();
  other.get();
  again.get();
  CHECK(rig.recorders["e99"]->seen().size() == 1);
  CHECK(rig.recorders["d60"]->seen().size() == 2);
}

TEST_CASE("agents that call two models in turn, which do not fit together, all get answers") {
  Rig rig;
  std::vector<std::future<void>> agents;
  for (int i = 0; i < 8; ++i) {
    agents.push_back(std::async(std::launch::async, [&, i] {
      for (int n = 0; n < 20; ++n) rig.call((i + n) % 2 == 0 ? "d60" : "e99");
    }));
  }
  for (auto& agent : agents) agent.get();
  std::size_t rows = 0;
  for (const char* name : {"d60", "e99"}) {
    for (const auto& batch : rig.recorders[name]->seen()) rows += batch.size();
  }
  CHECK(rows == 160);
  CHECK(rig.used() <= 100);
  rig.runtime->unload_all();
  CHECK(rig.used() == 0);
}

TEST_CASE("a call that waits for room can be cancelled, and then holds up nobody") {
  Rig rig;
  rig.recorders["d60"]->hold();
  auto busy = rig.later("d60");
  rig.recorders["d60"]->wait_for_entered(1);
  std::stop_source stop;
  auto waits = rig.later("e99", {.stop = stop.get_token()});
  wait_until([&] { return rig.state("e99") == "loading"; });
  stop.request_stop();
  message_of(ErrorCode::cancelled, [&] { waits.get(); });
  auto second = rig.later("d60");  // is let in again
  wait_until([&] { return rig.model("d60")->status()["calls"] == 2; });
  rig.recorders["d60"]->let_go();
  busy.get();
  second.get();
  CHECK(rig.used() == 60);
}

TEST_CASE("a deadline ends the wait for room too") {
  Rig rig;
  rig.recorders["d60"]->hold();
  auto busy = rig.later("d60");
  rig.recorders["d60"]->wait_for_entered(1);
  auto late = rig.later("e99", {.deadline = std::chrono::steady_clock::now() + 30ms});
  message_of(ErrorCode::deadline, [&] { late.get(); });
  rig.recorders["d60"]->let_go();
  busy.get();
}

TEST_CASE("when a load runs out of memory, idle models go and it is tried once more") {
  Rig rig;
  rig.call("a40");
  rig.memory_failures = 1;
  rig.call("b40");
  CHECK(rig.state("a40") == "cold");
  CHECK(rig.state("b40") == "hot");
  rig.memory_failures = 2;
  const std::string message = message_of(ErrorCode::out_of_memory, [&] { rig.call("c40"); });
  CHECK(contains(message, "of its limit of 100 bytes"));
  CHECK(rig.used() == 0);  // b40 went, c40 gave back what it had asked for
  rig.call("c40");
  CHECK(rig.state("c40") == "hot");
}

TEST_CASE("what a model holds beside its weights counts, and idle models go for it") {
  Rig rig;
  rig.call("a40");
  rig.call("b40");
  class Holder final : public Tenant {
   public:
    std::string tenant_name() const override { return "holder"; }
    std::optional<SteadyTime> idle_since() const override { return std::nullopt; }
    bool pinned() const override { return false; }
    bool evict() override { return false; }
    void make_way(bool) override {}
  };
  const auto holder = std::make_shared<Holder>();
  Residency& residency = rig.runtime->residency();
  CHECK(residency.try_acquire(holder, c10::kCPU, 10));
  CHECK(residency.resize(*holder, c10::kCPU, 20));
  CHECK(rig.used() == 100);
  CHECK(residency.resize(*holder, c10::kCPU, 30));  // the longest unused one goes
  CHECK(rig.state("a40") != "hot");
  CHECK(rig.state("b40") == "hot");
  CHECK(rig.used() == 70);
  CHECK_FALSE(
      residency.resize(*holder, c10::kCPU, 101));  // all others go, and it is too much still
  CHECK(rig.used() == 30);
  CHECK(residency.resize(*holder, c10::kCPU, 5));
  CHECK(rig.used() == 5);
  residency.release(*holder, c10::kCPU);
  CHECK(residency.resize(*holder, c10::kCPU, 50));  // it holds nothing any more: nothing to change
  CHECK(rig.used() == 0);
}

TEST_CASE("each model idles by its own time") {
  Rig rig;
  RuntimeOptions options = rig.options();
  options.model_idle = 60s;
  options.model_idle_of[(rig.folder / "b40").string()] = 10s;
  rig.start(options);
  rig.call("a40");
  rig.call("b40");
  rig.model("c40", {.idle = 5s});
  CHECK(rig.runtime->sweep() == 0);
  rig.time += 11'000;
  CHECK(rig.runtime->sweep() == 1);
  CHECK(rig.state("a40") == "hot");
  CHECK(rig.state("b40") == "cold");
  rig.call("c40");
  rig.time += 6'000;
  CHECK(rig.runtime->sweep() == 1);
  CHECK(rig.state("c40") == "cold");
  rig.time += 60'000;
  CHECK(rig.runtime->sweep() == 1);
  CHECK(rig.used() == 0);
}

TEST_CASE("the reaper finds a model of little patience though another may stay for long") {
  Rig rig;
  RuntimeOptions options = rig.options();
  options.reaper = true;
  options.clock = [] { return std::chrono::steady_clock::now(); };
  options.model_idle = 1h;
  options.model_idle_of[(rig.folder / "b40").string()] = 1ms;
  rig.start(options);
  rig.call("a40");
  rig.call("b40");
  wait_until([&] { return rig.state("b40") == "cold"; });
  CHECK(rig.state("a40") == "hot");
}

TEST_CASE("a thousand loads and unloads leave no byte accounted and none uncounted") {
  Rig rig;
  for (int i = 0; i < 500; ++i) {
    rig.call(i % 3 == 0 ? "a40" : i % 3 == 1 ? "d60" : "e99");
    CHECK(rig.used() <= 100);
  }
  rig.runtime->unload_all();
  CHECK(rig.used() == 0);
}

TEST_CASE("sizes read as people write them") {
  CHECK(readable_bytes(0) == "0 bytes");
  CHECK(readable_bytes(999) == "999 bytes");
  CHECK(readable_bytes(1500) == "1.5 kB");
  CHECK(readable_bytes(90'868'376) == "90.9 MB");
  CHECK(readable_bytes(18'500'000'000) == "18.5 GB");
  CHECK(readable_bytes(999'960) == "1.0 MB");
  CHECK(physical_memory() > resident_memory());
  CHECK(resident_memory() > 1'000'000);
}

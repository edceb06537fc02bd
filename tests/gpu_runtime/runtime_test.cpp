#include "gpu_runtime/runtime.h"

#include <doctest/doctest.h>

#include <future>

#include "fake_model.h"
#include "support.h"

using namespace gpumcp::gpu_runtime;
using namespace std::chrono_literals;

namespace {

// A runtime over fakes, with a clock that the test moves.
struct Rig {
  std::shared_ptr<Recorder> recorder = std::make_shared<Recorder>();
  std::atomic<int> loads{0};
  std::atomic<bool> fail{false};
  std::atomic<std::chrono::seconds::rep> time{1000};
  TemporaryFolder folder;
  Runtime runtime;
  ModelPath path;

  RuntimeOptions options() {
    RuntimeOptions o;
    o.device = "cpu";
    o.num_threads = 1;
    o.reaper = false;
    o.model_idle = 60s;
    o.clock = [this] { return SteadyTime(std::chrono::seconds(time)); };
    o.reads_files = false;
    o.measure = [](const LoadRequest&) { return std::uint64_t{100}; };
    o.loader = [this](const LoadRequest&) -> std::unique_ptr<BatchModel> {
      ++loads;
      if (fail) throw Error(ErrorCode::corrupt_checkpoint, "half a file");
      return std::make_unique<FakeModel>(recorder);
    };
    return o;
  }
  Rig() : runtime(options()) {
    folder.write("config.json", R"({"model_type": "bert"})");
    path = ModelPath(folder.path());
  }
  std::shared_ptr<ResidentModel> model() { return runtime.model(path); }
};

}  // namespace

TEST_CASE("handles on one folder share one model; another dtype or device has its own") {
  Rig rig;
  CHECK(rig.model() == rig.model());
  CHECK(rig.model() != rig.runtime.model(rig.path, {.dtype = "bfloat16"}));
  CHECK(rig.model() != rig.runtime.model(rig.path, {.device = "cpu"}));
  CHECK(rig.loads == 0);
}

TEST_CASE("many first callers make one load") {
  Rig rig;
  std::vector<std::future<void>> calls;
  for (int i = 0; i < 16; ++i) {
    calls.push_back(std::async(std::launch::async, [&] { rig.model()->run({row_of(1)}, {}); }));
  }
  for (auto& call : calls) call.get();
  CHECK(rig.loads == 1);
  CHECK(rig.model()->status()["loads"] == 1);
}

TEST_CASE("a failed load is reported, and the next call tries again") {
  Rig rig;
  rig.fail = true;
  message_of(ErrorCode::corrupt_checkpoint, [&] { rig.model()->run({row_of(1)}, {}); });
  CHECK(rig.model()->status()["state"] == "cold");
  CHECK(rig.model()->status()["failed_loads"] == 1);
  rig.fail = false;
  rig.model()->run({row_of(1)}, {});
  CHECK(rig.loads == 2);
}

TEST_CASE("an idle model is unloaded, and the next call loads it again") {
  Rig rig;
  rig.model()->run({row_of(1)}, {});
  rig.time += 59;
  CHECK(rig.runtime.sweep() == 0);
  CHECK(rig.model()->status()["state"] == "hot");
  rig.time += 1;
  CHECK(rig.runtime.sweep() == 1);
  CHECK(rig.recorder->destroyed);
  CHECK(rig.model()->status()["state"] == "cold");
  CallScope scope;
  rig.model()->run({row_of(1)}, {});
  CHECK(scope.usage().cold);
  CHECK(rig.loads == 2);
  CHECK(rig.model()->status()["unloads"] == 1);
}

TEST_CASE("a model in use is never unloaded") {
  Rig rig;
  rig.recorder->hold();
  auto call = std::async(std::launch::async, [&] { rig.model()->run({row_of(1)}, {}); });
  rig.recorder->wait_for_entered(1);
  rig.time += 1000;
  CHECK(rig.runtime.sweep() == 0);
  CHECK(rig.runtime.unload_all() == 0);
  rig.recorder->let_go();
  call.get();
}

TEST_CASE("held time counts from load to unload") {
  Rig rig;
  rig.time += 5;
  CHECK(rig.runtime.held_s() == 0);
  rig.model()->run({row_of(1)}, {});
  rig.time += 7;
  CHECK(rig.runtime.held_s() == 7);
  rig.runtime.unload_all();
  rig.time += 100;
  CHECK(rig.runtime.held_s() == 7);
}

TEST_CASE("a call's held time is its share, without the idling before it") {
  Rig rig;
  rig.model()->run({row_of(1)}, {});
  rig.time += 50;
  rig.recorder->hold();
  double share = -1;
  auto call = std::async(std::launch::async, [&] {
    CallScope scope;
    rig.model()->run({row_of(1)}, {});
    share = scope.usage().gpu_held_s;
  });
  rig.recorder->wait_for_entered(2);
  rig.time += 3;
  rig.recorder->let_go();
  call.get();
  CHECK(share == 3);
}

TEST_CASE("idle time zero: the reaper unloads after the call") {
  Rig rig;
  RuntimeOptions options = rig.options();
  options.reaper = true;
  options.model_idle = 0s;
  Runtime runtime(options);
  runtime.model(rig.path)->run({row_of(1)}, {});
  wait_until([&] { return !runtime.model(rig.path)->hot(); });
  CHECK(runtime.model(rig.path)->status()["unloads"] == 1);
}

TEST_CASE("a call's usage tells batch, tokens and that the model was cold") {
  Rig rig;
  CallScope scope;
  rig.model()->run(rows_of(1, 3), {});
  CHECK(scope.usage().cold);
  CHECK(scope.usage().tokens == 12);
  CHECK(scope.usage().batch_size == 3);
}

TEST_CASE("a scope's cancellation reaches the executor") {
  Rig rig;
  std::stop_source stop;
  stop.request_stop();
  CallScope scope({.stop = stop.get_token()});
  message_of(ErrorCode::cancelled, [&] { rig.model()->run({row_of(1)}, {}); });
}

TEST_CASE("a model that is nowhere is an error of the first call, not of the handle") {
  Rig rig;
  ModelPath nowhere;
  nowhere.name = "nobody/has-this-model";
  auto model = rig.runtime.model(nowhere);
  CHECK(contains(message_of(ErrorCode::not_found, [&] { model->run({row_of(1)}, {}); }),
                 "gpumcp pull nobody/has-this-model"));
}

TEST_CASE("configure() refuses bad devices, and comes too late after the first call") {
  Rig rig;
  message_of(ErrorCode::invalid_argument, [&] { rig.runtime.configure({.device = "gpu"}); });
  rig.model()->run({row_of(1)}, {});
  message_of(ErrorCode::invalid_argument, [&] { rig.runtime.configure(rig.options()); });
}

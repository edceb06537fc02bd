#include "gpu_runtime/model_executor.h"

#include <doctest/doctest.h>

#include <future>

#include "fake_model.h"
#include "support.h"

using namespace gpumcp::gpu_runtime;

namespace {

// An executor over a fake, with calls on threads of their own.
struct Rig {
  std::shared_ptr<Recorder> recorder = std::make_shared<Recorder>();
  std::unique_ptr<ModelExecutor> executor;

  explicit Rig(ModelExecutorOptions options = {}) {
    options.name = "fake";
    options.num_threads = 1;
    executor = std::make_unique<ModelExecutor>(
        [r = recorder] { return std::make_unique<FakeModel>(r); }, options);
  }
  std::future<ModelResult> call(std::vector<TokenRow> rows, CallLimits limits = {}) {
    return std::async(std::launch::async, [this, rows = std::move(rows), limits]() mutable {
      return executor->run(std::move(rows), Want{}, limits);
    });
  }
  // Makes a call that the model is held in; what is submitted now gathers.
  std::future<ModelResult> keep_busy() {
    recorder->hold();
    auto first = call({row_of(0)});
    recorder->wait_for_entered(1);
    return first;
  }
  // A call that is known to wait in the queue.
  std::future<ModelResult> queued(std::vector<TokenRow> rows, CallLimits limits = {}) {
    const std::size_t before = executor->stats().waiting_calls;
    auto future = call(std::move(rows), limits);
    wait_until([&] { return executor->stats().waiting_calls > before; });
    return future;
  }
};

using Batches = std::vector<std::vector<std::int32_t>>;

}  // namespace

TEST_CASE("a batch is what gathered while the last one ran") {
  Rig rig;
  auto first = rig.keep_busy();
  auto a = rig.queued({row_of(1)}), b = rig.queued({row_of(2)}), c = rig.queued({row_of(3)});
  rig.recorder->let_go();
  CHECK(first.get().batch_size == 1);
  CHECK(a.get().batch_size == 3);
  CHECK(b.get().batch_size == 3);
  CHECK(c.get().tokens == 4);
  CHECK(rig.recorder->seen() == Batches{{0}, {1, 2, 3}});
}

TEST_CASE("a batch keeps to the token budget, and a longer row runs alone") {
  Rig rig({.token_budget = 10});
  auto first = rig.keep_busy();
  auto a = rig.queued(rows_of(1, 3, 4)), b = rig.queued({row_of(2, 100)});
  rig.recorder->let_go();
  first.get();
  CHECK(a.get().rows.size() == 3);
  b.get();
  for (const auto& batch : rig.recorder->seen()) {
    if (batch[0] == 2) CHECK(batch.size() == 1);
    if (batch[0] == 1) CHECK(batch.size() <= 2);
  }
  CHECK(rig.executor->stats().waiting_tokens == 0);
}

TEST_CASE("a call with one row shares the next batch with a call of thousands") {
  Rig rig({.token_budget = 40});
  auto first = rig.keep_busy();
  auto large = rig.queued(rows_of(1, 1000)), small = rig.queued({row_of(2)});
  rig.recorder->let_go();
  small.get();
  large.get();
  const Batches seen = rig.recorder->seen();
  REQUIRE(seen.size() > 100);
  CHECK(std::count(seen[1].begin(), seen[1].end(), 2) == 1);
  CHECK(seen[1].size() == 10);  // the small call's share is filled up with the large one's rows
  first.get();
}

TEST_CASE("a cancelled call is answered at once and dropped before the batch") {
  Rig rig;
  auto first = rig.keep_busy();
  std::stop_source stop;
  auto gone = rig.queued({row_of(7)}, {.stop = stop.get_token()});
  auto stays = rig.queued({row_of(8)});
  stop.request_stop();
  message_of(ErrorCode::cancelled, [&] { gone.get(); });  // while the model is still held
  rig.recorder->let_go();
  stays.get();
  first.get();
  CHECK(rig.recorder->seen() == Batches{{0}, {8}});
}

TEST_CASE("a call that is cancelled before it begins never reaches the queue") {
  Rig rig;
  std::stop_source stop;
  stop.request_stop();
  message_of(ErrorCode::cancelled,
             [&] { rig.executor->run({row_of(1)}, {}, {.stop = stop.get_token()}); });
  CHECK(rig.executor->stats().rows == 0);
}

TEST_CASE("a call whose deadline passes is answered, and its rows are not run") {
  Rig rig;
  auto first = rig.keep_busy();
  auto late = rig.call({row_of(5)}, {.deadline = std::chrono::steady_clock::now()});
  CHECK(contains(message_of(ErrorCode::deadline, [&] { late.get(); }), "fake"));
  rig.recorder->let_go();
  first.get();
  rig.executor->run({row_of(6)}, {});
  CHECK(rig.recorder->seen() == Batches{{0}, {6}});
}

TEST_CASE("one bad call fails alone, whatever way it is bad") {
  Rig rig;
  auto first = rig.keep_busy();
  auto good = rig.queued({row_of(1)}), bad = rig.queued({row_of(kBad)}),
       memory = rig.queued({row_of(kOutOfMemory)}), refused = rig.queued({row_of(kRefused)}),
       also_good = rig.queued({row_of(2)});
  rig.recorder->let_go();
  first.get();
  CHECK(good.get().rows.size() == 1);
  CHECK(also_good.get().rows.size() == 1);
  CHECK(contains(message_of(ErrorCode::internal, [&] { bad.get(); }), "a bad row"));
  CHECK(contains(message_of(ErrorCode::out_of_memory, [&] { memory.get(); }), "memory"));
  CHECK(message_of(ErrorCode::invalid_argument, [&] { refused.get(); }) == "refused");
  CHECK(rig.executor->run({row_of(3)}, {}).rows.size() == 1);  // and the model lives on
}

TEST_CASE("a full queue refuses at once and says when to try again") {
  Rig rig({.max_waiting_calls = 2});
  auto first = rig.keep_busy();
  auto a = rig.queued({row_of(1)}), b = rig.queued({row_of(2)});
  const std::string message =
      message_of(ErrorCode::overloaded, [&] { rig.executor->run({row_of(3)}, {}); });
  CHECK(contains(message, "try again in about"));
  rig.recorder->let_go();
  a.get();
  b.get();
  first.get();
  CHECK(rig.executor->stats().refused == 1);
}

TEST_CASE("waiting tokens are bounded too, but a call of any size may wait alone") {
  Rig rig({.token_budget = 8, .max_waiting_tokens = 100});
  auto first = rig.keep_busy();
  auto large = rig.queued(rows_of(1, 50));
  message_of(ErrorCode::overloaded, [&] { rig.executor->run({row_of(2)}, {}); });
  rig.recorder->let_go();
  CHECK(large.get().rows.size() == 50);
  first.get();
}

TEST_CASE("destruction finishes the batch in flight and answers cancelled to the rest") {
  auto rig = std::make_unique<Rig>();
  auto recorder = rig->recorder;
  auto first = rig->keep_busy();
  auto waits = rig->queued({row_of(1)});
  std::thread destroyer([&] { rig->executor.reset(); });
  recorder->let_go();
  destroyer.join();
  // The waiting call may still have made it into a batch before the stop was seen.
  try {
    waits.get();
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::cancelled);
  }
  CHECK(first.get().rows.size() == 1);
  CHECK(recorder->destroyed);
}

TEST_CASE("calls gather while the model loads, and ride in one batch") {
  auto recorder = std::make_shared<Recorder>();
  std::promise<void> go;
  ModelExecutor executor([&, wait = go.get_future().share()] {
    wait.wait();
    return std::make_unique<FakeModel>(recorder);
  });
  std::vector<std::future<ModelResult>> calls;
  for (int i = 0; i < 8; ++i) {
    calls.push_back(
        std::async(std::launch::async, [&, i] { return executor.run({row_of(i + 1)}, {}); }));
  }
  wait_until([&] { return executor.stats().waiting_calls == 8; });
  go.set_value();
  for (auto& call : calls) CHECK(call.get().batch_size == 8);
  CHECK(recorder->seen().size() == 1);
}

TEST_CASE("a failed load is the error of every waiting call") {
  std::promise<void> go;
  ModelExecutor executor([wait = go.get_future().share()]() -> std::unique_ptr<BatchModel> {
    wait.wait();
    throw Error(ErrorCode::corrupt_checkpoint, "no weights here");
  });
  auto run = [&] { executor.run({row_of(1)}, {}); };
  auto a = std::async(std::launch::async, run), b = std::async(std::launch::async, run);
  wait_until([&] { return executor.stats().waiting_calls == 2; });
  go.set_value();
  CHECK(message_of(ErrorCode::corrupt_checkpoint, [&] { a.get(); }) == "no weights here");
  CHECK(message_of(ErrorCode::corrupt_checkpoint, [&] { b.get(); }) == "no weights here");
  CHECK(executor.load_failed());
}

TEST_CASE("many threads with calls of all kinds leave nothing behind") {
  Rig rig({.token_budget = 64});
  std::vector<std::thread> threads;
  std::atomic<int> answered{0};
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 100; ++i) {
        std::stop_source stop;
        std::jthread canceller;
        if (i % 3 == 0) canceller = std::jthread([&] { stop.request_stop(); });
        try {
          rig.executor->run(rows_of(i % 10 == t ? kBad : i + 1, 1 + i % 5), {},
                            {.stop = stop.get_token()});
        } catch (const Error&) {
        }
        ++answered;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(answered == 800);
  rig.executor->run({row_of(1)}, {});
  CHECK(rig.executor->stats().waiting_calls == 0);
  CHECK(rig.executor->stats().waiting_tokens == 0);
}

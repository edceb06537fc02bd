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
        [r = recorder](const StillWanted&) { return std::make_unique<FakeModel>(r); }, options);
  }
  std::future<ModelResult> call(std::vector<TokenRow> rows, CallLimits limits = {}) {
    return std::async(std::launch::async, [this, rows = std::move(rows), limits]() mutable {
      return executor->run(std::move(rows), Want{}, limits);
    });
  }
  // Makes a call that the model is held in; what is submitted now gathers.
  std::future<ModelResult> keep_busy() {
    recorder->hold();
    const int before = recorder->entered_so_far();
    auto first = call({row_of(0)});
    recorder->wait_for_entered(before + 1);
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

TEST_CASE("a lost device fails the whole batch at once, with its own code") {
  Rig rig;
  auto first = rig.keep_busy();
  auto good = rig.queued({row_of(1)}), bad = rig.queued({row_of(kLosesDevice)});
  rig.recorder->let_go();
  first.get();
  const std::string message = message_of(ErrorCode::device_lost, [&] { bad.get(); });
  CHECK(contains(message, "the device is lost: CUDA error: an illegal memory access. "));
  CHECK(contains(message, "call again"));
  CHECK(message.find("advice") == message.npos);
  message_of(ErrorCode::device_lost, [&] { good.get(); });
  CHECK(rig.recorder->seen().size() == 2);  // not call by call
}

TEST_CASE("a device's error that leaves it as it was fails its call alone") {
  Rig rig;
  auto first = rig.keep_busy();
  auto good = rig.queued({row_of(1)}), bad = rig.queued({row_of(kNoKernel)});
  rig.recorder->let_go();
  first.get();
  CHECK(good.get().rows.size() == 1);
  CHECK(contains(message_of(ErrorCode::internal, [&] { bad.get(); }), "no kernel image"));
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
  ModelExecutor executor([&, wait = go.get_future().share()](const StillWanted&) {
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
  ModelExecutor executor(
      [wait = go.get_future().share()](const StillWanted&) -> std::unique_ptr<BatchModel> {
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

TEST_CASE("a caller with a hundred calls does not hold up another caller") {
  Rig rig({.token_budget = 40});
  auto first = rig.keep_busy();
  std::vector<std::future<ModelResult>> many;
  for (int i = 0; i < 100; ++i) many.push_back(rig.queued({row_of(1)}, {.caller = "greedy"}));
  std::vector<std::future<ModelResult>> few;
  for (int i = 0; i < 5; ++i) few.push_back(rig.queued({row_of(2)}, {.caller = "modest"}));
  rig.recorder->let_go();
  for (auto& call : few) call.get();
  for (auto& call : many) call.get();
  first.get();
  // The next batch has room for ten rows: five each, though the other's came first.
  const Batches seen = rig.recorder->seen();
  CHECK(seen[1].size() == 10);
  CHECK(std::count(seen[1].begin(), seen[1].end(), 2) == 5);
}

TEST_CASE("a caller that comes late has no claim on what it did not use") {
  Rig rig({.token_budget = 40});
  auto first = rig.keep_busy();
  std::vector<std::future<ModelResult>> calls;
  for (int i = 0; i < 3; ++i) calls.push_back(rig.queued(rows_of(1, 20), {.caller = "a"}));
  rig.recorder->wait_for_entered(1);
  rig.recorder->let_go();
  for (auto& call : calls) call.get();
  auto again = rig.keep_busy();  // "a" has had 240 tokens more than "b"
  auto a = rig.queued(rows_of(1, 20), {.caller = "a"}),
       b = rig.queued(rows_of(2, 20), {.caller = "b"});
  rig.recorder->let_go();
  a.get(), b.get(), first.get(), again.get();
  const Batches seen = rig.recorder->seen();
  const auto& shared = seen[seen.size() - 4];  // of the four batches of a and b, the first
  CHECK(std::count(shared.begin(), shared.end(), 1) == 5);
}

TEST_CASE("priorities weigh the turns: interactive sixteen times background, and none starves") {
  Rig rig({.token_budget = 68});
  auto first = rig.keep_busy();
  auto slow = rig.queued(rows_of(1, 50), {.caller = "a", .priority = Priority::background});
  auto quick = rig.queued(rows_of(2, 50), {.caller = "b", .priority = Priority::interactive});
  rig.recorder->let_go();
  quick.get();
  slow.get();
  first.get();
  const Batches seen = rig.recorder->seen();
  CHECK(std::count(seen[1].begin(), seen[1].end(), 2) == 16);
  CHECK(std::count(seen[1].begin(), seen[1].end(), 1) == 1);
}

TEST_CASE("a device that works beside the CPU gets its next batch while one runs") {
  auto recorder = std::make_shared<Recorder>();
  ModelExecutor executor(
      [&](const StillWanted&) { return std::make_unique<FakeDeviceModel>(recorder); },
      {.name = "fake"});
  recorder->hold();
  auto run = [&](std::int32_t id) {
    return std::async(std::launch::async, [&, id] { return executor.run({row_of(id)}, {}); });
  };
  auto first = run(1);
  recorder->wait_for_begun(1);
  auto second = run(2);
  recorder->wait_for_begun(2);  // while the first is still on the device
  CHECK(recorder->seen().empty());
  auto third = run(3);  // one after the other, so that they stand in the batch in this order
  wait_until([&] { return executor.stats().waiting_calls == 1; });
  auto fourth = run(4);
  wait_until([&] { return executor.stats().waiting_calls == 2; });
  recorder->let_go();
  CHECK(first.get().gpu_ms == 7);  // the device's own time
  CHECK(second.get().batch_size == 1);
  CHECK(third.get().batch_size == 2);
  fourth.get();
  CHECK(recorder->seen() == Batches{{1}, {2}, {3, 4}});
}

TEST_CASE("on such a device too, one bad call fails alone") {
  auto recorder = std::make_shared<Recorder>();
  ModelExecutor executor(
      [&](const StillWanted&) { return std::make_unique<FakeDeviceModel>(recorder); },
      {.name = "fake"});
  recorder->hold();
  auto run = [&](std::int32_t id) {
    return std::async(std::launch::async, [&, id] { return executor.run({row_of(id)}, {}); });
  };
  auto first = run(1);
  recorder->wait_for_begun(1);
  auto second = run(2);
  recorder->wait_for_begun(2);
  auto good = run(3), bad = run(kBad);
  wait_until([&] { return executor.stats().waiting_calls == 2; });
  recorder->let_go();
  CHECK(good.get().rows.size() == 1);
  message_of(ErrorCode::internal, [&] { bad.get(); });
  first.get(), second.get();
}

TEST_CASE("a batch that nobody waits for any more ends between its layers") {
  Rig rig;
  std::stop_source one, two;
  rig.recorder->hold();
  auto a = rig.call({row_of(1)}, {.stop = one.get_token()});
  rig.recorder->wait_for_entered(1);
  one.request_stop();
  message_of(ErrorCode::cancelled, [&] { a.get(); });
  wait_until([&] { return rig.executor->stats().batches == 1; });  // though the model is still held
  CHECK(rig.recorder->unwanted == 1);
  rig.recorder->let_go();
  CHECK(rig.executor->run({row_of(2)}, {}).rows.size() == 1);
}

TEST_CASE("a batch goes on while one of its callers still waits") {
  Rig rig;
  auto first = rig.keep_busy();
  std::stop_source stop;
  auto gone = rig.queued({row_of(1)}, {.stop = stop.get_token()}), stays = rig.queued({row_of(2)});
  rig.recorder->let_go();
  first.get();
  rig.recorder->hold();
  // Whichever batch they ride in, the one that stays gets its answer.
  stop.request_stop();
  rig.recorder->let_go();
  CHECK(stays.get().rows.size() == 1);
  try {
    gone.get();
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::cancelled);
  }
}

TEST_CASE("when memory runs out others give theirs up, and the batch is tried once more") {
  auto recorder = std::make_shared<Recorder>();
  int freed = 0;
  ModelExecutor executor(
      [&](const StillWanted&) { return std::make_unique<FakeModel>(recorder); },
      {.name = "fake",
       .free_memory = [&] { ++freed; },
       .explain_memory = [] { return std::string("cpu: 5 of 8 bytes: other 5"); }});
  recorder->memory_failures = 1;
  CHECK(executor.run({row_of(1)}, {}).rows.size() == 1);
  CHECK(freed == 1);
  recorder->memory_failures = 2;
  CHECK(contains(message_of(ErrorCode::out_of_memory, [&] { executor.run({row_of(2)}, {}); }),
                 "cpu: 5 of 8 bytes: other 5"));
  CHECK(freed == 2);
  CHECK(executor.run({row_of(3)}, {}).rows.size() == 1);  // and the model lives on
}

TEST_CASE("a load that nobody waits for any more is given up, and the next call begins it anew") {
  auto recorder = std::make_shared<Recorder>();
  std::atomic<int> loads{0};
  std::atomic<bool> patient{false};
  ModelExecutor executor([&](const StillWanted& wanted) -> std::unique_ptr<BatchModel> {
    ++loads;
    while (!patient) {
      if (!wanted()) throw Error(ErrorCode::cancelled, "nobody wants it");
      std::this_thread::yield();
    }
    return std::make_unique<FakeModel>(recorder);
  });
  std::stop_source stop;
  auto gone = std::async(std::launch::async,
                         [&] { executor.run({row_of(1)}, {}, {.stop = stop.get_token()}); });
  wait_until([&] { return loads == 1; });
  stop.request_stop();
  message_of(ErrorCode::cancelled, [&] { gone.get(); });
  wait_until([&] { return !executor.loading(); });
  CHECK_FALSE(executor.loaded());
  CHECK_FALSE(executor.load_failed());
  patient = true;
  CHECK(executor.run({row_of(2)}, {}).rows.size() == 1);
  CHECK(loads == 2);
}

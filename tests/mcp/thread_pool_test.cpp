#include "mcp/thread_pool.h"

#include <atomic>
#include <latch>

#include "tests/mcp/support.h"

using namespace gpumcp::mcp;
using gpumcp::mcp::test::Gate;

TEST_CASE("the pool grows so that tasks that block all run at once") {
  ThreadPool pool({.max_threads = 16, .max_queued = 0});
  std::latch all(16), out(16);
  for (int i = 0; i < 16; ++i) {
    REQUIRE(pool.submit([&] {
      all.arrive_and_wait();  // returns only when all sixteen run
      out.count_down();
    }));
  }
  out.wait();
  CHECK(pool.threads() <= 16);
}

TEST_CASE("a full pool queues, then refuses, and takes tasks again once there is room") {
  ThreadPool pool({.max_threads = 2, .max_queued = 3});
  Gate gate;
  std::latch running(2);
  std::atomic<int> ran = 0;
  auto blocked = [&] {
    running.count_down();
    gate.wait();
    ++ran;
  };
  CHECK(pool.submit(blocked));
  CHECK(pool.submit(blocked));
  running.wait();
  for (int i = 0; i < 3; ++i) CHECK(pool.submit([&] { ++ran; }));
  CHECK_FALSE(pool.submit([&] { ++ran; }));
  gate.open();
  std::promise<void> done;
  while (!pool.submit([&] { done.set_value(); })) std::this_thread::yield();
  done.get_future().wait();
  pool.stop();
  CHECK(ran == 5);
  CHECK_FALSE(pool.submit([] {}));
}

TEST_CASE("destruction runs what is queued, and joins") {
  std::atomic<int> ran = 0;
  {
    ThreadPool pool({.max_threads = 3, .max_queued = 1000});
    for (int i = 0; i < 500; ++i) REQUIRE(pool.submit([&] { ++ran; }));
  }
  CHECK(ran == 500);
}

TEST_CASE("a task ends before what it captured is released, on the pool's thread") {
  ThreadPool pool;
  std::promise<std::thread::id> released;
  auto token = std::shared_ptr<int>(new int, [&](int* p) {
    delete p;
    released.set_value(std::this_thread::get_id());
  });
  REQUIRE(pool.submit([t = std::move(token)] {}));
  CHECK(released.get_future().get() != std::this_thread::get_id());
}

TEST_CASE("threads that idle leave, and the pool still serves") {
  ThreadPool pool({.max_threads = 4, .max_queued = 4, .idle_seconds = 0});
  for (int i = 0; i < 200; ++i) {
    std::promise<void> done;
    REQUIRE(pool.submit([&] { done.set_value(); }));
    done.get_future().wait();
  }
  CHECK(pool.threads() <= 4);
}

TEST_CASE("many threads submit at once and every task runs, within the limit of threads") {
  std::atomic<int> ran = 0, at_once = 0, most = 0;
  {
    ThreadPool pool({.max_threads = 3, .max_queued = 100000, .idle_seconds = 0.0001});
    std::vector<std::jthread> submitters;
    for (int t = 0; t < 4; ++t) {
      submitters.emplace_back([&] {
        for (int i = 0; i < 500; ++i) {
          pool.submit([&] {
            const int now = ++at_once;
            int seen = most;
            while (now > seen && !most.compare_exchange_weak(seen, now)) {
            }
            ++ran;
            --at_once;
          });
        }
      });
    }
  }
  CHECK(ran == 2000);
  CHECK(most <= 3);
}

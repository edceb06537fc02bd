#include "gpu_runtime/call_scope.h"

#include <doctest/doctest.h>

#include <thread>

using namespace gpumcp::gpu_runtime;

TEST_CASE("without a scope there are no limits and no record") {
  CHECK(CallScope::current() == nullptr);
  CHECK_FALSE(CallScope::current_limits().deadline.has_value());
  CHECK_FALSE(CallScope::current_limits().stop.stop_possible());
}

TEST_CASE("scopes nest, and belong to their thread") {
  CallScope outer;
  {
    CallScope inner({.deadline = SteadyTime::max()});
    CHECK(CallScope::current() == &inner);
    CHECK(CallScope::current_limits().deadline == SteadyTime::max());
    std::thread([] { CHECK(CallScope::current() == nullptr); }).join();
  }
  CHECK(CallScope::current() == &outer);
}

TEST_CASE("usage has the contract's keys in the contract's order") {
  Usage usage{.queue_ms = 0.1234567, .gpu_ms = 2, .batch_size = 3, .tokens = 4};
  CHECK(
      usage.to_json().dump() ==
      R"({"queue_ms":0.123,"load_ms":0.0,"tokenize_ms":0.0,"gpu_ms":2.0,"batch_size":3,"tokens":4,"cold":false,"gpu_held_s":0.0})");
  usage.truncated = 1;
  CHECK(usage.to_json().back() == 1);
}

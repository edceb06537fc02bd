#include "gpu_runtime/held_time.h"

#include <doctest/doctest.h>

#include <memory>

using gpumcp::gpu_runtime::HeldTime;
using std::chrono::seconds;

namespace {

struct Clock {
  std::chrono::steady_clock::time_point now{};
  void pass(int s) { now += seconds(s); }
};

}  // namespace

TEST_CASE("held time counts while anything is held, once however many hold") {
  Clock clock;
  HeldTime held([&] { return clock.now; });
  clock.pass(5);
  CHECK(held.seconds() == 0);
  held.hold();
  clock.pass(2);
  held.hold();
  clock.pass(3);
  CHECK(held.seconds() == 5);
  held.release();
  clock.pass(1);
  held.release();
  clock.pass(10);
  CHECK(held.seconds() == 6);
}

TEST_CASE("a call alone has all of the held time in which it ran, and none of the idling") {
  Clock clock;
  HeldTime held([&] { return clock.now; });
  double first = 0, second = 0;
  {
    HeldTime::Share share(held);
    clock.pass(1);  // nothing is held yet
    held.hold();
    clock.pass(4);
    first = share.seconds();
  }
  clock.pass(60);
  {
    HeldTime::Share share(held);
    clock.pass(2);
    second = share.seconds();
  }
  clock.pass(60);
  held.release();
  CHECK(first == 4);
  CHECK(second == 2);
  CHECK(held.seconds() == 126);
}

TEST_CASE("calls that run at the same time have equal parts, which add up to what was held") {
  Clock clock;
  HeldTime held([&] { return clock.now; });
  held.hold();
  auto one = std::make_unique<HeldTime::Share>(held);
  clock.pass(4);  // one: 4
  auto two = std::make_unique<HeldTime::Share>(held);
  clock.pass(6);  // each: 3
  const double of_one = one->seconds();
  one.reset();
  clock.pass(5);  // two: 5
  CHECK(of_one == doctest::Approx(7));
  CHECK(two->seconds() == doctest::Approx(8));
  CHECK(of_one + two->seconds() == doctest::Approx(held.seconds()));
}

#include "sandbox/ledger.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

using namespace gpumcp;
using sandbox::Ledger;
using sandbox::LedgerCall;

namespace {

// A clock that stands until it is told: calls begin and end at its times.
struct FakeRun {
  double now = 1000;
  Ledger ledger;

  void call(double seconds, LedgerCall one) {
    one.begun = now;
    now += seconds;
    one.ended = now;
    ledger.add_line(sandbox::ledger_line(one));
  }
  void think(double seconds) { now += seconds; }
  void worker(const std::string& id, double held_s, bool left = false) {
    ledger.add_line(sandbox::ledger_line(id, now, held_s, left));
  }
};

}  // namespace

TEST_CASE("the bill is for the GPU that was held, not for what the agent thought") {
  FakeRun run;
  run.worker("1", 0);
  run.call(6,
           {.tool = "embed", .queue_s = 0.5, .load_s = 4, .gpu_s = 1, .held_s = 5, .cold = true});
  run.think(1);
  run.call(1, {.tool = "embed", .gpu_s = 0.5, .held_s = 1});
  run.now += 2;  // idles, leaves
  run.worker("1", 9, true);
  run.think(48);
  run.worker("2", 0);
  run.call(4, {.tool = "info", .load_s = 3, .gpu_s = 0.25, .held_s = 4, .failed = true});
  run.now += 2;
  run.worker("2", 6, true);
  const auto sum = run.ledger.summary(1000, run.now, 3.6);
  CHECK(sum.wall_s == doctest::Approx(64));
  CHECK(sum.calls_s == doctest::Approx(11));
  CHECK(sum.agent_s == doctest::Approx(53));
  CHECK(sum.queue_s == doctest::Approx(0.5));
  CHECK(sum.load_s == doctest::Approx(7));
  CHECK(sum.busy_s == doctest::Approx(1.75));
  CHECK(sum.shares_s == doctest::Approx(10));
  CHECK(sum.held_s == doctest::Approx(15));
  CHECK(sum.idle_s == doctest::Approx(5));
  CHECK(sum.cost == doctest::Approx(0.015));
  CHECK(sum.always_on == doctest::Approx(0.064));
  CHECK(sum.calls == 3);
  CHECK(sum.failed == 1);
  CHECK(sum.cold == 1);
  CHECK(sum.workers == 2);
  CHECK_FALSE(sum.estimated);
  CHECK(sum.tools.front().first == "embed");
  CHECK(sum.to_text().find("77 % are saved") != std::string::npos);
  CHECK(sum.to_json()["always_on_cost"] == 0.064);
}

TEST_CASE("time in calls counts once where calls overlap, and only inside of the run") {
  Ledger ledger;
  for (auto [from, to] : {std::pair{90.0, 110.0}, {105.0, 120.0}, {107.0, 108.0}, {150.0, 160.0}})
    ledger.add_line(sandbox::ledger_line(LedgerCall{.tool = "t", .begun = from, .ended = to}));
  const auto sum = ledger.summary(100, 155);
  CHECK(sum.calls_s == doctest::Approx(25));
  CHECK(sum.agent_s == doctest::Approx(30));
  CHECK_FALSE(sum.price.has_value());
}

TEST_CASE("what a worker held for others before is not on this bill") {
  FakeRun run;
  run.worker("1", 500);
  run.think(10);
  run.worker("1", 508);  // a second front attaches
  run.call(2, {.tool = "t", .gpu_s = 2, .held_s = 2});
  run.worker("1", 512, true);
  CHECK(run.ledger.summary(1000, run.now).held_s == doctest::Approx(12));
}

TEST_CASE("what was loaded for a run before it began idles on its bill, and is told apart") {
  FakeRun run;
  run.ledger.add_line(sandbox::ledger_before_line("1", 6));
  run.ledger.add_line(sandbox::ledger_before_line("another's", 1000));
  run.think(10);
  run.worker("1", 16);  // its first front
  run.call(2, {.tool = "t", .gpu_s = 1, .held_s = 2});
  run.worker("1", 19, true);
  const auto sum = run.ledger.summary(1000, run.now);
  CHECK(sum.held_s == doctest::Approx(13));
  CHECK(sum.idle_s == doctest::Approx(11));
  CHECK(sum.before_s == doctest::Approx(6));
  CHECK(sum.to_text().find("before it   6.0 s") != std::string::npos);
  CHECK(sum.to_json()["gpu_held_before_s"] == 6);
}

TEST_CASE("a worker that dies without a word is assumed to have held until now, and that is said") {
  FakeRun run;
  run.worker("1", 0);
  run.call(2, {.tool = "t", .gpu_s = 1, .held_s = 2});
  run.think(7);
  const auto sum = run.ledger.summary(1000, run.now);
  CHECK(sum.held_s == doctest::Approx(9));
  CHECK(sum.estimated);
  CHECK(sum.to_text().find("until now is assumed") != std::string::npos);
}

TEST_CASE("calls that shared a batch do not count its time twice") {
  FakeRun run;
  for (int i = 0; i < 4; ++i)
    run.ledger.add_line(sandbox::ledger_line(
        LedgerCall{.tool = "t", .begun = 1000, .ended = 1002, .gpu_s = 2, .held_s = 0.5}));
  const auto sum = run.ledger.summary(1000, 1002);
  CHECK(sum.busy_s == doctest::Approx(2));
  CHECK(sum.shares_s == doctest::Approx(2));
}

TEST_CASE("usage is read from a result's own _meta, not from what it says") {
  LedgerCall call;
  sandbox::read_usage(
      R"({"content":[{"type":"text","text":"{\"gpumcp/usage\":{\"gpu_ms\":9}}"}],)"
      R"("structuredContent":{"_meta":{"gpumcp/usage":{"gpu_ms":9}}},"isError":true,)"
      R"("_meta":{"gpumcp/usage":{"queue_ms":1500,"load_ms":250,"gpu_ms":125,"tokens":7,"cold":true,"gpu_held_s":1.5}}})",
      call);
  CHECK(call.failed);
  CHECK(call.cold);
  CHECK(call.queue_s == 1.5);
  CHECK(call.load_s == 0.25);
  CHECK(call.gpu_s == 0.125);
  CHECK(call.held_s == 1.5);
  CHECK(call.tokens == 7);
  LedgerCall none;
  sandbox::read_usage(R"({"content":[]})", none);
  CHECK(none.gpu_s == 0);
}

TEST_CASE("many may append; broken lines are passed over; a file that is gone stays gone") {
  char name[] = "/tmp/gpumcp-ledger-XXXXXX";
  ::close(mkstemp(name));
  std::vector<std::thread> writers;
  for (int i = 0; i < 4; ++i)
    writers.emplace_back([&name] {
      for (int n = 0; n < 25; ++n)
        sandbox::append_ledger(name, sandbox::ledger_line(LedgerCall{.tool = "t"}));
    });
  for (auto& writer : writers) writer.join();
  std::ofstream(name, std::ios::app) << "[1]\n{\"event\":\"call\",\"to";
  CHECK(Ledger::read(name).calls().size() == 100);
  std::filesystem::remove(name);
  sandbox::append_ledger(name, sandbox::ledger_line("1", 1, 1, true));
  CHECK_FALSE(std::filesystem::exists(name));
}

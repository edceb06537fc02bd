// Quick handlers run on the thread that reads, and one that turns out slow keeps nobody waiting.
#include "mcp/stand_ins.h"

#include <unistd.h>

#include <atomic>
#include <set>

#include "tests/mcp/support.h"

using namespace gpumcp::mcp;
using namespace gpumcp::mcp::test;

namespace {

// What the tests' tools share: whether the last call ran where its peer's messages are read, and a
// gate that some calls wait for.
struct Shared {
  std::atomic<bool> at_reader = false;
  Gate began, gate;
  void ran() { at_reader = StandIns::runs_here(); }
};

void expose_tools(Server& server, Shared& shared) {
  server.expose(
      "note", "d",
      [&shared](bool block) {
        shared.ran();
        if (block) {
          shared.began.open();
          shared.gate.wait();
        }
        return 1;
      },
      arg("block", "", false));
}

// Until the tool's calls run where its peer's messages are read.
void make_trusted(Peer& peer, Shared& shared) {
  for (int i = 0; i < 10'000 && !shared.at_reader; ++i)
    REQUIRE(peer.ask(call("1", "note")).contains("result"));
  REQUIRE(shared.at_reader);
}

}  // namespace

TEST_CASE(
    "a handler is quick after several quick calls, and ever less soon after some that block") {
  Pace pace;
  auto until_quick = [&] {
    int calls = 0;
    for (; !pace.quick() && calls < 10'000; ++calls) pace.took(std::chrono::microseconds(5));
    return calls;
  };
  CHECK(until_quick() == 4);
  pace.took(std::chrono::microseconds(500));
  CHECK_FALSE(pace.quick());
  CHECK(until_quick() == 4);
  for (const int calls : {12, 20, 36}) {
    pace.took(std::chrono::milliseconds(5));
    CHECK(until_quick() == calls);
  }
  for (int i = 0; i < 10; ++i) pace.took(std::chrono::seconds(1));
  CHECK(until_quick() == 1028);
  for (int i = 0; i < 10'000; ++i) pace.took(std::chrono::microseconds(5));
  CHECK(pace.quick());
  pace.took(std::chrono::seconds(1));
  CHECK(until_quick() == 12);  // it behaved well for long
}

TEST_CASE("a duty is done by another thread once a run takes long, and by nobody if it does not") {
  StandIns stand_ins;
  for (int i = 0; i < 10'000; ++i) {
    StandIns::Duty duty{.perform = [] { FAIL("a stand-in came for a run that was over"); }};
    StandIns::Run run(stand_ins, duty);
    REQUIRE(run);
    run.end();
    REQUIRE_FALSE(duty.given_away);
  }
  for (int i = 0; i < 3; ++i) {
    Gate done;
    std::thread::id by;
    StandIns::Duty duty{.perform = [&] {
      by = std::this_thread::get_id();
      done.open();
    }};
    StandIns::Run run(stand_ins, duty);
    REQUIRE(run);
    CHECK(done.wait());  // it blocks, so somebody must come
    CHECK(StandIns::given_away());
    run.end();
    CHECK(duty.given_away);
    CHECK(by != std::this_thread::get_id());
    CHECK_FALSE(StandIns::given_away());
  }
  Gate done;
  StandIns::Duty duty{.perform = [&] { done.open(); }};
  StandIns::Run run(stand_ins, duty);
  StandIns::about_to_wait();
  CHECK(StandIns::given_away());  // at once
  run.end();
  CHECK(done.wait());
}

TEST_CASE("runs of many threads at once each keep their own duty") {
  StandIns stand_ins;
  std::atomic<int> stood_in = 0, given_away = 0;
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 8; ++t) {
      threads.emplace_back([&, t] {
        for (int i = 0; i < 200; ++i) {
          StandIns::Duty duty{.perform = [&] { ++stood_in; }};
          StandIns::Run run(stand_ins, duty);
          if (!run) continue;
          if (i % 50 == t) StandIns::about_to_wait();
          if (i % 90 == t) std::this_thread::yield();
          run.end();
          given_away += duty.given_away;
        }
      });
    }
  }
  stand_ins.stop();
  CHECK(stood_in == given_away);
  CHECK(given_away > 0);
}

TEST_CASE("a trusted tool that blocks delays neither ping, list, cancel nor other calls") {
  Shared shared;
  Server server;
  expose_tools(server, shared);
  Gate stopped;
  Peer peer(server);
  make_trusted(peer, shared);
  peer.send(call("7", "note", R"({"block":true})"));
  REQUIRE(shared.began.wait());
  CHECK(peer.ask(request("2", "ping"))["id"] == 2);
  CHECK(peer.ask(request("3", "tools/list"))["result"]["tools"].size() == 1);
  for (int i = 10; i < 60; ++i) CHECK(peer.ask(call(std::to_string(i), "note"))["id"] == i);
  peer.send(cancel("7"));
  CHECK(peer.ask(call("7", "note"))["id"] == 7);  // its id is free
  shared.gate.open();
  CHECK(peer.ask(request("4", "ping"))["id"] == 4);
}

TEST_CASE("messages behind a call that blocks are read, those that came with it too") {
  Shared shared;
  Server server;
  expose_tools(server, shared);
  int in[2], out[2];
  REQUIRE(pipe(in) == 0);
  REQUIRE(pipe(out) == 0);
  auto near = make_line_transport(in[0], out[1]);
  auto far = make_line_transport(out[0], in[1]);
  auto served = std::async(std::launch::async, [&] { server.serve(*near); });
  auto next = [&] {
    auto text = far->read();
    REQUIRE(text);
    REQUIRE(*text);
    return json(**text);
  };
  for (int i = 0; i < 10'000 && !shared.at_reader; ++i) {
    REQUIRE(far->write(call("1", "note")));
    CHECK(next()["id"] == 1);
  }
  CHECK(shared.at_reader);
  // One write, so that all of it lies there when the blocking call begins.
  REQUIRE(far->write_soon(call("1", "note")));
  REQUIRE(far->write_soon(call("2", "note", R"({"block":true})")));
  REQUIRE(far->write_soon(request("3", "ping")));
  REQUIRE(far->write_soon(call("4", "note")));
  far->flush(kLong);
  std::set<int> seen;
  for (int i = 0; i < 3; ++i) seen.insert(next()["id"].get<int>());
  CHECK(seen == std::set<int>{1, 3, 4});
  shared.gate.open();
  CHECK(next()["id"] == 2);
  far->close();
  served.get();
}

TEST_CASE("serve() returns at the end of input while a trusted tool blocks") {
  Shared shared;
  Server server({.drain = std::chrono::milliseconds(1)});
  expose_tools(server, shared);
  Peer peer(server);
  make_trusted(peer, shared);
  peer.send(call("7", "note", R"({"block":true})"));
  REQUIRE(shared.began.wait());
  peer.close();  // waits for serve()
  shared.gate.open();
}

TEST_CASE("a trusted tool may ask its client, which answers on the same stream") {
  Shared shared;
  Server server;
  server.expose(
      "note", "d",
      [&shared](bool block, Context& context) {
        shared.ran();
        return block ? context.list_roots().size() : 0;
      },
      arg("block", "", false));
  Peer peer(server);
  peer.ask(request("0", "initialize",
                   R"("protocolVersion":"2025-11-25","capabilities":{"roots":{}},)"
                   R"("clientInfo":{"name":"t","version":"0"})"));
  make_trusted(peer, shared);
  peer.send(call("7", "note", R"({"block":true})"));
  const Json question = peer.next();
  CHECK(question["method"] == "roots/list");
  peer.send(R"({"jsonrpc":"2.0","id":)" + to_text(question["id"]) +
            R"(,"result":{"roots":[{"uri":"file:///a"}]}})");
  CHECK(peer.next()["result"]["structuredContent"]["result"] == 1);
}

TEST_CASE("the limit of running calls holds for quick ones too") {
  Shared shared;
  Server server({.max_running_calls = 1, .max_queued_calls = 1});
  expose_tools(server, shared);
  Gate go, began;
  server.expose("wait", "d", [&] {
    began.open();
    go.wait();
  });
  Peer peer(server);
  make_trusted(peer, shared);
  peer.send(call("1", "wait"));
  REQUIRE(began.wait());
  peer.send(call("2", "note"));  // queued
  const Json busy = peer.ask(call("3", "note"));
  CHECK(busy["id"] == 3);
  CHECK(busy["result"]["isError"] == true);
  go.open();
  CHECK(peer.next()["id"] == 1);
  CHECK(peer.next()["id"] == 2);
}

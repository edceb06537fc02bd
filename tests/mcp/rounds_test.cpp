// One handler that asks its client, in both eras: requests and answers up to 2025-11-25, rounds
// with a sealed state in 2026-07-28. Hostile answers and states.
#include "mcp/sealer.h"
#include "tests/mcp/support.h"

using namespace gpumcp::mcp;
using namespace gpumcp::mcp::test;

namespace {

int code(const Json& answer) {
  return answer.contains("error") ? answer["error"]["code"].get<int>() : 0;
}
std::string text(const Json& answer) {
  const Json& result = answer["result"];
  return (result.contains("structuredContent") ? result["structuredContent"]["result"]
                                               : result["content"][0]["text"])
      .get<std::string>();
}

ElicitRequest ask_for(const char* field) {
  return {
      std::string("Your ") + field + "?",
      {{"type", "object"}, {"properties", {{field, {{"type", "string"}}}}}, {"required", {field}}}};
}

struct Fixture {
  Fixture() {
    server.expose(
        "greet", "Greets, after asking for a name and a colour.",
        [this](int64_t times, Context& c) {
          ++runs;
          if (c.state().is_null()) c.state() = {{"first_run", runs.load()}};
          const auto name = c.elicit("name", ask_for("name"));
          if (!name.accepted()) return std::string("declined");
          const auto color = c.elicit("color", ask_for("color"));
          return name.content["name"].get<std::string>() + " " +
                 color.content["color"].get<std::string>() + " " + std::to_string(times) + " " +
                 c.state()["first_run"].dump();
        },
        arg("times"));
    server.expose("sample", "Asks the model.", [](Context& c) {
      CreateMessageRequest request{.messages = {{"user", {{TextContent{"hi"}}}}}};
      return c.create_message("m", request).text();
    });
    server.expose("stubborn", "Catches everything.", [](Context& c) {
      try {
        return c.elicit("name", ask_for("name")).content.dump();
      } catch (...) {
        return std::string("caught");
      }
    });
    server.expose("heavy", "Keeps too much.", [](Context& c) {
      c.state() = std::string(100000, 'x');
      c.elicit("name", ask_for("name"));
      return 1;
    });
  }
  // A 2026-07-28 call with this capability object and these members of params.
  Json round(std::string_view tool, std::string_view more = "",
             std::string_view capabilities = R"({"elicitation":{}})",
             std::string_view arguments = R"({"times":2})") {
    return peer.ask(
        request(std::to_string(++id), "tools/call",
                R"("name":")" + std::string(tool) + R"(","arguments":)" + std::string(arguments) +
                    std::string(more) +
                    R"(,"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28",)"
                    R"("io.modelcontextprotocol/clientCapabilities":)" +
                    std::string(capabilities) + "}"));
  }
  static std::string retry(const Json& asked, std::string_view responses) {
    return R"(,"inputResponses":)" + std::string(responses) + R"(,"requestState":)" +
           asked["result"]["requestState"].dump();
  }
  void initialize(std::string_view capabilities) {
    peer.ask(
        request("0", "initialize",
                R"("protocolVersion":"2025-11-25","capabilities":)" + std::string(capabilities)));
  }

  std::atomic<int> runs = 0;
  int id = 0;
  Server server{{.name = "test", .ask_timeout = std::chrono::milliseconds(200)}};
  Peer peer{server};
};

constexpr const char* kAnn = R"({"name":{"action":"accept","content":{"name":"Ann"}}})";
constexpr const char* kRed = R"({"color":{"action":"accept","content":{"color":"red"}}})";

}  // namespace

TEST_CASE_FIXTURE(Fixture,
                  "2026-07-28: the handler runs anew with each round's answers, its state kept") {
  const Json first = round("greet");
  CHECK(first["result"]["resultType"] == "input_required");
  CHECK_FALSE(first["result"].contains("content"));
  CHECK(first["result"]["inputRequests"].size() == 1);
  const Json& asked = first["result"]["inputRequests"]["name"];
  CHECK(asked["method"] == "elicitation/create");
  CHECK(asked["params"]["message"] == "Your name?");
  const Json second = round("greet", retry(first, kAnn));
  CHECK(second["result"]["inputRequests"].contains("color"));
  CHECK_FALSE(second["result"]["inputRequests"].contains("name"));
  CHECK(second["result"]["requestState"] != first["result"]["requestState"]);
  const Json done = round("greet", retry(second, kRed));
  CHECK(done["result"]["resultType"] == "complete");
  CHECK(text(done) == "Ann red 2 1");
  CHECK(runs == 3);
}

TEST_CASE_FIXTURE(Fixture, "2026-07-28: wrong, missing and malformed answers are asked for again") {
  const Json first = round("greet");
  for (const char* responses :
       {"{}", R"({"nam":{"action":"accept","content":{"name":"Ann"}}})", R"({"name":7})",
        R"({"name":{"action":"accept","content":{}}})", R"({"name":{"action":"maybe"}})"}) {
    CAPTURE(responses);
    const Json again = round("greet", retry(first, responses));
    CHECK(again["result"]["resultType"] == "input_required");
    CHECK(again["result"]["inputRequests"].contains("name"));
  }
  CHECK(code(round("greet", retry(first, "[]"))) == -32602);
  CHECK(text(round("greet", retry(first, R"({"name":{"action":"decline"},"extra":1})"))) ==
        "declined");
}

TEST_CASE_FIXTURE(Fixture,
                  "pitfall 10: a state that was changed, or is another request's, is refused") {
  const Json first = round("greet");
  std::string state = first["result"]["requestState"].get<std::string>();
  auto with = [&](const std::string& s, const char* tool = "greet",
                  const char* arguments = R"({"times":2})") {
    return round(tool,
                 R"(,"inputResponses":)" + std::string(kAnn) + R"(,"requestState":")" + s + "\"",
                 R"({"elicitation":{}})", arguments);
  };
  CHECK(with(state)["result"]["resultType"] == "input_required");
  CHECK(code(with(state + "-TAMPERED")) == -32602);
  CHECK(code(with(state + "=")) == -32602);
  CHECK(code(with(state.substr(4))) == -32602);
  CHECK(code(with("")) == -32602);
  for (size_t at : {size_t(0), state.size() / 2, state.size() - 5}) {
    std::string flipped = state;
    flipped[at] = flipped[at] == 'A' ? 'B' : 'A';
    CHECK(code(with(flipped)) == -32602);
  }
  CHECK(code(with(state, "greet", R"({"times":3})")) == -32602);
  CHECK(code(with(state, "stubborn", R"({})")) == -32602);
  CHECK(code(round("greet", R"(,"requestState":7)")) == -32602);
  // The same arguments, written differently, are the same request.
  CHECK(with(state, "greet", R"({ "times" : 2 })")["result"]["resultType"] == "input_required");
}

TEST_CASE("a sealed text opens for its context only, until it expires, under its key") {
  const Sealer sealer("a secret of 32 bytes or more, this one"), other;
  const auto now = Sealer::Clock::now();
  const std::string sealed = sealer.seal("text", "context", now + std::chrono::minutes(1));
  CHECK(sealer.open(sealed, "context", now).value() == "text");
  CHECK(Sealer("a secret of 32 bytes or more, this one").open(sealed, "context", now));
  CHECK_FALSE(sealer.open(sealed, "context2", now));
  CHECK_FALSE(other.open(sealed, "context", now));
  const auto late = sealer.open(sealed, "context", now + std::chrono::minutes(2));
  REQUIRE_FALSE(late);
  CHECK(contains(late.error().message, "expired"));
  CHECK(sealer.seal("text", "context", now) != sealer.seal("text", "context", now));
  CHECK_THROWS_AS(Sealer("short"), std::invalid_argument);
  CHECK(sha256_hex("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST_CASE("2026-07-28: a state that has expired is refused, and says so; the call can begin anew") {
  Server server({.name = "test", .state_ttl = std::chrono::seconds(0)});
  server.expose("greet", "Greets.", [](Context& c) {
    return c.elicit("name", ask_for("name")).content.value("name", "");
  });
  Peer peer(server);
  const auto round = [&](std::string_view id, std::string_view more) {
    return peer.ask(
        request(id, "tools/call",
                R"("name":"greet","arguments":{})" + std::string(more) +
                    R"(,"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28",)"
                    R"("io.modelcontextprotocol/clientCapabilities":{"elicitation":{}}})"));
  };
  const Json first = round("1", "");
  REQUIRE(first["result"]["resultType"] == "input_required");
  const Json late = round("2", Fixture::retry(first, kAnn));
  CHECK(code(late) == -32602);
  CHECK(contains(late["error"]["message"].get<std::string>(), "requestState: has expired"));
  CHECK(round("3", R"(,"inputResponses":)" + std::string(kAnn))["result"]["structuredContent"] ==
        Json{{"result", "Ann"}});
}

TEST_CASE_FIXTURE(
    Fixture, "2026-07-28: a capability that the client did not declare in this request is named") {
  round("greet");  // what an earlier request declared does not count (pitfall 6)
  const Json answer = round("greet", "", "{}");
  CHECK(code(answer) == -32021);
  CHECK(answer["error"]["data"]["requiredCapabilities"].dump() == R"({"elicitation":{}})");
  CHECK(code(round("sample", "", R"({"elicitation":{}})", "{}")) == -32021);
}

TEST_CASE_FIXTURE(
    Fixture,
    "2026-07-28: a handler that catches everything still asks, one that keeps too much fails") {
  CHECK(round("stubborn", "", R"({"elicitation":{}})", "{}")["result"]["resultType"] ==
        "input_required");
  const Json heavy = round("heavy", "", R"({"elicitation":{}})", "{}");
  CHECK(heavy["result"]["isError"] == true);
  CHECK(contains(text(heavy), "32768"));
}

TEST_CASE_FIXTURE(
    Fixture, "pitfall 18: the handler that asks by rounds waits, up to 2025-11-25, for answers") {
  initialize(R"({"elicitation":{}})");
  peer.send(call("1", "greet", R"({"times":5})"));
  Json asked = peer.next();
  CHECK(asked["method"] == "elicitation/create");
  CHECK(asked["params"]["requestedSchema"]["required"][0] == "name");
  // Meanwhile the session goes on.
  CHECK(peer.ask(request("2", "ping"))["id"] == 2);
  peer.send(R"({"jsonrpc":"2.0","id":)" + asked["id"].dump() +
            R"(,"result":{"action":"accept","content":{"name":"Bo"}}})");
  asked = peer.next();
  CHECK(asked["params"]["message"] == "Your color?");
  const Json done = peer.ask(R"({"jsonrpc":"2.0","id":)" + asked["id"].dump() +
                             R"(,"result":{"action":"accept","content":{"color":"blue"}}})");
  CHECK(done["id"] == 1);
  CHECK(text(done) == "Bo blue 5 1");
  CHECK(runs == 1);
  // An answer to nothing is ignored.
  peer.send(R"({"jsonrpc":"2.0","id":99,"result":{}})");
  CHECK(peer.ask(request("3", "ping"))["id"] == 3);
}

TEST_CASE_FIXTURE(
    Fixture,
    "2025-11-25: a refusal, a wrong answer, silence and a missing capability are isError") {
  initialize(R"({"elicitation":{}})");
  auto answered = [&](const std::string& rest) {
    peer.send(call("1", "greet", R"({"times":5})"));
    const Json asked = peer.next();
    return peer.ask(R"({"jsonrpc":"2.0","id":)" + asked["id"].dump() + rest + "}");
  };
  Json answer = answered(R"(,"error":{"code":-1,"message":"the user is away"})");
  CHECK(answer["result"]["isError"] == true);
  CHECK(contains(text(answer), "the user is away"));
  answer = answered(R"(,"result":{"action":"accept","content":{}})");
  CHECK(answer["result"]["isError"] == true);
  CHECK(contains(text(answer), "name"));
  answer = peer.ask(call("2", "sample"));
  CHECK(answer["result"]["isError"] == true);
  CHECK(contains(text(answer), "sampling"));
  // Nobody answers: the question is withdrawn, then the call fails.
  peer.send(call("3", "greet", R"({"times":5})"));
  const Json asked = peer.next();
  const Json withdrawn = peer.next();
  CHECK(withdrawn["method"] == "notifications/cancelled");
  CHECK(withdrawn["params"]["requestId"] == asked["id"]);
  answer = peer.next();
  CHECK(answer["id"] == 3);
  CHECK(answer["result"]["isError"] == true);
}

TEST_CASE("2025-11-25: who was asked to open a URL is told once when that is done, nobody else") {
  Server server({.name = "test"});
  server.expose("link", "Sends the user to a page.", [](Context& c) {
    const auto answer = c.elicit(
        "page", {.message = "Sign in", .url = "https://a.example/x", .elicitationId = "e-1"});
    return answer.accepted();
  });
  Peer asked(server), other(server);
  for (Peer* peer : {&asked, &other})
    peer->ask(
        request("0", "initialize",
                R"("protocolVersion":"2025-11-25","capabilities":{"elicitation":{"url":{}}})"));
  asked.send(call("1", "link"));
  const Json question = asked.next();
  CHECK(question["params"]["mode"] == "url");
  CHECK(question["params"]["elicitationId"] == "e-1");
  const Json done = asked.ask(R"({"jsonrpc":"2.0","id":)" + question["id"].dump() +
                              R"(,"result":{"action":"accept"}})");
  CHECK(done["result"]["structuredContent"]["result"] == true);
  server.notify_elicitation_complete("e-2");
  server.notify_elicitation_complete("e-1");
  server.notify_elicitation_complete("e-1");
  asked.send(request("2", "ping"));
  const Json told = asked.next();
  CHECK(told["method"] == "notifications/elicitation/complete");
  CHECK(told["params"].dump() == R"({"elicitationId":"e-1"})");
  CHECK(asked.next()["id"] == 2);
  CHECK(other.ask(request("2", "ping"))["id"] == 2);
}

TEST_CASE(
    "2025-11-25: cancelling a call that waits for its client withdraws the question and answers "
    "nothing") {
  Server server({.name = "test"});
  server.expose("ask", "Asks.",
                [](Context& c) { return c.elicit("name", ask_for("name")).content.dump(); });
  Peer peer(server);
  peer.ask(request("0", "initialize",
                   R"("protocolVersion":"2025-11-25","capabilities":{"elicitation":{}})"));
  peer.send(call("1", "ask"));
  const Json asked = peer.next();
  peer.send(cancel("1"));
  const Json withdrawn = peer.next();
  CHECK(withdrawn["method"] == "notifications/cancelled");
  CHECK(withdrawn["params"]["requestId"] == asked["id"]);
  CHECK(peer.ask(request("2", "ping"))["id"] == 2);
}

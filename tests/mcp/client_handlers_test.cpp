// What a client answers when its server asks for something, in both eras.
#include "mcp/client.h"

#include "tests/mcp/support.h"

using namespace gpumcp::mcp;
using namespace gpumcp::mcp::test;

namespace {

Json form() {
  return json(R"({"type":"object","properties":{"name":{"type":"string","default":"Ann"},
                  "age":{"type":"integer","minimum":0}},"required":["name"]})");
}

// A server whose tools ask, and a client with handlers, joined in memory.
struct Asking {
  explicit Asking(Era era, ClientHandlers handlers, int max_rounds = 10) {
    server.expose("who", "Asks for a name.", [](Context& c) {
      const auto answer = c.elicit("who", {.message = "Who?", .requestedSchema = form()});
      return answer.accepted() ? to_text(answer.content) : std::string("declined");
    });
    server.expose("model", "Asks the client's model.", [](Context& c) {
      return c.create_message("m", {.messages = {{"user", {{TextContent{"hi"}}}}}}).text() +
             c.list_roots().at(0).uri;
    });
    server.expose("four", "Asks four times.", [](Context& c) {
      std::string all;
      for (const char* key : {"a", "b", "c", "d"})
        if (c.elicit(key, {.message = key, .requestedSchema = form()}).accepted()) all += key;
      return all;
    });
    auto [near_end, far_end] = make_memory_transports();
    served = std::async(std::launch::async, [this, t = std::move(far_end)]() mutable {
      server.serve(*t);
      t.reset();
    });
    auto connected =
        Client::connect(std::move(near_end),
                        {.era = era, .handlers = std::move(handlers), .max_rounds = max_rounds});
    REQUIRE_MESSAGE(connected, (connected ? "" : connected.error().message));
    client = std::move(*connected);
  }
  ~Asking() {
    client.reset();
    server.stop();
    served.get();
  }
  Server server{{.name = "asking"}};
  std::future<void> served;
  std::unique_ptr<Client> client;
};

std::string text_of_call(Client& client, const std::string& tool) {
  const auto result = client.call_tool(tool, Json::object());
  REQUIRE_MESSAGE(result, (result ? "" : result.error().message));
  return std::get<TextContent>(result->content.at(0).value).text;
}

ClientHandlers accepting() {
  ClientHandlers out;
  out.elicit_form = [](const ElicitRequest&, std::stop_token) {
    return ElicitResult{ElicitResult::Action::accept};
  };
  out.sample = [](const CreateMessageRequest& request, std::stop_token) {
    return CreateMessageResult{.content = {request.messages.at(0).content.at(0)}, .model = "m"};
  };
  out.roots = [](std::stop_token) { return std::vector<Root>{{"file:///r"}}; };
  return out;
}

}  // namespace

TEST_CASE("one set of handlers answers servers of both eras, with the form's defaults filled in") {
  for (Era era : {Era::modern, Era::legacy}) {
    CAPTURE(static_cast<int>(era));
    Asking a(era, accepting());
    CHECK(contains(text_of_call(*a.client, "who"), "Ann"));
    CHECK(contains(text_of_call(*a.client, "model"), "hifile:///r"));
    CHECK(contains(text_of_call(*a.client, "four"), "abcd"));
  }
}

TEST_CASE("capabilities are declared for the handlers that are set, and for nothing else") {
  CHECK(capabilities_of({}, "2026-07-28") == Json::object());
  ClientHandlers all = accepting();
  CHECK(to_text(capabilities_of(all, "2026-07-28")) ==
        R"({"roots":{},"sampling":{},"elicitation":{}})");
  CHECK(capabilities_of(all, "2025-11-25")["roots"]["listChanged"] == true);
  all.elicit_url = all.elicit_form;
  all.sampling_tools = true;
  const Json declared = capabilities_of(all, "2026-07-28");
  CHECK(declared["sampling"].contains("tools"));
  CHECK(declared["elicitation"] == json(R"({"url":{},"form":{}})"));
  for (Era era : {Era::modern, Era::legacy}) {
    Asking none(era, {});
    const auto refused = none.client->call_tool("who", Json::object());
    if (era == Era::modern)
      CHECK(refused.error().code == ErrorCode::missing_client_capability);
    else
      CHECK(refused->isError);
  }
}

TEST_CASE("an answer that does not fit the form is not sent, and a handler may throw") {
  ClientHandlers bad;
  bad.elicit_form = [](const ElicitRequest&, std::stop_token) {
    return ElicitResult{ElicitResult::Action::accept, {{"age", -1}}};
  };
  Asking wrong(Era::modern, bad);
  const auto unsent = wrong.client->call_tool("who", Json::object());
  REQUIRE_FALSE(unsent);
  CHECK(contains(unsent.error().message, "content.age"));
  bad.elicit_form = [](const ElicitRequest&, std::stop_token) -> ElicitResult { throw 5; };
  Asking throwing(Era::modern, bad);
  CHECK_FALSE(throwing.client->call_tool("who", Json::object()));
  Asking legacy(Era::legacy, bad);
  CHECK(legacy.client->call_tool("who", Json::object())->isError);
}

TEST_CASE("rounds are capped, and the error names the limit") {
  Asking a(Era::modern, accepting(), 2);
  const auto capped = a.client->call_tool("four", Json::object());
  REQUIRE_FALSE(capped);
  CHECK(contains(capped.error().message, "after 2 rounds"));
  Asking enough(Era::modern, accepting(), 4);
  CHECK(contains(text_of_call(*enough.client, "four"), "abcd"));
}

TEST_CASE("the state goes back byte by byte, only if there was one, with a new id") {
  auto [near_end, far_end] = make_memory_transports();
  auto calling = std::async(std::launch::async, [t = std::move(near_end)]() mutable {
    auto client = Client::connect(std::move(t), {.handlers = accepting()});
    REQUIRE(client);
    return (*client)->call_tool("t", Json::object());
  });
  auto answer = [&](const Json& request, const std::string& result) {
    REQUIRE(far_end->write(R"({"jsonrpc":"2.0","id":)" + to_text(request["id"]) + R"(,"result":)" +
                           result + "}"));
  };
  answer(json(**far_end->read()), R"({"supportedVersions":["2026-07-28"],"capabilities":{}})");
  const Json first = json(**far_end->read());
  const std::string ask =
      R"("resultType":"input_required","inputRequests":{"k":{"method":"roots/list"}})";
  answer(first, "{" + ask + R"(,"requestState":"a\u0062\/\"c"})");
  const std::string text = **far_end->read();
  CHECK(contains(text, R"("requestState":"a\u0062\/\"c")"));
  const Json second = json(text);
  CHECK(second["id"] != first["id"]);
  CHECK(second["params"]["inputResponses"]["k"]["roots"][0]["uri"] == "file:///r");
  answer(second, "{" + ask + "}");
  const Json third = json(**far_end->read());
  CHECK_FALSE(third["params"].contains("requestState"));
  answer(third, R"({"content":[{"type":"text","text":"done"}]})");
  CHECK(calling.get());
}

TEST_CASE("what a forwarder says of its own client stays") {
  auto [near_end, far_end] = make_memory_transports();
  auto connecting = std::async(std::launch::async, [t = std::move(near_end)]() mutable {
    return Client::connect(std::move(t), {.handlers = accepting()});
  });
  const Json discover = json(**far_end->read());
  REQUIRE(far_end->write(R"({"jsonrpc":"2.0","id":)" + to_text(discover["id"]) +
                         R"(,"result":{"supportedVersions":["2026-07-28"]}})"));
  auto client = connecting.get();
  REQUIRE(client);
  const std::string key(kMetaClientCapabilities);
  CHECK(discover["params"]["_meta"][key].contains("sampling"));
  (*client)->request_async("tools/call", R"("name":"x")", {.on_result = [](auto) {}},
                           {{key, {{"elicitation", Json::object()}}}});
  const Json forwarded = json(**far_end->read());
  CHECK(to_text(forwarded["params"]["_meta"][key]) == R"({"elicitation":{}})");
}

TEST_CASE("a question that an older server takes back stops its handler") {
  Gate asked, stopped;
  ClientHandlers handlers;
  handlers.roots = [&](std::stop_token stop) {
    Gate end;
    std::stop_callback on_stop(stop, [&] { end.open(); });
    asked.open();
    if (end.wait()) stopped.open();
    return std::vector<Root>();
  };
  auto [near_end, far_end] = make_memory_transports();
  auto connecting = std::async(std::launch::async, [t = std::move(near_end), handlers]() mutable {
    return Client::connect(std::move(t), {.era = Era::legacy, .handlers = handlers});
  });
  CHECK(contains(**far_end->read(), R"("roots":{"listChanged":true})"));
  REQUIRE(far_end->write(
      R"({"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-11-25","capabilities":{}}})"));
  CHECK(contains(**far_end->read(), "initialized"));
  auto client = connecting.get();
  REQUIRE(client);
  REQUIRE(far_end->write(R"({"jsonrpc":"2.0","id":"q","method":"roots/list"})"));
  REQUIRE(asked.wait());
  REQUIRE(far_end->write(cancel("\"q\"")));
  CHECK(stopped.wait());
}

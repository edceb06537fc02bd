// A server as a child process: it ends with its client, and is started again where it ends alone.
#include "mcp/client_process.h"

#include <signal.h>
#include <unistd.h>

#include "mcp/client.h"
#include "tests/mcp/support.h"

using namespace gpumcp::mcp;
using namespace gpumcp::mcp::test;

namespace {

const std::vector<std::string> kServer = {GPUMCP_PROCESS_SERVER};

std::unique_ptr<Client> connect(ClientOptions options = {}, ProcessOptions process = {}) {
  auto transport = make_process_transport(kServer, std::move(process));
  REQUIRE_MESSAGE(transport, (transport ? "" : transport.error().message));
  auto client = Client::connect(std::move(*transport), std::move(options));
  REQUIRE_MESSAGE(client, (client ? "" : client.error().message));
  return std::move(*client);
}

Json value(Client& client, const std::string& tool, const Json& arguments = Json::object()) {
  const auto result = client.call_tool(tool, arguments);
  REQUIRE_MESSAGE(result, (result ? "" : result.error().message));
  return json(result->structuredContent)["result"];
}

}  // namespace

TEST_CASE("a child serves in both eras, and is gone with its client") {
  for (Era era : {Era::automatic, Era::legacy}) {
    auto client = connect({.era = era});
    CHECK(client->modern() == (era != Era::legacy));
    const pid_t pid = value(*client, "pid").get<pid_t>();
    CHECK(pid != getpid());
    CHECK(kill(pid, 0) == 0);
    client.reset();
    CHECK(kill(pid, 0) == -1);
    CHECK(errno == ESRCH);
  }
}

TEST_CASE("a child that ends alone fails its call, says how, and is there for the next one") {
  for (Era era : {Era::automatic, Era::legacy}) {
    CAPTURE(static_cast<int>(era));
    auto client = connect({.era = era});
    struct {
      const char *tool, *says;
    } const ends[] = {{"leave", "exit status 3"}, {"crash", "signal 9"}};
    Json before = value(*client, "pid");
    for (const auto& one : ends) {
      const auto lost = client->call_tool(one.tool, Json::object());
      REQUIRE_FALSE(lost);
      CHECK(static_cast<int>(lost.error().code) == kPeerRestarts);
      CHECK(contains(lost.error().message, one.says));
      CHECK(contains(lost.error().message, kServer[0]));
      const Json after = value(*client, "pid");
      CHECK(after != before);
      before = after;
    }
    CHECK_FALSE(client->closed());
    CHECK(client->list_tools()->size() == 5);
  }
}

TEST_CASE("who listens hears that a child was started again") {
  for (Era era : {Era::automatic, Era::legacy}) {
    CAPTURE(static_cast<int>(era));
    auto client = connect({.era = era});
    Gate resumed;
    const auto listening = client->listen({.tools = true}, [&](const ListenEvent& event) {
      if (event.kind == ListenEvent::Kind::resumed) resumed.open();
    });
    REQUIRE(listening);
    CHECK(listening->honoured.tools);
    CHECK_FALSE(client->call_tool("leave", Json::object()));
    (void)client->list_tools({.fresh = true});  // an older version says nothing of itself
    CHECK(resumed.wait());
  }
}

TEST_CASE("calls at once while a child ends: each gets one answer, and none is left") {
  auto client = connect();
  std::vector<std::future<bool>> calls;
  for (int i = 0; i < 24; ++i)
    calls.push_back(std::async(std::launch::async, [&, i] {
      const auto result = client->call_tool(i % 6 == 5 ? "leave" : "pid", Json::object());
      return result || static_cast<int>(result.error().code) == kPeerRestarts;
    }));
  for (auto& one : calls) CHECK(one.get());
}

TEST_CASE("a child that never answers is given up, with its exit status") {
  auto transport = make_process_transport({"false"});
  REQUIRE(transport);
  auto client = Client::connect(std::move(*transport));
  REQUIRE_FALSE(client);
  CHECK(contains(client.error().message, "false ended with exit status 1"));

  for (int restarts : {0, 1}) {
    auto few = make_process_transport({"false"}, {.max_restarts = restarts});
    REQUIRE(few);
    client = Client::connect(std::move(*few));
    REQUIRE_FALSE(client);
    CHECK(contains(client.error().message, "false ended with exit status 1"));
    CHECK_FALSE(contains(client.error().message, "starts it again"));
    CHECK(contains(client.error().message, "2 times in a row") == (restarts == 1));
  }
}

TEST_CASE("one that does not end with its input is asked, then killed") {
  auto stubborn = make_process_transport({"sh", "-c", "trap '' TERM; while :; do sleep 1; done"},
                                         {.patience = std::chrono::milliseconds(50)});
  REQUIRE(stubborn);
  const auto began = std::chrono::steady_clock::now();
  stubborn->reset();
  CHECK(std::chrono::steady_clock::now() - began < kLong);
}

TEST_CASE("what cannot be started is an error that names it") {
  const auto none = make_process_transport({"/nowhere/server"});
  REQUIRE_FALSE(none);
  CHECK(none.error().code == ErrorCode::io_error);
  CHECK(contains(none.error().message, "/nowhere/server: No such file"));
  CHECK(make_process_transport({}).error().code == ErrorCode::invalid_params);
}

TEST_CASE("a child gets our environment with what is changed in it, and its folder") {
  REQUIRE(setenv("GPUMCP_TEST_KEPT", "kept", 1) == 0);
  REQUIRE(setenv("GPUMCP_TEST_TAKEN", "there", 1) == 0);
  auto client = connect(
      {}, {.environment = {{"GPUMCP_TEST_NEW", "a=b"}, {"GPUMCP_TEST_TAKEN", ""}}, .folder = "/"});
  CHECK(value(*client, "variable", {{"name", "GPUMCP_TEST_KEPT"}}) == "kept");
  CHECK(value(*client, "variable", {{"name", "GPUMCP_TEST_NEW"}}) == "a=b");
  CHECK(value(*client, "variable", {{"name", "GPUMCP_TEST_TAKEN"}}) == "(none)");
  CHECK(value(*client, "folder") == "/");
}

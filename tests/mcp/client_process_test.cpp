// A server as a child process: it ends with its client, and is started again where it ends alone.
#include "mcp/client_process.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

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

// The server, started by hand: its lines, its exit status.
class Started {
 public:
  explicit Started(std::vector<std::string> words) {
    words.insert(words.begin(), kServer[0]);
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    int in[2], out[2];
    REQUIRE(pipe2(in, O_CLOEXEC) == 0);
    REQUIRE(pipe2(out, O_CLOEXEC) == 0);
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, in[0], 0);
    posix_spawn_file_actions_adddup2(&files, out[1], 1);
    REQUIRE(posix_spawn(&pid_, argv[0], &files, nullptr, argv.data(), environ) == 0);
    posix_spawn_file_actions_destroy(&files);
    ::close(in[0]);
    ::close(out[1]);
    stdio_ = make_line_transport(out[0], in[1]);
  }
  ~Started() {
    if (pid_ > 0) kill(pid_, SIGKILL), exit_status();
  }
  Started(const Started&) = delete;
  Started& operator=(const Started&) = delete;

  Transport& stdio() { return *stdio_; }
  void signal(int number) { REQUIRE(kill(pid_, number) == 0); }
  int exit_status() {  // negative: a signal's
    int status = 0;
    waitpid(std::exchange(pid_, -1), &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }

 private:
  pid_t pid_ = -1;
  std::unique_ptr<Transport> stdio_;
};

std::string line(Transport& transport) {
  auto text = transport.read();
  return text && *text ? **text : "(end)";
}

Json ask(Transport& transport, const std::string& message) {
  REQUIRE(transport.write(message));
  return json(line(transport));
}

void initialize(Transport& transport) {
  const Json answer = ask(
      transport, request("0", "initialize", R"("protocolVersion":"2025-11-25","capabilities":{})"));
  REQUIRE(answer["result"]["serverInfo"]["name"] == "child");
}

// Asks until the server says that it leaves: when a signal arrives is its own affair.
Json refusal(Transport& transport) {
  const auto deadline = std::chrono::steady_clock::now() + kLong;
  Json answer;
  do answer = ask(transport, call("7", "pid"));
  while (answer.contains("result") && std::chrono::steady_clock::now() < deadline);
  return answer;
}

}  // namespace

TEST_CASE("SIGTERM: calls that run are answered, new ones are refused, and the exit status is 0") {
  char name[] = "/tmp/gpumcp-test-XXXXXX";
  const std::filesystem::path folder = mkdtemp(name);
  const std::string pipe = folder / "pipe", socket = folder / "socket";
  REQUIRE(mkfifo(pipe.c_str(), 0600) == 0);
  for (const bool on_socket : {false, true}) {
    for (const int number : {SIGTERM, SIGINT, SIGHUP}) {
      CAPTURE(on_socket);
      CAPTURE(number);
      Started server(on_socket ? std::vector<std::string>{"--unix", socket}
                               : std::vector<std::string>());
      std::vector<std::unique_ptr<Transport>> connections;
      if (on_socket) {
        REQUIRE(line(server.stdio()) == "listening");
        for (int i = 0; i < 2; ++i) {
          const int fd = connect_unix(socket).value();
          connections.push_back(make_line_transport(fd, fd));
        }
      }
      Transport& busy = on_socket ? *connections[0] : server.stdio();
      Transport& other = on_socket ? *connections[1] : server.stdio();
      initialize(busy);
      if (on_socket) initialize(other);
      const Json begun = ask(busy, call("1", "await", R"({"pipe":")" + pipe + "\"}",
                                        R"(,"_meta":{"progressToken":5})"));
      REQUIRE(begun["method"] == "notifications/progress");
      server.signal(number);
      const Json refused = refusal(other);
      CHECK(refused["error"]["code"] == static_cast<int>(ErrorCode::not_begun));
      CHECK(contains(refused["error"]["message"].get<std::string>(), "the server is leaving"));
      CHECK(ask(other, request("8", "ping"))["result"].empty());  // what is no call goes on
      std::ofstream(pipe) << "done\n";
      const Json answer = json(line(busy));
      CHECK(answer["id"] == 1);
      CHECK(answer["result"]["structuredContent"]["result"] == "done");
      CHECK(line(busy) == "(end)");
      CHECK(line(other) == "(end)");
      CHECK(server.exit_status() == 0);
    }
  }
  std::filesystem::remove_all(folder);
}

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
    } const ends[] = {{"leave", "exited with code 3"}, {"crash", "signal 9"}};
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
    CHECK(client->list_tools()->size() == 6);
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

TEST_CASE("a child that never answers is given up, with its exit code") {
  auto transport = make_process_transport({"false"});
  REQUIRE(transport);
  auto client = Client::connect(std::move(*transport));
  REQUIRE_FALSE(client);
  CHECK(contains(client.error().message, "false exited with code 1"));

  for (int restarts : {0, 1}) {
    auto few = make_process_transport({"false"}, {.max_restarts = restarts});
    REQUIRE(few);
    client = Client::connect(std::move(*few));
    REQUIRE_FALSE(client);
    CHECK(contains(client.error().message, "false exited with code 1"));
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

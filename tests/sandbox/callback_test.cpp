#include "sandbox/callback.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <future>

#include "tests/sandbox/support.h"

namespace gpumcp::sandbox {
namespace {

using std::chrono::milliseconds;

// A peer that connects and says something else than the token.
int stranger(const mcp::Json& callback, const std::string& says) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in there{};
  there.sin_family = AF_INET;
  there.sin_port = htons(static_cast<uint16_t>(callback["port"].get<int>()));
  inet_pton(AF_INET, "127.0.0.1", &there.sin_addr);
  REQUIRE(connect(fd, reinterpret_cast<sockaddr*>(&there), sizeof there) == 0);
  REQUIRE(send(fd, says.data(), says.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(says.size()));
  return fd;
}

// Whether the other end has closed it, within five seconds.
bool closed(int fd) {
  timeval limit{5, 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  char c = 0;
  const ssize_t n = recv(fd, &c, 1, 0);
  return n == 0 || (n < 0 && errno == ECONNRESET);
}

TEST_CASE("a peer with the token gets through, behind any number of strangers") {
  auto callback = Callback::listen("127.0.0.1");
  REQUIRE(callback);
  const mcp::Json where = (*callback)->describe();
  CHECK(where["token"].get<std::string>().size() == 64);
  auto accepted =
      std::async(std::launch::async, [&] { return (*callback)->accept(milliseconds(20000)); });
  const int silent = stranger(where, "");
  const int wrong = stranger(where, std::string(64, '0'));
  const int request = stranger(
      where, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/list\"}\n" + std::string(64, ' '));
  CHECK(closed(wrong));
  CHECK(closed(request));
  auto connected = connect_back(where);
  REQUIRE(connected);
  auto fd = accepted.get();
  REQUIRE(fd);
  // What follows the token is the peer's, untouched.
  CHECK(write(*connected, "hello", 5) == 5);
  char text[5];
  CHECK(recv(*fd, text, 5, MSG_WAITALL) == 5);
  CHECK(std::string(text, 5) == "hello");
  CHECK(closed(silent));
  for (const int one : {silent, wrong, request, *connected, *fd}) close(one);
}

TEST_CASE("nobody who knows the token is told in time") {
  auto callback = Callback::listen("127.0.0.1");
  REQUIRE(callback);
  const int wrong = stranger((*callback)->describe(), "x");
  auto fd = (*callback)->accept(milliseconds(50));
  REQUIRE_FALSE(fd);
  CHECK(fd.error().code == mcp::ErrorCode::timeout);
  close(wrong);
}

TEST_CASE("it listens on the one address, and each has a token of its own") {
  auto one = Callback::listen("127.0.0.1");
  auto other = Callback::listen("::1");
  REQUIRE(one);
  CHECK((*one)->describe()["address"] == "127.0.0.1");
  if (other) CHECK((*one)->describe()["token"] != (*other)->describe()["token"]);
  CHECK_FALSE(Callback::listen("localhost"));  // names are not looked up
  CHECK_FALSE(Callback::listen("192.0.2.1"));  // no address of this machine
}

TEST_CASE("an address that leads nowhere is an error, not a wait") {
  mcp::Json gone;
  {
    auto callback = Callback::listen("127.0.0.1");
    REQUIRE(callback);
    gone = (*callback)->describe();
  }
  CHECK_FALSE(connect_back(gone));
  CHECK_FALSE(connect_back(mcp::Json::object()));
  gone["token"] = "short";
  CHECK_FALSE(connect_back(gone));
}

TEST_CASE("an address can be said, and switched off") {
  setenv("GPUMCP_CALLBACK", "10.1.2.3", 1);
  CHECK(callback_address() == "10.1.2.3");
  setenv("GPUMCP_CALLBACK", "off", 1);
  CHECK(callback_address().empty());
  unsetenv("GPUMCP_CALLBACK");
}

}  // namespace
}  // namespace gpumcp::sandbox

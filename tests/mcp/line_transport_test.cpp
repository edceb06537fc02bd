// Framing over real descriptors: socket pairs and pipes, fed in pieces down to one byte.
#include "mcp/line_transport.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <fstream>
#include <latch>
#include <map>

#include "tests/mcp/support.h"

using namespace gpumcp::mcp;
using namespace gpumcp::mcp::test;

namespace {

// Descriptors of a transport (`near_*`) and of the test (`far_*`).
struct Ends {
  int near_read, near_write, far_read, far_write;
};

Ends socket_ends() {
  int fds[2];
  REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
  return {fds[0], fds[0], fds[1], fds[1]};
}

Ends pipe_ends() {
  int in[2], out[2];
  REQUIRE(pipe2(in, O_CLOEXEC) == 0);
  REQUIRE(pipe2(out, O_CLOEXEC) == 0);
  return {in[0], out[1], out[0], in[1]};
}

void put(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    REQUIRE(n > 0);
    bytes.remove_prefix(static_cast<size_t>(n));
  }
}

std::string text(Result<std::optional<std::string>> read) {
  if (!read) return "error " + std::to_string(static_cast<int>(read.error().code));
  return *read ? **read : "(end)";
}

struct Folder {
  Folder() {
    char name[] = "/tmp/gpumcp-test-XXXXXX";
    path = mkdtemp(name);
  }
  ~Folder() { std::filesystem::remove_all(path); }
  std::filesystem::path path;
};

}  // namespace

TEST_CASE("lines arrive whole from one-byte writes, with CRLF and empty lines dropped") {
  for (auto make : {socket_ends, pipe_ends}) {
    const Ends ends = make();
    auto transport = make_line_transport(ends.near_read, ends.near_write);
    std::jthread writer([&] {
      for (char c : std::string_view("{\"a\":1}\n\r\n\n  \n{\"b\":2}\r\nlast"))
        put(ends.far_write, std::string_view(&c, 1));
      if (ends.far_write == ends.far_read)
        shutdown(ends.far_write, SHUT_WR);
      else
        close(ends.far_write);
    });
    CHECK(text(transport->read()) == "{\"a\":1}");
    CHECK(text(transport->read()) == "{\"b\":2}");
    CHECK(text(transport->read()) == "last");
    CHECK(text(transport->read()) == "(end)");
    CHECK(text(transport->read()) == "(end)");
    writer.join();
    close(ends.far_read);
  }
}

TEST_CASE("many lines in one write come one by one, and a large one whole") {
  const Ends ends = socket_ends();
  auto transport = make_line_transport(ends.near_read, ends.near_write);
  const std::string large(3u << 20, 'x');
  std::jthread writer([&] { put(ends.far_write, "1\n2\n3\n" + large + "\n4\n"); });
  for (const char* want : {"1", "2", "3"}) CHECK(text(transport->read()) == want);
  CHECK(text(transport->read()) == large);
  CHECK(text(transport->read()) == "4");
  writer.join();
  close(ends.far_read);
}

TEST_CASE("a line over the limit is skipped, however it arrives, and the next one is read") {
  for (size_t length : {size_t{11}, size_t{12}, size_t{70'000}, size_t{1'000'000}}) {
    CAPTURE(length);
    const Ends ends = socket_ends();
    auto transport =
        make_line_transport(ends.near_read, ends.near_write, {.max_message_bytes = 10});
    std::jthread writer([&] {
      put(ends.far_write, "0123456789\n" + std::string(length, 'x') + "\nnext\n0123456789\r\n");
    });
    CHECK(text(transport->read()) == "0123456789");
    CHECK(text(transport->read()) == "error -32600");
    CHECK(text(transport->read()) == "next");
    CHECK(text(transport->read()) == "0123456789");
    writer.join();
    close(ends.far_read);
  }
}

TEST_CASE("close() ends a blocked read, and what was buffered is not read any more") {
  for (auto make : {socket_ends, pipe_ends}) {
    const Ends ends = make();
    auto transport = make_line_transport(ends.near_read, ends.near_write);
    put(ends.far_write, "first\nsecond\n");
    CHECK(text(transport->read()) == "first");
    transport->close();
    CHECK(text(transport->read()) == "(end)");
    close(ends.far_read);
    if (ends.far_write != ends.far_read) close(ends.far_write);

    const Ends other = make();
    auto blocked = make_line_transport(other.near_read, other.near_write);
    auto read = std::async(std::launch::async, [&] { return text(blocked->read()); });
    blocked->close();
    CHECK(read.get() == "(end)");
    blocked->close();  // any number of times
    CHECK(blocked->write("x").error().code == ErrorCode::closed);
    close(other.far_read);
    if (other.far_write != other.far_read) close(other.far_write);
  }
}

TEST_CASE("messages of eight threads stay whole") {
  for (auto make : {socket_ends, pipe_ends}) {
    const Ends ends = make();
    auto transport = make_line_transport(ends.near_read, ends.near_write);
    auto reader = make_line_transport(ends.far_read, ends.far_write);
    constexpr int kThreads = 8, kEach = 300;
    std::vector<std::jthread> writers;
    for (int t = 0; t < kThreads; ++t) {
      writers.emplace_back([&, t] {
        for (int i = 0; i < kEach; ++i)
          CHECK(transport->write(std::to_string(t) + ":" +
                                 std::string(static_cast<size_t>(i), static_cast<char>('a' + t))));
      });
    }
    std::map<char, size_t> next;
    for (int n = 0; n < kThreads * kEach; ++n) {
      const std::string line = text(reader->read());
      const char t = line[0];
      const size_t i = next[t]++;  // each thread's own messages keep their order
      REQUIRE(line == std::string(1, t) + ":" + std::string(i, static_cast<char>('a' + t - '0')));
    }
  }
}

TEST_CASE("newlines between tokens do not split a message") {
  const Ends ends = socket_ends();
  auto transport = make_line_transport(ends.near_read, ends.near_write);
  auto reader = make_line_transport(ends.far_read, ends.far_write);
  REQUIRE(transport->write("{\"a\":\n{\"jsonrpc\":\"2.0\"}\r\n}"));
  REQUIRE(transport->write("2"));
  CHECK(json(text(reader->read())) == Json{{"a", {{"jsonrpc", "2.0"}}}});
  CHECK(text(reader->read()) == "2");
}

TEST_CASE("a peer that does not read holds up neither close() nor the writers for longer") {
  for (auto make : {socket_ends, pipe_ends}) {
    const Ends ends = make();
    auto transport = make_line_transport(ends.near_read, ends.near_write);
    const std::string megabyte(1u << 20, 'x');
    std::vector<std::future<Result<void>>> writers;
    for (int i = 0; i < 48; ++i)  // more than pipe and queue hold
      writers.push_back(std::async(std::launch::async, [&] { return transport->write(megabyte); }));
    transport->close();
    int failed = 0;
    for (auto& writer : writers) failed += writer.get().has_value() ? 0 : 1;
    CHECK(failed > 0);
    close(ends.far_read);
    if (ends.far_write != ends.far_read) close(ends.far_write);
  }
}

TEST_CASE("writing to a peer that left is Error closed, and no signal") {
  for (auto make : {socket_ends, pipe_ends}) {
    struct sigaction action{};
    static std::atomic<int> signals;
    signals = 0;
    action.sa_handler = [](int) { ++signals; };
    struct sigaction old{};
    sigaction(SIGPIPE, &action, &old);
    const Ends ends = make();
    auto transport = make_line_transport(ends.near_read, ends.near_write);
    close(ends.far_read);
    if (ends.far_write != ends.far_read) close(ends.far_write);
    const auto first = transport->write("x");
    REQUIRE_FALSE(first);
    CHECK(first.error().code == ErrorCode::closed);
    CHECK_FALSE(transport->write("y"));
    CHECK(text(transport->read()) == "(end)");
    CHECK(signals == 0);
    sigaction(SIGPIPE, &old, nullptr);
  }
}

TEST_CASE("in memory, messages cross both ways, and close() ends both ends") {
  auto [a, b] = make_memory_transports();
  REQUIRE(a->write("to b"));
  REQUIRE(b->write("to a"));
  CHECK(text(a->read()) == "to a");
  CHECK(text(b->read()) == "to b");
  REQUIRE(a->write("late"));
  auto read = std::async(std::launch::async, [&] { return text(a->read()); });
  a->close();
  CHECK(read.get() == "(end)");
  CHECK(text(b->read()) == "late");  // what was sent before still arrives
  CHECK(text(b->read()) == "(end)");
  CHECK(b->write("x").error().code == ErrorCode::closed);
}

TEST_CASE("a Unix socket is its owner's alone, has one listener, and may have a long path") {
  Folder folder;
  auto path = folder.path;
  for (int i = 0; i < 3; ++i) path /= std::string(60, 'd');
  std::filesystem::create_directories(path);
  for (const auto& socket : {folder.path / "s", path / "s"}) {
    CAPTURE(socket.string().size());
    auto fd = listen_unix(socket);
    REQUIRE_MESSAGE(fd, (fd ? "" : fd.error().message));
    struct stat info{};
    REQUIRE(stat(socket.c_str(), &info) == 0);
    CHECK((info.st_mode & 0777) == 0600);
    const auto second = listen_unix(socket);
    REQUIRE_FALSE(second);
    CHECK(contains(second.error().message, "another server listens on"));
    close(*fd);
    CHECK(connect_unix(socket).error().code == ErrorCode::closed);
    auto again = listen_unix(socket);  // what a dead server left is replaced
    REQUIRE(again);
    close(*again);
  }
  CHECK(connect_unix(folder.path / "none").error().code == ErrorCode::closed);
}

TEST_CASE("listening never deletes a file that is no socket") {
  Folder folder;
  const auto file = folder.path / "notes.txt";
  std::ofstream(file) << "precious";
  const auto fd = listen_unix(file);
  REQUIRE_FALSE(fd);
  CHECK(contains(fd.error().message, "is no socket"));
  CHECK(std::filesystem::file_size(file) == 8);
}

TEST_CASE("serve_listener serves several peers at once and ends with stop()") {
  Folder folder;
  Server server({.name = "unix"});
  std::latch* both = new std::latch(2);
  server.expose("meet", "Waits for the other peer.", [both] { both->arrive_and_wait(); });
  auto fd = listen_unix(folder.path / "s");
  REQUIRE(fd);
  auto served = std::async(std::launch::async, [&] { server.serve_listener(*fd); });
  auto peer = [&] {
    auto mine = connect_unix(folder.path / "s");
    REQUIRE(mine);
    return make_line_transport(*mine, *mine);
  };
  auto a = peer(), b = peer();
  REQUIRE(a->write(call("1", "meet")));
  REQUIRE(b->write(call("1", "meet")));
  CHECK(json(text(a->read()))["result"]["content"][0]["text"] == "done");
  CHECK(json(text(b->read()))["result"]["content"][0]["text"] == "done");
  server.stop();
  served.get();
  CHECK(text(a->read()) == "(end)");
  close(*fd);
  delete both;
}

TEST_CASE("a long line in small pieces costs its reader time in its length alone") {
  int fds[2];
  REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
  auto transport = make_line_transport(fds[0], fds[0]);
  constexpr size_t kLine = 6u << 20, kPiece = 100;
  std::jthread writer([fd = fds[1]] {
    const std::string piece(kPiece, 'x');
    for (size_t sent = 0; sent < kLine; sent += kPiece)
      send(fd, piece.data(), kPiece, MSG_NOSIGNAL);
    send(fd, "\n", 1, MSG_NOSIGNAL);
  });
  const auto cpu = [] {
    timespec now{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
  };
  const double began = cpu();
  const auto line = transport->read();
  CHECK(line);
  CHECK((*line)->size() >= kLine);
  CHECK(cpu() - began < 4);  // clearing room in proportion to what had come took 10 s and more
  writer.join();
  close(fds[1]);
}

TEST_CASE("whether a line is too long does not hang on how its bytes were cut") {
  const std::string full(40, 'x');
  for (const std::string& line :
       {full, full + "\r", full + "x", full + "\r\r", std::string(41, ' ')}) {
    std::vector<std::string> seen;
    for (size_t piece : {size_t{1}, line.size() - 1, line.size() + 1}) {
      const Ends ends = socket_ends();
      auto transport =
          make_line_transport(ends.near_read, ends.near_write, {.max_message_bytes = 40});
      std::string got;
      std::thread reader([&] { got = text(transport->read()); });
      const std::string bytes = line + "\n";
      for (size_t i = 0; i < bytes.size(); i += piece) put(ends.far_write, bytes.substr(i, piece));
      reader.join();
      seen.push_back(got);
      ::close(ends.far_write);
    }
    CAPTURE(line);
    CHECK(seen == std::vector<std::string>(3, seen[0]));
    CHECK((seen[0] == full) == (line == full || line == full + "\r"));
  }
}

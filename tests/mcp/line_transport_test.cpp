// Framing over real descriptors: socket pairs and pipes, fed in pieces down to one byte.
#include "mcp/line_transport.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <csignal>
#include <fstream>
#include <latch>
#include <map>
#include <mutex>

#include "mcp/client.h"
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
    // What the descriptor does not take at once is the reading thread's to send.
    auto sends = std::async(std::launch::async, [&] { return text(transport->read()); });
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
    reader.reset();
    CHECK(sends.get() == "(end)");
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

TEST_CASE("writing never waits for a peer that does not read, and at the limit cuts it off") {
  for (auto make : {socket_ends, pipe_ends}) {
    const Ends ends = make();
    constexpr size_t kLimit = 4u << 20;
    auto transport =
        make_line_transport(ends.near_read, ends.near_write, {.max_unread_bytes = kLimit});
    auto read = std::async(std::launch::async, [&] { return transport->read(); });
    const std::string message(100'000, 'x');
    size_t taken = 0;
    Result<void> last;
    while ((last = transport->write(message))) {
      taken += message.size();
      REQUIRE(taken < 2 * kLimit);  // the queue, and what pipe or socket hold
    }
    CHECK(taken > kLimit);
    CHECK(last.error().code == ErrorCode::closed);
    CHECK(contains(last.error().message, "the limit is 4194304 bytes"));
    // The reading thread ends, and is told why.
    const auto end = read.get();
    REQUIRE_FALSE(end);
    CHECK(end.error().code == ErrorCode::closed);
    CHECK(contains(end.error().message, "the limit is 4194304 bytes"));
    CHECK(text(transport->read()) == "(end)");
    close(ends.far_read);
    if (ends.far_write != ends.far_read) close(ends.far_write);
  }
}

TEST_CASE("what a slow reader did not take comes later, whole and in order") {
  for (auto make : {socket_ends, pipe_ends}) {
    for (const size_t piece : {size_t{1}, size_t{777}, size_t{1} << 20}) {
      CAPTURE(piece);
      const Ends ends = make();
      const int small = 4096;  // buffers of a page or so: short writes and EAGAIN all the time
      setsockopt(ends.near_write, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
      fcntl(ends.near_write, F_SETPIPE_SZ, small);
      auto transport = make_line_transport(ends.near_read, ends.near_write);
      auto read = std::async(std::launch::async, [&] { return text(transport->read()); });
      std::string want, got;
      std::vector<std::jthread> writers;
      const size_t longest = piece == 1 ? 3'000 : 200'000;
      for (size_t i = 0; i < 20; ++i) {
        std::string message(1 + i * i * longest / 400, static_cast<char>('a' + i));
        const auto taken = i % 3 ? transport->write(message) : transport->write_soon(message);
        REQUIRE(taken);
        want += message + "\n";
      }
      REQUIRE(transport->write("end"));
      want += "end\n";
      std::string bytes(piece, ' ');
      while (got.size() < want.size()) {
        const ssize_t n = ::read(ends.far_read, bytes.data(), bytes.size());
        REQUIRE(n > 0);
        got.append(bytes, 0, static_cast<size_t>(n));
      }
      CHECK(got == want);
      put(ends.far_write, "still here\n");
      CHECK(read.get() == "still here");
      close(ends.far_read);
      if (ends.far_write != ends.far_read) close(ends.far_write);
    }
  }
}

TEST_CASE("flush() brings out what is left when nobody reads any more") {
  for (auto make : {socket_ends, pipe_ends}) {
    const Ends ends = make();
    auto transport = make_line_transport(ends.near_read, ends.near_write);
    const std::string large(3u << 20, 'x');
    REQUIRE(transport->write(large));
    REQUIRE(transport->write_soon("last"));
    transport->flush(std::chrono::milliseconds(0));  // the peer takes nothing yet: back at once
    auto reader = make_line_transport(ends.far_read, ends.far_write);
    auto flushed = std::async(std::launch::async, [&] { transport->flush(kLong); });
    CHECK(text(reader->read()) == large);
    CHECK(text(reader->read()) == "last");
    flushed.get();
  }
}

TEST_CASE("a pipe that cannot be opened anew stays as others share it, and still nothing blocks") {
  const Ends ends = pipe_ends();
  rlimit old{};
  REQUIRE(getrlimit(RLIMIT_NOFILE, &old) == 0);
  const int free = dup(0);  // the lowest, for the transport's wake-up; there is none for a new pipe
  close(free);
  rlimit tight = old;
  tight.rlim_cur = static_cast<rlim_t>(free) + 1;
  REQUIRE(setrlimit(RLIMIT_NOFILE, &tight) == 0);
  auto transport = make_line_transport(ends.near_read, ends.near_write);
  setrlimit(RLIMIT_NOFILE, &old);
  CHECK((fcntl(ends.near_write, F_GETFL) & O_NONBLOCK) == 0);
  auto read = std::async(std::launch::async, [&] { return text(transport->read()); });
  const std::string large(1u << 20, 'x');
  REQUIRE(transport->write(large));
  REQUIRE(transport->write("last"));
  auto reader = make_line_transport(ends.far_read, ends.far_write);
  CHECK(text(reader->read()) == large);
  CHECK(text(reader->read()) == "last");
  REQUIRE(reader->write("still here"));
  CHECK(read.get() == "still here");
}

TEST_CASE("messages of write_soon() go out in one piece, at the latest with the next read()") {
  int fds[2];  // keeps the bounds of writes
  REQUIRE(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) == 0);
  auto transport = make_line_transport(fds[0], fds[0]);
  for (const char* message : {"1", "2", "3"}) REQUIRE(transport->write_soon(message));
  char bytes[64];
  CHECK(recv(fds[1], bytes, sizeof bytes, MSG_DONTWAIT) < 0);
  put(fds[1], "a\nb\n");
  CHECK(text(transport->read()) == "a");  // it had to wait for this one
  CHECK(transport->has_message());
  ssize_t n = recv(fds[1], bytes, sizeof bytes, 0);
  CHECK(std::string(bytes, static_cast<size_t>(n)) == "1\n2\n3\n");
  REQUIRE(transport->write_soon("4"));
  CHECK(text(transport->read()) == "b");  // it lay here already
  CHECK_FALSE(transport->has_message());
  CHECK(recv(fds[1], bytes, sizeof bytes, MSG_DONTWAIT) < 0);
  REQUIRE(transport->write("5"));
  n = recv(fds[1], bytes, sizeof bytes, 0);
  CHECK(std::string(bytes, static_cast<size_t>(n)) == "4\n5\n");
  REQUIRE(transport->write_soon("6"));
  shutdown(fds[1], SHUT_WR);
  CHECK(text(transport->read()) == "(end)");
  n = recv(fds[1], bytes, sizeof bytes, 0);
  CHECK(std::string(bytes, static_cast<size_t>(n)) == "6\n");
  ::close(fds[1]);
}

TEST_CASE("writing to a peer that left is Error closed, and no signal") {
  for (auto make : {socket_ends, pipe_ends}) {
    struct sigaction action {};
    static std::atomic<int> signals;
    signals = 0;
    action.sa_handler = [](int) { ++signals; };
    struct sigaction old {};
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
    struct stat info {};
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

TEST_CASE("serve_listener turns peers away beyond its limit, says why, and takes the next") {
  Folder folder;
  Server server({.name = "unix", .max_peers = 2});
  server.expose("echo", "d", [] { return 1; });
  auto fd = listen_unix(folder.path / "s");
  REQUIRE(fd);
  auto served = std::async(std::launch::async, [&] { server.serve_listener(*fd); });
  auto peer = [&] {
    auto mine = connect_unix(folder.path / "s");
    REQUIRE(mine);
    return make_line_transport(*mine, *mine);
  };
  auto works = [](Transport& one) {
    if (!one.write(call("1", "echo"))) return false;
    return contains(text(one.read()), "structuredContent");
  };
  auto a = peer(), b = peer();
  CHECK(works(*a));
  CHECK(works(*b));
  auto c = peer();
  const Json refused = json(text(c->read()));
  CHECK_FALSE(refused.contains("id"));
  CHECK(contains(refused["error"]["message"].get<std::string>(), "2 clients are connected"));
  CHECK(contains(refused["error"]["message"].get<std::string>(), "max_peers"));
  CHECK(text(c->read()) == "(end)");
  CHECK(works(*a));  // nobody else notices
  // A client is told, too.
  const int other = connect_unix(folder.path / "s").value();
  const auto client = Client::connect(make_line_transport(other, other));
  REQUIRE_FALSE(client);
  CHECK_MESSAGE(contains(client.error().message, "max_peers"), client.error().message);
  // One leaves, one comes: the server sees the first as soon as it has ended.
  a.reset();
  bool taken = false;
  const auto deadline = std::chrono::steady_clock::now() + kLong;
  while (!taken && std::chrono::steady_clock::now() < deadline) taken = works(*peer());
  CHECK(taken);
  server.stop();
  served.get();
  close(*fd);
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

TEST_CASE("a peer that never reads delays nobody, and its answers wait for it") {
  // Whoever answers is one thread, as that of a front that hands on its worker's results.
  Folder folder;
  Server server({.name = "unix"});
  std::mutex mutex;
  std::condition_variable more;
  std::vector<std::shared_ptr<ForwardedRequest>> queue;
  Tool get{.name = "get", .description = "Answers with so many bytes."};
  get.inputSchema = {{"type", "object"}};
  server.add_forwarded({get}, {}, [&](std::shared_ptr<ForwardedRequest> request) {
    std::scoped_lock lock(mutex);
    queue.push_back(std::move(request));
    more.notify_one();
  });
  constexpr size_t kCalls = 1'000, kLarge = 1u << 20;
  std::jthread answerer([&] {
    for (size_t n = 0; n < kCalls + 8; ++n) {
      std::unique_lock lock(mutex);
      more.wait(lock, [&] { return !queue.empty(); });
      auto request = std::move(queue.front());
      queue.erase(queue.begin());
      lock.unlock();
      const size_t size = json(request->arguments())["size"].get<size_t>();
      request->respond_result(R"({"resultType":"complete","content":[{"type":"text","text":")" +
                              std::string(size, 'x') + R"("}]})");
    }
  });
  auto fd = listen_unix(folder.path / "s");
  REQUIRE(fd);
  auto served = std::async(std::launch::async, [&] { server.serve_listener(*fd); });
  auto peer = [&] {
    auto mine = connect_unix(folder.path / "s");
    REQUIRE(mine);
    return make_line_transport(*mine, *mine);
  };
  auto lazy = peer(), busy = peer();
  for (int i = 0; i < 8; ++i)
    REQUIRE(
        lazy->write(call(std::to_string(i), "get", R"({"size":)" + std::to_string(kLarge) + "}")));
  for (size_t i = 0; i < kCalls; ++i) {
    REQUIRE(busy->write(call(std::to_string(i), "get", R"({"size":10})")));
    const Json reply = json(text(busy->read()));
    REQUIRE(reply["id"] == i);
    REQUIRE(reply["result"]["content"][0]["text"] == std::string(10, 'x'));
  }
  for (int i = 0; i < 8; ++i)  // it was not cut off
    CHECK(json(text(lazy->read()))["result"]["content"][0]["text"].get<std::string>().size() ==
          kLarge);
  server.stop();
  served.get();
  close(*fd);
}

TEST_CASE(
    "a peer that asks on and never reads is cut off at the server's limit; others are served") {
  Folder folder;
  Server server({.name = "unix", .max_unread_bytes = 1u << 20});
  server.expose("large", "Answers with 64 KB.", [] { return std::string(64u << 10, 'x'); });
  auto fd = listen_unix(folder.path / "s");
  REQUIRE(fd);
  auto served = std::async(std::launch::async, [&] { server.serve_listener(*fd); });
  auto greedy = connect_unix(folder.path / "s"), other = connect_unix(folder.path / "s");
  REQUIRE(greedy);
  REQUIRE(other);
  std::string asked = call("1", "large") + "\n";
  size_t calls = 0;
  // 4 MB of answers and more; then the connection is gone.
  while (send(*greedy, asked.data(), asked.size(), MSG_NOSIGNAL) ==
         static_cast<ssize_t>(asked.size())) {
    ++calls;
    asked = call(std::to_string(calls + 1), "large") + "\n";
    REQUIRE(calls < 100'000);
  }
  CHECK(calls >= 16);
  auto fine = make_line_transport(*other, *other);
  REQUIRE(fine->write(call("1", "large")));
  CHECK(
      json(text(fine->read()))["result"]["structuredContent"]["result"].get<std::string>().size() ==
      64u << 10);
  ::close(*greedy);
  server.stop();
  served.get();
  close(*fd);
}

TEST_CASE("stop() lets a peer that reads have what was written before, and waits for no other") {
  Folder folder;
  for (const bool reads : {true, false}) {
    Server server({.name = "unix", .drain = reads ? kLong : std::chrono::milliseconds(20)});
    constexpr size_t kLarge = 4u << 20;  // more than a socket holds
    Gate written;
    Tool get{.name = "get", .description = "Answers with so many bytes."};
    get.inputSchema = {{"type", "object"}};
    server.add_forwarded({get}, {}, [&](std::shared_ptr<ForwardedRequest> request) {
      request->respond_result(R"({"content":[{"type":"text","text":")" + std::string(kLarge, 'x') +
                              R"("}]})");
      written.open();
    });
    auto fd = listen_unix(folder.path / "s");
    REQUIRE(fd);
    auto served = std::async(std::launch::async, [&] { server.serve_listener(*fd); });
    auto mine = connect_unix(folder.path / "s");
    REQUIRE(mine);
    auto peer = make_line_transport(*mine, *mine);
    REQUIRE(peer->write(call("1", "get")));
    REQUIRE(written.wait());
    auto stopped = std::async(std::launch::async, [&] { server.stop(); });
    if (reads) {
      CHECK(json(text(peer->read()))["result"]["content"][0]["text"].get<std::string>().size() ==
            kLarge);
      CHECK(text(peer->read()) == "(end)");
    }
    stopped.get();
    served.get();
    close(*fd);
  }
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

// What held-open event streams cost: calls over HTTP without and with many open
// subscriptions/listen beside them.
//
//   held_streams PROGRAM [--listens 1000] [--callers 64] [--seconds 3] [--idle 30]
//
// Starts `PROGRAM http 0 modern announce` (bench/bench_server.cpp: it prints its URL on stderr; its
// tool `announce` says that the list of tools changed), then measures: callers alone; callers with
// the listens open; one announcement, which each listen must get; callers after the listens were
// closed; what is left when the server has idled, waiting that many seconds at most. Prints a
// table; exit status 1 if anything was lost. With short times it is a test (ctest, held_streams).
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

[[noreturn]] void die(const std::string& what) {
  std::fprintf(stderr, "held_streams: %s\n", what.c_str());
  std::exit(2);
}

struct Child {
  pid_t pid = -1;
  int port = 0;
};

Child start(const char* program) {
  int err[2];
  if (pipe(err) != 0) die("no pipe");
  Child child;
  child.pid = fork();
  if (child.pid == 0) {
    dup2(err[1], 2);
    ::close(err[0]);
    execl(program, program, "http", "0", "modern", "announce", nullptr);
    _exit(127);
  }
  ::close(err[1]);
  std::string said;
  char c;
  while (::read(err[0], &c, 1) == 1 && c != '\n') said += c;
  const size_t colon = said.rfind(':');
  if (said.find("http://") == said.npos || colon == said.npos)
    die(std::string(program) + " did not say where it listens, but \"" + said + "\"");
  child.port = std::atoi(said.c_str() + colon + 1);
  return child;
}

// What /proc says of the server.
struct Usage {
  long threads = 0, rss_kb = 0, virtual_kb = 0;
  double cpu_s = 0;
};
Usage usage_of(pid_t pid) {
  Usage out;
  const std::string folder = "/proc/" + std::to_string(pid);
  std::ifstream status(folder + "/status");
  for (std::string line; std::getline(status, line);) {
    const auto value = [&] { return std::atol(line.c_str() + line.find(':') + 1); };
    if (line.starts_with("Threads:")) out.threads = value();
    if (line.starts_with("VmRSS:")) out.rss_kb = value();
    if (line.starts_with("VmSize:")) out.virtual_kb = value();
  }
  std::ifstream stat(folder + "/stat");
  std::string text((std::istreambuf_iterator<char>(stat)), {});
  long user = 0, system = 0;
  if (const size_t name_end = text.rfind(')'); name_end != text.npos)
    std::sscanf(text.c_str() + name_end + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %ld %ld",
                &user, &system);
  out.cpu_s = static_cast<double>(user + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
  return out;
}

int dial(int port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (fd < 0 || ::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
    die(std::string("cannot connect: ") + std::strerror(errno));
  return fd;
}

std::string post(const std::string& method, const std::string& name, const std::string& params) {
  const std::string body = R"({"jsonrpc":"2.0","id":1,"method":")" + method + R"(","params":{)" +
                           params +
                           R"(,"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28",)"
                           R"("io.modelcontextprotocol/clientCapabilities":{}}}})";
  return "POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
         "Accept: application/json, text/event-stream\r\nMCP-Protocol-Version: "
         "2026-07-28\r\nMcp-Method: " +
         method + "\r\n" + (name.empty() ? "" : "Mcp-Name: " + name + "\r\n") +
         "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

// One request and its whole answer, which has a Content-Length. False: something went wrong.
bool call(int fd, const std::string& request, std::string& buffer) {
  if (::send(fd, request.data(), request.size(), MSG_NOSIGNAL) !=
      static_cast<ssize_t>(request.size()))
    return false;
  buffer.clear();
  size_t want = std::string::npos;
  char chunk[4096];
  while (buffer.size() < want) {
    const ssize_t n = ::recv(fd, chunk, sizeof chunk, 0);
    if (n <= 0) return false;
    buffer.append(chunk, static_cast<size_t>(n));
    const size_t head = buffer.find("\r\n\r\n");
    if (want != std::string::npos || head == buffer.npos) continue;
    const size_t length = buffer.find("Content-Length: ");
    if (length > head) return false;
    want = head + 4 + std::strtoul(buffer.c_str() + length + 16, nullptr, 10);
  }
  return buffer.starts_with("HTTP/1.1 200") &&
         buffer.find(R"("structuredContent":)") != buffer.npos;
}

struct Measured {
  long calls = 0, errors = 0;
  double per_s = 0, cpu_us = 0, p50_us = 0, p99_us = 0;
  Usage after;
};

Measured measure(const Child& server, int callers, double seconds) {
  const std::string request =
      post("tools/call", "add", R"("name":"add","arguments":{"a":1,"b":2})");
  std::atomic<bool> stop = false;
  std::atomic<long> errors = 0;
  std::vector<std::vector<double>> times(static_cast<size_t>(callers));
  const Usage before = usage_of(server.pid);
  const auto began = Clock::now();
  std::vector<std::jthread> threads;
  for (auto& mine : times)
    threads.emplace_back([&] {
      const int fd = dial(server.port);
      std::string buffer;
      while (!stop) {
        const auto from = Clock::now();
        if (!call(fd, request, buffer)) {
          ++errors;
          break;
        }
        mine.push_back(std::chrono::duration<double, std::micro>(Clock::now() - from).count());
      }
      ::close(fd);
    });
  std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
  Measured out{.after = usage_of(server.pid)};
  stop = true;
  const double took = std::chrono::duration<double>(Clock::now() - began).count();
  threads.clear();
  std::vector<double> all;
  for (auto& mine : times) all.insert(all.end(), mine.begin(), mine.end());
  std::sort(all.begin(), all.end());
  out.calls = static_cast<long>(all.size());
  out.errors = errors;
  if (all.empty()) return out;
  out.per_s = static_cast<double>(out.calls) / took;
  out.cpu_us = (out.after.cpu_s - before.cpu_s) * 1e6 / static_cast<double>(out.calls);
  out.p50_us = all[all.size() / 2];
  out.p99_us = all[all.size() * 99 / 100];
  return out;
}

// The open listens, watched by whoever waits.
class Listens {
 public:
  Listens(int port, int count)
      : epoll_(epoll_create1(EPOLL_CLOEXEC)), texts_(static_cast<size_t>(count)) {
    const std::string request =
        post("subscriptions/listen", "", R"("notifications":{"toolsListChanged":true})");
    for (int i = 0; i < count; ++i) {
      fds_.push_back(dial(port));
      if (::send(fds_.back(), request.data(), request.size(), MSG_NOSIGNAL) < 0) die("cannot send");
      epoll_event event{.events = EPOLLIN, .data = {.u32 = static_cast<uint32_t>(i)}};
      epoll_ctl(epoll_, EPOLL_CTL_ADD, fds_.back(), &event);
    }
  }
  ~Listens() {
    for (int fd : fds_) ::close(fd);
    ::close(epoll_);
  }
  // How many streams have said `text` at least once after this many seconds, or as soon as all
  // have.
  size_t wait(const char* text, double seconds) {
    const auto until = Clock::now() + std::chrono::duration<double>(seconds);
    const auto said = [&] {
      return static_cast<size_t>(std::count_if(
          texts_.begin(), texts_.end(), [&](auto& one) { return one.find(text) != one.npos; }));
    };
    while (Clock::now() < until && said() < texts_.size()) {
      epoll_event events[256];
      const int ready = epoll_wait(epoll_, events, 256, 100);
      for (int i = 0; i < ready; ++i) {
        char chunk[4096];
        const ssize_t n = ::recv(fds_[events[i].data.u32], chunk, sizeof chunk, 0);
        if (n > 0) texts_[events[i].data.u32].append(chunk, static_cast<size_t>(n));
        if (n <= 0) epoll_ctl(epoll_, EPOLL_CTL_DEL, fds_[events[i].data.u32], nullptr);
      }
    }
    return said();
  }

 private:
  const int epoll_;
  std::vector<int> fds_;
  std::vector<std::string> texts_;
};

void print(const char* what, const Measured& m) {
  std::printf("%-28s %9.0f %8.1f %9.0f %9.0f %7ld %8ld %8.1f %9.0f\n", what, m.per_s, m.cpu_us,
              m.p50_us, m.p99_us, m.errors, m.after.threads,
              static_cast<double>(m.after.rss_kb) / 1024,
              static_cast<double>(m.after.virtual_kb) / 1024);
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  int listens = 1000, callers = 64;
  double seconds = 3, idle_s = 30;
  for (int i = 2; i + 1 < argc; i += 2) {
    if (!std::strcmp(argv[i], "--listens")) listens = std::atoi(argv[i + 1]);
    if (!std::strcmp(argv[i], "--callers")) callers = std::atoi(argv[i + 1]);
    if (!std::strcmp(argv[i], "--seconds")) seconds = std::atof(argv[i + 1]);
    if (!std::strcmp(argv[i], "--idle")) idle_s = std::atof(argv[i + 1]);
  }
  if (argc < 2 || argc % 2 != 0)
    die("usage: held_streams PROGRAM [--listens N] [--callers N] [--seconds S] [--idle S]");
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);  // the server inherits it

  const Child server = start(argv[1]);
  long errors = 0;
  std::printf("%-28s %9s %8s %9s %9s %7s %8s %8s %9s\n", "", "calls/s", "CPU us", "p50 us",
              "p99 us", "errors", "threads", "RSS MB", "virt MB");
  measure(server, callers, seconds / 4);  // warm
  const auto phase = [&](const char* what) {
    const Measured m = measure(server, callers, seconds);
    print(what, m);
    errors += m.errors;
  };
  phase("callers alone");
  size_t acknowledged = 0, told = 0;
  double told_ms = 0;
  {
    Listens open(server.port, listens);
    acknowledged = open.wait("subscriptions/acknowledged", 20);
    phase("with the listens open");
    std::string buffer;
    const int fd = dial(server.port);
    const auto began = Clock::now();
    if (!call(fd, post("tools/call", "announce", R"("name":"announce","arguments":{})"), buffer))
      ++errors;
    told = open.wait("tools/list_changed", 20);
    told_ms = std::chrono::duration<double, std::milli>(Clock::now() - began).count();
    ::close(fd);
    phase("with them open, again");
  }
  phase("after they were closed");
  std::printf("%zu of %d listens acknowledged; %zu got the announcement, the last after %.1f ms\n",
              acknowledged, listens, told, told_ms);
  Usage idle = usage_of(server.pid);
  const auto idle_since = Clock::now();
  while (idle.threads > 32 && Clock::now() - idle_since < std::chrono::duration<double>(idle_s)) {
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    idle = usage_of(server.pid);
  }
  std::printf("%.1f s after the last call: %ld threads, RSS %.1f MB\n",
              std::chrono::duration<double>(Clock::now() - idle_since).count(), idle.threads,
              static_cast<double>(idle.rss_kb) / 1024);
  kill(server.pid, SIGTERM);
  int status = 0;
  waitpid(server.pid, &status, 0);
  const auto all = static_cast<size_t>(listens);
  return errors == 0 && acknowledged == all && told == all ? 0 : 1;
}

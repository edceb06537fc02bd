#include "sandbox/callback.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "sandbox/subprocess.h"

namespace gpumcp::sandbox {
using mcp::ErrorCode;
using mcp::fail;
using std::chrono::milliseconds;
namespace {

using CallbackClock = std::chrono::steady_clock;
constexpr size_t kTokenLength = 64;
constexpr size_t kMaxStrangers = 16;  // that have not sent their token yet
constexpr auto kTokenPatience = std::chrono::seconds(5);
constexpr int kConnectPatienceMs = 3000;

std::string random_token() {
  unsigned char bytes[kTokenLength / 2];
  if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes) return {};
  std::string out;
  for (const unsigned char byte : bytes) out += fmt::format("{:02x}", byte);
  return out;
}

// Takes as long whatever is wrong.
bool same_token(const char* given, const std::string& token) {
  unsigned different = 0;
  for (size_t i = 0; i < kTokenLength; ++i)
    different |= static_cast<unsigned char>(given[i]) ^ static_cast<unsigned char>(token[i]);
  return different == 0;
}

// An address in numbers, no name: nothing is looked up.
struct Address {
  sockaddr_storage storage{};
  socklen_t size = 0;
  static std::optional<Address> of(const std::string& host, int port, int flags) {
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = flags | AI_NUMERICSERV;
    addrinfo* found = nullptr;
    if (getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found) != 0 || !found)
      return std::nullopt;
    Address out;
    std::memcpy(&out.storage, found->ai_addr, found->ai_addrlen);
    out.size = found->ai_addrlen;
    freeaddrinfo(found);
    return out;
  }
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
};

void send_at_once(int fd) {
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
}

// The address that packets to a host leave from; nothing is sent.
std::string address_towards(const std::string& host) {
  auto there = Address::of(host, 6817, 0);
  if (!there) return {};
  const int fd = ::socket(there->get()->sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  std::string out;
  Address here;
  here.size = sizeof here.storage;
  char text[NI_MAXHOST];
  if (fd >= 0 && ::connect(fd, there->get(), there->size) == 0 &&
      getsockname(fd, here.get(), &here.size) == 0 &&
      getnameinfo(here.get(), here.size, text, sizeof text, nullptr, 0, NI_NUMERICHOST) == 0)
    out = text;
  if (fd >= 0) ::close(fd);
  return out;
}

}  // namespace

mcp::Result<std::unique_ptr<Callback>> Callback::listen(const std::string& address) {
  auto failed = [&](const std::string& why) {
    return fail(ErrorCode::io_error, fmt::format("cannot listen on {}: {}", address, why));
  };
  auto here = Address::of(address, 0, AI_NUMERICHOST | AI_PASSIVE);
  if (!here) return failed("it is no address in numbers");
  const std::string token = random_token();
  if (token.size() != kTokenLength) return failed("there are no random numbers for a token");
  const int fd = ::socket(here->get()->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  Address bound;
  bound.size = sizeof bound.storage;
  if (fd < 0 || ::bind(fd, here->get(), here->size) != 0 || ::listen(fd, 16) != 0 ||
      getsockname(fd, bound.get(), &bound.size) != 0) {
    const std::string why = std::strerror(errno);
    if (fd >= 0) ::close(fd);
    return failed(why);
  }
  const int port = ntohs(bound.get()->sa_family == AF_INET6
                             ? reinterpret_cast<sockaddr_in6*>(bound.get())->sin6_port
                             : reinterpret_cast<sockaddr_in*>(bound.get())->sin_port);
  return std::unique_ptr<Callback>(new Callback(fd, address, port, token));
}

Callback::~Callback() { ::close(fd_); }

mcp::Json Callback::describe() const {
  return {{"address", address_}, {"port", port_}, {"token", token_}};
}

mcp::Result<int> Callback::accept(milliseconds patience) {
  struct Stranger {
    int fd;
    CallbackClock::time_point until;
    size_t got = 0;
    char said[kTokenLength];
  };
  std::vector<Stranger> strangers;
  auto drop = [&](size_t i) {
    ::close(strangers[i].fd);
    strangers.erase(strangers.begin() + static_cast<std::ptrdiff_t>(i));
  };
  int found = -1;
  const auto end = CallbackClock::now() + patience;
  while (found < 0 && CallbackClock::now() < end) {
    std::vector<pollfd> fds = {{fd_, POLLIN, 0}};
    for (auto& one : strangers) fds.push_back({one.fd, POLLIN, 0});
    const auto left = std::chrono::duration_cast<milliseconds>(end - CallbackClock::now());
    poll(fds.data(), fds.size(), static_cast<int>(std::clamp<int64_t>(left.count(), 1, 200)));
    for (size_t i = strangers.size(); i-- > 0 && found < 0;) {
      Stranger& one = strangers[i];
      if (fds[i + 1].revents) {
        const ssize_t n = ::recv(one.fd, one.said + one.got, kTokenLength - one.got, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
          drop(i);
          continue;
        }
        if (n > 0) one.got += static_cast<size_t>(n);
        if (one.got == kTokenLength) {
          if (!same_token(one.said, token_)) {
            drop(i);
            continue;
          }
          found = one.fd;
          strangers.erase(strangers.begin() + static_cast<std::ptrdiff_t>(i));
          continue;
        }
      }
      if (CallbackClock::now() > one.until) drop(i);
    }
    if (found < 0 && fds[0].revents) {
      const int fd = accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC);
      if (fd >= 0 && strangers.size() < kMaxStrangers)
        strangers.push_back({.fd = fd, .until = CallbackClock::now() + kTokenPatience});
      else if (fd >= 0)
        ::close(fd);
    }
  }
  for (auto& one : strangers) ::close(one.fd);
  if (found < 0) return fail(ErrorCode::timeout, "no peer came that knows the token");
  send_at_once(found);
  return found;
}

mcp::Result<int> connect_back(const mcp::Json& callback) {
  std::string address, token;
  int port = 0;
  try {
    address = callback.at("address").get<std::string>();
    token = callback.at("token").get<std::string>();
    port = callback.at("port").get<int>();
  } catch (const mcp::Json::exception& e) {
    return fail(ErrorCode::invalid_params, fmt::format("no address to connect to: {}", e.what()));
  }
  auto failed = [&](const std::string& why) {
    return fail(ErrorCode::io_error, fmt::format("{}:{}: {}", address, port, why));
  };
  const auto there = Address::of(address, port, AI_NUMERICHOST);
  if (!there || token.size() != kTokenLength) return failed("is no address to connect to");
  const int fd = ::socket(there->get()->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return failed(std::strerror(errno));
  int error = ::connect(fd, there->get(), there->size) == 0 ? 0 : errno;
  if (error == EINPROGRESS) {
    pollfd fds{fd, POLLOUT, 0};
    socklen_t size = sizeof error;
    error = poll(&fds, 1, kConnectPatienceMs) == 1 ? 0 : ETIMEDOUT;
    if (!error) getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
  }
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
  if (!error &&
      ::send(fd, token.data(), token.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(token.size()))
    error = errno ? errno : EIO;
  if (error) {
    ::close(fd);
    return failed(std::strerror(error));
  }
  send_at_once(fd);
  return fd;
}

std::string callback_address() {
  if (const char* said = std::getenv("GPUMCP_CALLBACK"); said && *said)
    return std::string_view(said) == "off" ? "" : said;
  const auto config = run_captured({"scontrol", "show", "config"});
  if (!config || config->code != 0) return {};
  // SlurmctldHost[0]        = node(address), or node alone
  const size_t key = config->out.find("SlurmctldHost[0]");
  const size_t equals = config->out.find('=', key);
  if (key == std::string::npos || equals == std::string::npos) return {};
  std::string host = config->out.substr(equals + 1, config->out.find('\n', equals) - equals - 1);
  if (const size_t open = host.find('('); open != host.npos)
    host = host.substr(open + 1, host.find(')') - open - 1);
  const size_t begin = host.find_first_not_of(' ');
  if (begin == host.npos) return {};
  return address_towards(host.substr(begin, host.find_last_not_of(' ') - begin + 1));
}

}  // namespace gpumcp::sandbox

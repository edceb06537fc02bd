#include "http_support.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "mcp/http_guards.h"

namespace gpumcp::mcp::test {

void Happening::happen() {
  std::scoped_lock lock(mutex_);
  ++count_;
  changed_.notify_all();
}

bool Happening::wait(int times) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, kPatience, [&] { return count_ >= times; });
}

Wire::Wire(int port) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  REQUIRE(::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
}

Wire::~Wire() { close(); }

void Wire::close() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

void Wire::close_writing() { ::shutdown(fd_, SHUT_WR); }

bool Wire::send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return true;
}

bool Wire::more() {
  pollfd fds[1] = {{fd_, POLLIN, 0}};
  if (poll(fds, 1, static_cast<int>(std::chrono::milliseconds(kPatience).count())) <= 0) {
    FAIL("the server said nothing for too long");
    return false;
  }
  char buffer[8192];
  const ssize_t n = ::recv(fd_, buffer, sizeof buffer, 0);
  if (n <= 0) return false;
  input_.append(buffer, static_cast<size_t>(n));
  return true;
}

std::optional<std::string> Wire::line() {
  size_t end;
  while ((end = input_.find("\r\n")) == input_.npos) {
    if (!more()) return std::nullopt;
  }
  std::string out = input_.substr(0, end);
  input_.erase(0, end + 2);
  return out;
}

std::string Wire::bytes(size_t n) {
  while (input_.size() < n && more()) {
  }
  std::string out = input_.substr(0, n);
  input_.erase(0, n);
  return out;
}

std::optional<std::string> Wire::chunk() {
  auto size = line();
  if (!size) return std::nullopt;
  const size_t n = std::stoul(*size, nullptr, 16);
  std::string data = bytes(n);
  line();
  if (n == 0) return std::nullopt;
  return data;
}

Reply Wire::read_head() {
  Reply out;
  auto first = line();
  if (!first) return out;
  REQUIRE(first->starts_with("HTTP/1.1 "));
  out.status = std::stoi(first->substr(9));
  while (true) {
    auto header = line();
    if (!header || header->empty()) break;
    const size_t colon = header->find(':');
    out.headers[lower_ascii(header->substr(0, colon))] =
        trim_ows(std::string_view(*header).substr(colon + 1));
  }
  stream_.clear();
  stream_ended_ = false;
  return out;
}

Reply Wire::read() {
  Reply out = read_head();
  if (out.headers.count("transfer-encoding")) {
    while (auto part = chunk()) out.body += *part;
  } else if (auto it = out.headers.find("content-length"); it != out.headers.end()) {
    out.body = bytes(std::stoul(it->second));
  }
  return out;
}

std::string Wire::stream_line() {
  size_t end;
  while ((end = stream_.find('\n')) == stream_.npos) {
    auto part = chunk();
    if (!part) {
      stream_ended_ = true;
      return {};
    }
    stream_ += *part;
  }
  std::string out = stream_.substr(0, end);
  stream_.erase(0, end + 1);
  return out;
}

std::optional<std::string> Wire::read_event() {
  while (true) {
    std::string text = stream_line();
    if (stream_ended_) return std::nullopt;
    if (text.starts_with("data: ")) return text.substr(6);
  }
}

bool Wire::read_event_of_new_stream() {
  return read_head().headers["content-type"] == "text/event-stream" && read_event();
}

std::optional<Wire::Event> Wire::read_whole_event() {
  Event out;
  bool any = false;
  while (true) {
    std::string text = stream_line();
    if (stream_ended_) return std::nullopt;
    if (text.empty() && any) return out;
    for (auto [name, into] : {std::pair("id: ", &out.id), std::pair("event: ", &out.type),
                              std::pair("data: ", &out.data)}) {
      if (!text.starts_with(name)) continue;
      *into = text.substr(std::string_view(name).size());
      any = true;
    }
  }
}

std::string Wire::rest_of_stream() {
  std::string out;
  while (!stream_ended_) (out += stream_line()) += '\n';
  return out;
}

std::string Wire::rest() {
  while (more()) {
  }
  return std::exchange(input_, {});
}

std::string Wire::read_comment() {
  while (true) {
    std::string text = stream_line();
    if (stream_ended_ || text.starts_with(':')) return text;
  }
}

bool Wire::closed() {
  while (more()) {
  }
  return true;
}

std::string post(std::string_view body, const std::string& extra, const std::string& path) {
  return fmt::format(
      "POST {} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
      "Accept: application/json, text/event-stream\r\nContent-Length: {}\r\n{}\r\n{}",
      path, body.size(), extra, body);
}

std::string modern(const Json& message, const std::string& extra) {
  std::string headers = fmt::format("MCP-Protocol-Version: {}\r\nMcp-Method: {}\r\n",
                                    kModernVersion, message["method"].get<std::string>());
  if (message["method"] == "tools/call")
    headers += fmt::format("Mcp-Name: {}\r\n", message["params"]["name"].get<std::string>());
  return post(to_text(message), headers + extra);
}

std::string legacy(const Json& message, const std::string& version) {
  return post(to_text(message),
              version.empty() ? "" : fmt::format("MCP-Protocol-Version: {}\r\n", version));
}

Json meta_of(Json more) {
  more[std::string(kMetaProtocolVersion)] = kModernVersion;
  more[std::string(kMetaClientCapabilities)] = Json::object();
  return more;
}

Json legacy_call(int id, const std::string& tool, Json arguments, Json meta) {
  Json params = {{"name", tool}, {"arguments", std::move(arguments)}};
  if (!meta.empty()) params["_meta"] = std::move(meta);
  return {{"jsonrpc", "2.0"}, {"id", id}, {"method", "tools/call"}, {"params", std::move(params)}};
}

Json modern_call(int id, const std::string& tool, Json arguments, Json meta) {
  return legacy_call(id, tool, std::move(arguments), meta_of(std::move(meta)));
}

Fixture::Fixture(HttpOptions options, ServerOptions server_options)
    : server_(std::move(server_options)) {
  server_.expose(
      "add", "Add two numbers.", [](double a, double b) { return a + b; }, arg("a"), arg("b"));
  server_.expose("hold", "Waits.", [this](Context& context) {
    entered.happen();
    std::unique_lock lock(mutex_);
    const bool released = released_.wait(lock, context.stop_token(), [&] { return release_; });
    lock.unlock();
    (released ? finished : cancelled).happen();
    return released;
  });
  server_.expose("steps", "Reports progress.", [](Context& context) {
    context.progress(1, 2.0, "one");
    context.progress(2, 2.0, "two");
    return true;
  });
  auto http = HttpServer::listen(server_, std::move(options));
  REQUIRE_MESSAGE(http, (http ? std::string() : http.error().message));
  http_ = std::move(*http);
  thread_ = std::thread([this] { http_->serve(); });
}

Fixture::~Fixture() {
  http_->stop();
  thread_.join();
}

void Fixture::release() {
  std::scoped_lock lock(mutex_);
  release_ = true;
  released_.notify_all();
}

Reply Fixture::ask(const std::string& request) const {
  Wire wire(http_->port());
  REQUIRE(wire.send(request));
  return wire.read();
}

}  // namespace gpumcp::mcp::test

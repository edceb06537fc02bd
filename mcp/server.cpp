#include "mcp/server.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <list>
#include <shared_mutex>
#include <thread>

#include "mcp/exit_watch.h"
#include "mcp/server_impl.h"
#include "mcp/session.h"

namespace gpumcp::mcp {

// The sink of a peer with one stream for everything. Calls that outlive the stream write into
// nothing.
class StreamSink final : public ReplySink {
 public:
  explicit StreamSink(Transport& transport) : transport_(&transport) {}
  void notify(std::string message) override { write(message); }
  void respond(std::string message, std::optional<ErrorCode>) override { write(message); }

  // Lets what is being written reach a peer that reads; a peer that does not is cut off.
  void detach() {
    std::unique_lock lock(mutex_, std::defer_lock);
    if (!lock.try_lock_for(std::chrono::milliseconds(100))) {
      transport_->close();
      lock.lock();
    }
    transport_ = nullptr;
  }

 private:
  void write(std::string_view message) {
    std::shared_lock lock(mutex_);  // shared: the transport combines what several threads write
    if (transport_) (void)transport_->write(message);
  }

  std::shared_timed_mutex mutex_;
  Transport* transport_;
};

namespace {

bool starts_as_template(std::string_view uri, std::string_view uri_template) {
  const std::string_view head = uri_template.substr(0, uri_template.find('{'));
  return uri.size() > head.size() && uri.starts_with(head);
}

}  // namespace

std::string check_tool(const Tool& tool) {
  auto bad = [&](std::string why) { return fmt::format("tool \"{}\": {}", tool.name, why); };
  const bool charset = std::all_of(tool.name.begin(), tool.name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
  });
  if (tool.name.empty() || tool.name.size() > 64 || !charset)
    return bad("hosts take names of 1 to 64 characters of A-Z a-z 0-9 _ - only");
  if (tool.description.empty()) return bad("a description is needed: agents choose tools by it");
  if (!tool.inputSchema.is_object() || tool.inputSchema.value("type", "") != "object")
    return bad("the input schema's root must be {\"type\": \"object\"}");
  for (const char* keyword : {"anyOf", "oneOf", "allOf"}) {
    if (tool.inputSchema.contains(keyword))
      return bad(fmt::format(
          "\"{}\" at the input schema's root is refused by hosts: move it into a property",
          keyword));
  }
  if (!tool.outputSchema.is_null() && !tool.outputSchema.is_object())
    return bad("the output schema must be an object");
  return {};
}

void Server::Impl::insert_tool(ToolEntry entry) {
  if (std::string problem = check_tool(entry.tool); !problem.empty())
    throw std::invalid_argument(problem);
  if (!tool_index.emplace(entry.tool.name, tools.size()).second)
    throw std::invalid_argument(fmt::format("tool \"{}\" is added twice", entry.tool.name));
  tools.push_back(std::move(entry));
}

const Server::Impl::ToolEntry* Server::Impl::find_tool(std::string_view name) const {
  auto it = tool_index.find(name);
  return it == tool_index.end() ? nullptr : &tools[it->second];
}

const Server::Impl::ResourceEntry* Server::Impl::find_resource(std::string_view uri) const {
  for (auto& entry : resources) {
    if (entry.is_template ? starts_as_template(uri, entry.resource.uriTemplate)
                          : uri == entry.resource.uriTemplate)
      return &entry;
  }
  return nullptr;
}

Json Server::Impl::capabilities(bool) const {
  Json out = {{"logging", Json::object()}};
  if (!tools.empty()) out["tools"] = Json::object();
  if (!resources.empty()) out["resources"] = Json::object();
  return out;
}

std::string Server::Impl::tool_list(const std::string& version) {
  std::scoped_lock lock(list_mutex);
  std::string& text = tool_lists[version];
  if (text.empty()) {
    Json list = Json::array();
    for (auto& entry : tools) list.push_back(to_json(entry.tool, version));
    text = R"({"tools":)" + to_text(list) + "}";
  }
  return text;
}

std::string Server::Impl::resource_list(const std::string& version, bool templates) const {
  Json list = Json::array();
  for (auto& entry : resources) {
    if (entry.is_template != templates) continue;
    Json one = to_json(entry.resource, version);
    if (!templates) {
      Json plain = {{"uri", entry.resource.uriTemplate}};
      one.erase("uriTemplate");
      plain.update(one);
      one = std::move(plain);
    }
    list.push_back(std::move(one));
  }
  return fmt::format(R"({{"{}":{}}})", templates ? "resourceTemplates" : "resources",
                     to_text(list));
}

void Server::Impl::call_began() {
  ++calls;
  last_activity = std::chrono::steady_clock::now();
}

void Server::Impl::call_abandoned(const void* call) {
  {
    std::scoped_lock lock(abandoned_mutex);
    abandoned.emplace(call, std::chrono::steady_clock::now());
  }
  changed();
}

void Server::Impl::changed() {
  std::scoped_lock lock(change_mutex);
  if (!gone && options.on_change) options.on_change();
}

void Server::Impl::call_ended(const void* call) {
  {
    std::scoped_lock lock(abandoned_mutex);
    abandoned.erase(call);
  }
  last_activity = std::chrono::steady_clock::now();
  if (--calls == 0) changed();
}

Server::Impl::Impl(ServerOptions o)
    : options(std::move(o)),
      stop_fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      pool({.max_threads = options.max_running_calls, .max_queued = options.max_queued_calls}) {}

Server::Impl::~Impl() { ::close(stop_fd); }

Server::Server(ServerOptions options) : impl_(std::make_shared<Impl>(std::move(options))) {}

Server::~Server() {
  stop();
  impl_->pool.stop();         // waits for the handlers
  impl_->exit_watch.reset();  // until here it may end the process
  std::scoped_lock lock(impl_->change_mutex);
  impl_->gone = true;
}

void Server::add_tool(Tool tool, ToolHandler handler) {
  impl_->insert_tool({std::move(tool), std::move(handler)});
}

void Server::add_resource(Resource resource, ResourceReader reader) {
  ResourceTemplate entry{resource.uri, resource.name, resource.title, resource.description,
                         resource.mimeType};
  impl_->resources.push_back({std::move(entry), false, std::move(reader)});
}

void Server::add_resource_template(ResourceTemplate resource, ResourceReader reader) {
  impl_->resources.push_back({std::move(resource), true, std::move(reader)});
}

void Server::add_forwarded(std::vector<Tool> tools, std::vector<ResourceTemplate> templates,
                           Forwarder forwarder) {
  impl_->forwarders.push_back(std::make_unique<Forwarder>(std::move(forwarder)));
  const Forwarder* shared = impl_->forwarders.back().get();
  for (Tool& tool : tools) impl_->insert_tool({std::move(tool), nullptr, shared});
  for (ResourceTemplate& one : templates)
    impl_->resources.push_back({std::move(one), true, nullptr, shared});
}

void Server::serve(Transport& transport) {
  auto session = make_session();
  auto sink = std::make_shared<StreamSink>(transport);
  {
    std::scoped_lock lock(impl_->transports_mutex);
    impl_->transports.emplace(&transport, sink);
  }
  if (impl_->stopped) transport.close();
  while (true) {
    auto text = transport.read();
    if (!text && text.error().code == ErrorCode::invalid_request) {
      sink->respond(make_error({}, text.error(), session->legacy_version().has_value()),
                    text.error().code);
      continue;
    }
    if (!text || !*text) break;
    session->receive(std::move(**text), sink);
  }
  if (!impl_->stopped) session->wait_idle(impl_->options.drain);
  sink->detach();  // first: it frees a call that waits for a peer that does not read
  session->cancel_all();
  std::scoped_lock lock(impl_->transports_mutex);
  impl_->transports.erase(&transport);
}

int Server::serve_stdio() {
  auto transport = take_stdio({.max_message_bytes = impl_->options.max_message_bytes});
  if (!transport) {
    fmt::print(stderr, "{}\n", transport.error().message);
    return 1;
  }
  impl_->exit_watch =
      std::make_unique<ExitWatch>([this] { stop(); }, ExitWatchOptions{.parent = true});
  serve(**transport);
  impl_->exit_watch
      ->leave_soon();  // a handler that ignores its cancellation must not hold the process
  return 0;
}

void Server::serve_listener(int listen_fd) {
  struct Peer {
    std::thread thread;
    std::atomic<bool> done = false;
  };
  std::list<Peer> peers;
  while (!impl_->stopped) {
    pollfd fds[2] = {{listen_fd, POLLIN, 0}, {impl_->stop_fd, POLLIN, 0}};
    if (poll(fds, 2, -1) < 0) continue;
    if (fds[1].revents) break;
    const int fd = accept4(listen_fd, nullptr, nullptr, SOCK_CLOEXEC);
    peers.remove_if([](Peer& peer) {
      if (!peer.done) return false;
      peer.thread.join();
      return true;
    });
    if (fd < 0) {
      // Out of descriptors or memory: the peer stays in the backlog until something is free.
      if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
        poll(&fds[1], 1, 100);
      continue;
    }
    Peer& peer = peers.emplace_back();
    try {
      peer.thread = std::thread([this, fd, &peer] {
        auto transport =
            make_line_transport(fd, fd, {.max_message_bytes = impl_->options.max_message_bytes});
        serve(*transport);
        transport.reset();
        peer.done = true;
      });
    } catch (const std::system_error&) {  // no more threads: this peer is turned away
      ::close(fd);
      peers.pop_back();
    }
  }
  for (Peer& peer : peers) peer.thread.join();
}

void Server::stop() {
  impl_->stopped = true;
  const uint64_t one = 1;
  [[maybe_unused]] auto n = ::write(impl_->stop_fd, &one, sizeof one);
  std::scoped_lock lock(impl_->transports_mutex);
  for (auto& [transport, sink] : impl_->transports) transport->close();
}

bool Server::stopped() const { return impl_->stopped; }
void Server::add_method(std::string name,
                        std::function<Result<std::string>(std::string_view)> method) {
  impl_->methods[std::move(name)] = std::move(method);
}

void Server::notify_all(std::string_view method, std::string_view params) {
  const std::string text = make_notification(method, params);
  std::vector<std::shared_ptr<StreamSink>>
      sinks;  // written to without the lock, which stop() needs
  {
    std::scoped_lock lock(impl_->transports_mutex);
    for (auto& [transport, sink] : impl_->transports) sinks.push_back(sink);
  }
  for (auto& sink : sinks) sink->notify(text);
}

void Server::drain() { impl_->draining = true; }

std::optional<std::chrono::steady_clock::time_point> Server::oldest_abandoned() const {
  std::scoped_lock lock(impl_->abandoned_mutex);
  std::optional<std::chrono::steady_clock::time_point> oldest;
  for (auto& [call, since] : impl_->abandoned) oldest = oldest ? std::min(*oldest, since) : since;
  return oldest;
}

size_t Server::abandoned_before(std::chrono::steady_clock::time_point when) const {
  std::scoped_lock lock(impl_->abandoned_mutex);
  return static_cast<size_t>(std::count_if(impl_->abandoned.begin(), impl_->abandoned.end(),
                                           [&](const auto& one) { return one.second <= when; }));
}

std::chrono::steady_clock::time_point Server::last_activity() const { return impl_->last_activity; }
size_t Server::calls_in_flight() const { return impl_->calls; }
size_t Server::connections() const { return impl_->connections; }
const ServerOptions& Server::options() const { return impl_->options; }
std::shared_ptr<Session> Server::make_session() { return std::make_shared<Session>(impl_); }

}  // namespace gpumcp::mcp

#include "mcp/http_client.h"

#include <fmt/format.h>
#include <httplib.h>

#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <set>

#include "mcp/http_guards.h"
#include "mcp/message.h"
#include "mcp/protocol.h"
#include "mcp/sse.h"
#include "mcp/thread_pool.h"

namespace gpumcp::mcp {
namespace {

// What of a message decides its headers.
struct Outgoing {
  std::string text, method, version, name;
  RequestId id;       // empty: no answer is expected
  RequestId cancels;  // of notifications/cancelled
};

std::string decoded(std::string_view json) {
  return json.starts_with('"') ? Json::parse(json).get<std::string>() : std::string();
}

Outgoing read_outgoing(const Message& message) {
  Outgoing out{.text = message.text(), .method = message.method()};
  if (message.kind() == Message::Kind::request) out.id = message.id();
  std::string_view name, uri, meta, cancelled;
  (void)scan_json(message.params(), [&](std::string_view key, std::string_view value) {
    if (key == "name")
      name = value;
    else if (key == "uri")
      uri = value;
    else if (key == "_meta")
      meta = value;
    else if (key == "requestId")
      cancelled = value;
  });
  (void)scan_json(meta, [&](std::string_view key, std::string_view value) {
    if (key == kMetaProtocolVersion) out.version = decoded(value);
  });
  if (out.method == "tools/call" || out.method == "prompts/get")
    out.name = decoded(name);
  else if (out.method == "resources/read")
    out.name = decoded(uri);
  if (out.method == "notifications/cancelled")
    out.cancels = parse_request_id(cancelled).value_or(RequestId{});
  return out;
}

class HttpTransport final : public Transport {
 public:
  HttpTransport(std::string base, std::string path, HttpClientOptions options)
      : base_(std::move(base)),
        path_(std::move(path)),
        options_(std::move(options)),
        pool_({.max_threads = options_.max_requests, .max_queued = 4096}) {}

  ~HttpTransport() override { close(); }

  Result<std::optional<std::string>> read() override {
    std::unique_lock lock(mutex_);
    arrived_.wait(lock, [&] { return closed_ || !messages_.empty(); });
    if (messages_.empty()) return std::optional<std::string>();
    std::string message = std::move(messages_.front());
    messages_.pop_front();
    return message;
  }

  Result<void> write(std::string_view text) override {
    auto message = parse_message(std::string(text));
    if (!message) return tl::unexpected(std::move(message.error()));
    auto out = std::make_shared<Outgoing>(read_outgoing(*message));
    bool modern;
    {
      std::scoped_lock lock(mutex_);
      if (closed_) return fail(ErrorCode::closed, "the connection is closed");
      if (!out->version.empty())
        version_ = out->version;
      else
        out->version = version_;
      if (out->method == "initialize") out->version.clear();
      modern = is_modern_version(out->version) && !out->version.empty();
    }
    if (!out->cancels.empty() && modern) {  // closing its stream is how a request is cancelled
      end_flight(out->cancels);
      return {};
    }
    if (out->method == "notifications/initialized") {  // must arrive before what follows it
      post(*out);
      return {};
    }
    const bool taken = pool_.submit([this, out] {
      post(*out);
      if (!out->cancels.empty()) end_flight(out->cancels);
    });
    if (!taken) return fail(ErrorCode::io_error, "too many requests are waiting for the server");
    return {};
  }

  void close() noexcept override {
    std::scoped_lock lock(mutex_);
    closed_ = true;
    arrived_.notify_all();
    for (Flight* flight : flights_) flight->end();
  }

 private:
  // A POST in progress.
  struct Flight {
    RequestId id;
    httplib::Client* client = nullptr;
    std::atomic<bool> ended = false;
    void end() {
      ended = true;
      client->stop();
    }
  };

  // What came back.
  struct Reply {
    int status = 0;
    bool events = false, answered = false;
    std::string body, session;
    std::optional<Error> broken;
  };

  void end_flight(const RequestId& id) {
    std::scoped_lock lock(mutex_);
    for (Flight* flight : flights_) {
      if (flight->id == id) flight->end();
    }
  }

  std::unique_ptr<httplib::Client> take_client() {
    {
      std::scoped_lock lock(mutex_);
      if (!idle_.empty()) {
        auto client = std::move(idle_.back());
        idle_.pop_back();
        return client;
      }
    }
    auto client = std::make_unique<httplib::Client>(base_);
    client->set_keep_alive(true);
    client->set_tcp_nodelay(true);
    client->set_follow_location(false);
    client->set_connection_timeout(options_.connect_timeout);
    client->set_read_timeout(options_.read_timeout);
    client->set_write_timeout(std::chrono::seconds(30));
    return client;
  }

  httplib::Headers headers_of(const Outgoing& out) {
    httplib::Headers headers = {{"Content-Type", "application/json"},
                                {"Accept", "application/json, text/event-stream"},
                                {"Accept-Encoding", "identity"}};
    for (auto& [name, value] : options_.headers) headers.emplace(name, value);
    if (!options_.token.empty()) headers.emplace("Authorization", "Bearer " + options_.token);
    if (!out.version.empty()) headers.emplace("MCP-Protocol-Version", out.version);
    if (is_modern_version(out.version)) {
      if (!out.method.empty()) headers.emplace("Mcp-Method", out.method);
      if (!out.name.empty()) headers.emplace("Mcp-Name", encode_header_value(out.name));
    } else {
      std::scoped_lock lock(mutex_);
      if (!session_.empty() && out.method != "initialize")
        headers.emplace("Mcp-Session-Id", session_);
    }
    return headers;
  }

  void post(const Outgoing& out) {
    auto client = take_client();
    Flight flight{.id = out.id, .client = client.get()};
    {
      std::scoped_lock lock(mutex_);
      if (closed_) return;
      flights_.insert(&flight);
    }
    Reply reply;
    httplib::Request request;
    request.method = "POST";
    request.path = path_;
    request.headers = headers_of(out);
    // Given piece by piece, so that a flight that ended before it had a socket to shut down is
    // noticed.
    request.content_length_ = out.text.size();
    request.content_provider_ = [&](size_t offset, size_t length, httplib::DataSink& sink) {
      return !flight.ended && sink.write(out.text.data() + offset, length);
    };
    request.response_handler = [&](const httplib::Response& response) {
      reply.status = response.status;
      reply.events = media_type(response.get_header_value("Content-Type")) == "text/event-stream";
      reply.session = response.get_header_value("Mcp-Session-Id");
      return !flight.ended;
    };
    SseParser parser(options_.max_message_bytes);
    request.content_receiver = [&](const char* data, size_t size, uint64_t, uint64_t) {
      if (flight.ended) return false;
      if (reply.events) {
        auto fed = parser.feed({data, size}, [&](const SseEvent& event) {
          if (event.type == "message" && !event.data.empty()) deliver(out, reply, event.data);
        });
        if (!fed) reply.broken = fed.error();
      } else if (reply.body.size() + size > options_.max_message_bytes) {
        reply.broken = Error{ErrorCode::io_error,
                             fmt::format("the response is longer than the limit of {} bytes",
                                         options_.max_message_bytes)};
      } else {
        reply.body.append(data, size);
      }
      return !reply.broken;
    };
    httplib::Response response;
    httplib::Error error = httplib::Error::Success;
    const bool sent = client->send(request, response, error);
    {
      std::scoped_lock lock(mutex_);
      flights_.erase(&flight);
      if (sent && !flight.ended) idle_.push_back(std::move(client));
    }
    if (flight.ended) return;
    finish(out, reply, sent ? std::string() : httplib::to_string(error));
  }

  // Hands a message on, and notes what it settles.
  void deliver(const Outgoing& out, Reply& reply, std::string text) {
    auto message = parse_message(std::move(text));
    if (!message) return;
    using Kind = Message::Kind;
    const bool answer = message->kind() == Kind::result || message->kind() == Kind::error;
    if (answer && !out.id.empty() &&
        message->id().empty()) {  // an error that could not name its request
      reply.answered = true;
      return enqueue(make_error(out.id, parse_error_object(message->error())));
    }
    if (answer && message->id() == out.id) reply.answered = true;
    if (out.method == "initialize" && message->kind() == Kind::result) {
      auto result = parse_json(message->result());
      std::scoped_lock lock(mutex_);
      if (result && result->contains("protocolVersion") && (*result)["protocolVersion"].is_string())
        version_ = (*result)["protocolVersion"].get<std::string>();
      session_ = reply.session;
    }
    enqueue(message->text());
  }

  void finish(const Outgoing& out, Reply& reply, const std::string& network_error) {
    // 401, 403 and 5xx say nothing about the protocol (mcp-spec 1.6), whatever their body holds.
    const bool refused = reply.status == 401 || reply.status == 403 || reply.status >= 500;
    if (!reply.body.empty() && !reply.broken && !refused)
      deliver(out, reply, std::move(reply.body));
    if (out.id.empty() || reply.answered) return;
    std::string why;
    int code = kHttpFailed;
    if (reply.broken) {
      why = reply.broken->message;
    } else if (!network_error.empty()) {
      why = fmt::format("{}{}: {}", base_, path_, network_error);
    } else if (refused) {
      code = reply.status;
      why = fmt::format("{}{}: HTTP {}: {}", base_, path_, reply.status, reply.body.substr(0, 300));
    } else if (reply.status >= 400) {
      // Not what a peer of this era would say: lets the client try the other one.
      code = static_cast<int>(ErrorCode::invalid_request);
      why = fmt::format("{}{}: HTTP {}", base_, path_, reply.status);
    } else {
      why = fmt::format("{}{}: HTTP {} without an answer", base_, path_, reply.status);
    }
    enqueue(make_error(out.id, {static_cast<ErrorCode>(code), std::move(why)}));
  }

  void enqueue(std::string message) {
    std::scoped_lock lock(mutex_);
    messages_.push_back(std::move(message));
    arrived_.notify_one();
  }

  const std::string base_, path_;
  const HttpClientOptions options_;
  std::mutex mutex_;  // guards what follows
  std::condition_variable arrived_;
  std::deque<std::string> messages_;
  std::string version_, session_;
  std::set<Flight*> flights_;
  std::vector<std::unique_ptr<httplib::Client>> idle_;
  bool closed_ = false;
  ThreadPool pool_;  // last: its destructor waits for the posts, which use the rest
};

}  // namespace

Result<std::unique_ptr<Transport>> make_http_transport(const std::string& url,
                                                       HttpClientOptions options) {
  const size_t mark = url.find("://");
  const size_t slash = mark == url.npos ? url.npos : url.find('/', mark + 3);
  const std::string base = url.substr(0, slash);
#ifdef CPPHTTPLIB_OPENSSL_SUPPORT
  const bool https = true;
#else
  const bool https = false;
#endif
  const auto origin = parse_origin(base);
  if (!origin || (origin->scheme != "http" && !(https && origin->scheme == "https")))
    return fail(ErrorCode::invalid_params,
                fmt::format("\"{}\" is no URL of the form http{}://host[:port]/path",
                            url.substr(0, 200), https ? "(s)" : ""));
  return std::make_unique<HttpTransport>(base, slash == url.npos ? "/" : url.substr(slash),
                                         std::move(options));
}

}  // namespace gpumcp::mcp

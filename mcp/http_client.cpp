#include "mcp/http_client.h"

#include <fmt/format.h>

#include "mcp/http_client_transport.h"
#include "mcp/http_guards.h"
#include "mcp/json_members.h"
#include "mcp/protocol.h"

namespace gpumcp::mcp {

HttpTransport::HttpTransport(std::string base, std::string path, HttpClientOptions options)
    : base_(std::move(base)),
      path_(std::move(path)),
      options_(std::move(options)),
      pool_({.max_threads = options_.max_requests, .max_queued = 4096}) {}

HttpTransport::~HttpTransport() {
  close();
  {
    // Again and again: what was just about to connect had no socket to shut down.
    std::unique_lock lock(mutex_);
    while (!flights_.empty()) {
      for (Flight* flight : flights_) end_locked(*flight);
      changed_.wait_for(lock, std::chrono::milliseconds(20), [&] { return flights_.empty(); });
    }
  }
  pool_.stop();
  delete_session();
}

Result<std::optional<std::string>> HttpTransport::read() {
  std::unique_lock lock(mutex_);
  arrived_.wait(lock, [&] { return closed_ || !messages_.empty(); });
  if (messages_.empty()) return std::optional<std::string>();
  std::string message = std::move(messages_.front());
  messages_.pop_front();
  return message;
}

void HttpTransport::enqueue(std::string message) {
  std::scoped_lock lock(mutex_);
  messages_.push_back(std::move(message));
  arrived_.notify_one();
}

void HttpTransport::close() noexcept {
  std::scoped_lock lock(mutex_);
  closed_ = true;
  arrived_.notify_all();
  changed_.notify_all();
  for (Flight* flight : flights_) end_locked(*flight);
}

Result<void> HttpTransport::write(std::string_view text) {
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
    if (out->method == "initialize") {
      out->version.clear();
      version_.clear();  // the answer says which
      initialize_ = message->params();
      initialize_id_ = message->id();
    }
    modern = is_modern_version(out->version) && !out->version.empty();
  }
  if (!out->cancels.empty() && modern) {  // closing its stream is how a request is cancelled
    end_flight(out->cancels);
    return {};
  }
  if (out->method == "notifications/initialized") {  // must arrive before what follows it
    post(*out);
    open_stream();
    return {};
  }
  const bool taken = pool_.submit([this, out] {
    post(*out);
    if (!out->cancels.empty()) end_flight(out->cancels);
  });
  if (!taken) return fail(ErrorCode::io_error, "too many requests are waiting for the server");
  return {};
}

HttpTransport::Outgoing HttpTransport::read_outgoing(const Message& message) {
  Outgoing out{.text = message.text(), .method = message.method()};
  if (message.kind() == Message::Kind::request) out.id = message.id();
  std::string_view name, uri, task, meta, cancelled;
  (void)scan_json(message.params(), [&](std::string_view key, std::string_view value) {
    if (key == "name")
      name = value;
    else if (key == "uri")
      uri = value;
    else if (key == "taskId")
      task = value;
    else if (key == "_meta")
      meta = value;
    else if (key == "requestId")
      cancelled = value;
  });
  (void)scan_json(meta, [&](std::string_view key, std::string_view value) {
    if (key == kMetaProtocolVersion) out.version = string_of(value);
  });
  if (out.method == "tools/call" || out.method == "prompts/get")
    out.name = string_of(name);
  else if (out.method == "resources/read")
    out.name = string_of(uri);
  else if (out.method.starts_with("tasks/"))
    out.name = string_of(task);
  if (out.method == "notifications/cancelled")
    out.cancels = parse_request_id(cancelled).value_or(RequestId{});
  return out;
}

httplib::Headers HttpTransport::headers_of(const Outgoing& out, const std::string& session) {
  httplib::Headers headers = {{"Content-Type", "application/json"},
                              {"Accept", "application/json, text/event-stream"},
                              {"Accept-Encoding", "identity"}};
  for (auto& [name, value] : options_.headers) headers.emplace(name, value);
  if (!options_.token.empty()) headers.emplace("Authorization", "Bearer " + options_.token);
  if (!out.version.empty()) headers.emplace("MCP-Protocol-Version", out.version);
  if (is_modern_version(out.version)) {
    if (!out.method.empty()) headers.emplace("Mcp-Method", out.method);
    if (!out.name.empty()) headers.emplace("Mcp-Name", encode_header_value(out.name));
    if (out.method == "tools/call") add_param_headers(headers, out);
  } else if (!session.empty() && out.method != "initialize") {
    headers.emplace("Mcp-Session-Id", session);
  }
  return headers;
}

void HttpTransport::add_param_headers(httplib::Headers& headers, const Outgoing& out) {
  std::vector<ParamHeader> wanted;
  {
    std::scoped_lock lock(mutex_);
    if (auto it = param_headers_.find(out.name); it != param_headers_.end()) wanted = it->second;
  }
  if (wanted.empty()) return;
  auto message = parse_json(out.text);
  const Json* params = message ? member(*message, "params") : nullptr;
  const Json* arguments = params ? member(*params, "arguments") : nullptr;
  if (!arguments) return;
  for (const ParamHeader& header : wanted) {
    if (auto text = param_header_text(*arguments, header))
      headers.emplace("Mcp-Param-" + header.name, encode_header_value(*text));
  }
}

void HttpTransport::learn_param_headers(std::string_view result) {
  auto json = parse_json(result);
  const Json* tools = json ? member(*json, "tools") : nullptr;
  if (!tools || !tools->is_array()) return;
  for (const Json& tool : *tools) {
    const std::string name = text_of(tool, "name");
    const Json* schema = member(tool, "inputSchema");
    auto found = schema ? find_param_headers(*schema) : std::vector<ParamHeader>();
    std::scoped_lock lock(mutex_);
    if (found && !found->empty())
      param_headers_[name] = std::move(*found);
    else
      param_headers_.erase(name);
  }
}

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

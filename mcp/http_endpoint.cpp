// Guards, then the way to what answers: http_post.cpp, http_legacy.cpp, or a plain GET here.
#include "mcp/http_endpoint.h"

#include <fmt/format.h>

#include <algorithm>

#include "mcp/sealer.h"

namespace gpumcp::mcp {
namespace {

// What lets a page of this origin, which is allowed, read the answer (CORS); nothing for others.
HttpHeaders cors_headers(const HttpHead& head) {
  const auto origin = head.find("origin");
  if (!origin) return {};
  return {{"Access-Control-Allow-Origin", *origin},
          {"Access-Control-Expose-Headers", "Mcp-Session-Id, WWW-Authenticate"},
          {"Vary", "Origin"}};
}

bool is_preflight(const HttpHead& head) {
  return head.method == "OPTIONS" && head.find("origin") &&
         head.find("access-control-request-method");
}

}  // namespace

HttpEndpoint::HttpEndpoint(Server& server, const HttpOptions& options, HttpGuard guard)
    : server_(server), options_(options), guard_(std::move(guard)), sessions_(options.sessions) {}

std::string HttpEndpoint::principal_of(const HttpHead& head) {
  const auto authorization = head.find("authorization");
  return authorization ? sha256_hex(*authorization) : "";
}

void HttpEndpoint::refuse(HttpConnection& connection, int status, std::string_view why) {
  const std::string body = fmt::format("{}\n", why.empty() ? status_text(status) : why);
  connection.write(response_head(status, "text/plain; charset=utf-8", body.size(), false), body);
  connection.linger();
}

bool HttpEndpoint::reply(HttpConnection& connection, const HttpHead& head, HttpReply reply) const {
  if (reply.status != 403) {
    for (auto& header : cors_headers(head)) reply.headers.push_back(std::move(header));
  }
  // An unread body would be taken for the next request: an attacker's page could hide one in it.
  const bool keep = head.keep_alive && !head.has_body();
  const std::string response =
      response_head(reply.status, reply.content_type, reply.body.size(), keep, reply.headers);
  const bool sent =
      connection.write(response, head.method == "HEAD" ? std::string_view() : reply.body);
  if (sent && !keep) connection.linger();
  return sent && keep;
}

bool HttpEndpoint::reply_error(HttpConnection& connection, const HttpHead& head, int status,
                               const Error& error, HttpHeaders headers) const {
  return reply(connection, head,
               {status, "application/json", make_error({}, error), std::move(headers)});
}

bool HttpEndpoint::serve(HttpConnection& connection, const HttpHead& head) const {
  const auto host = parse_authority(head.value("host"));
  if (!host || !guard_.host_allowed(*host)) {
    return reply_error(connection, head, 403,
                       {ErrorCode::invalid_request,
                        fmt::format("Host \"{}\" is not this server; add names with --allow-host",
                                    head.value("host").substr(0, 80))});
  }
  if (auto origin = head.find("origin"); origin && !guard_.origin_allowed(*origin, *host)) {
    return reply_error(connection, head, 403,
                       {ErrorCode::invalid_request,
                        fmt::format("Origin \"{}\" is not allowed; add origins with --allow-origin",
                                    origin->substr(0, 80))});
  }
  if (is_preflight(head))  // comes without a token, and asks before the request proper
    return reply(
        connection, head,
        {.headers = {{"Access-Control-Allow-Methods", "GET, POST, DELETE"},
                     {"Access-Control-Allow-Headers", head.value("access-control-request-headers")},
                     {"Access-Control-Max-Age", "600"}}});
  const bool stream = !options_.sse_path.empty() && head.path == options_.sse_path;
  const bool messages = !options_.messages_path.empty() && head.path == options_.messages_path;
  if (head.path != options_.path && !stream && !messages) return get(connection, head);
  if (!guard_.token_accepted(head.value("authorization"))) {
    return reply_error(connection, head, 401,
                       {ErrorCode::invalid_request, "a bearer token is needed"},
                       {{"WWW-Authenticate", "Bearer realm=\"gpumcp\""}});
  }
  const bool gets = head.method == "GET", posts = head.method == "POST";
  if (stream && gets) return open_pair(connection, head);
  if (messages && posts) return post_pair(connection, head);
  if (!stream && !messages) {
    if (posts) return post(connection, head);
    if (head.find("mcp-session-id") || options_.require_session) {
      if (gets) return get_stream(connection, head);
      if (head.method == "DELETE") return end_session(connection, head);
    }
  }
  const std::string_view allowed = stream ? "GET" : messages ? "POST" : "POST, GET, DELETE";
  return reply_error(
      connection, head, 405,
      {ErrorCode::invalid_request,
       fmt::format("{} takes {}{}", head.path, allowed,
                   stream || messages ? "" : "; GET and DELETE with an Mcp-Session-Id")},
      {{"Allow", std::string(allowed)}});
}

bool HttpEndpoint::get(HttpConnection& connection, const HttpHead& head) const {
  const bool reads = head.method == "GET" || head.method == "HEAD";
  auto found =
      std::find_if(options_.get.begin(), options_.get.end(), [&](const HttpOptions::Get& one) {
        return one.path.ends_with('/') ? head.path.starts_with(one.path) : head.path == one.path;
      });
  const bool known =
      found != options_.get.end() || head.path == "/healthz" || head.path == "/readyz";
  if (!known) return reply(connection, head, {404, "text/plain; charset=utf-8", "no such path\n"});
  if (!reads)
    return reply(connection, head,
                 {405, "text/plain; charset=utf-8", "GET only\n", {{"Allow", "GET, HEAD"}}});
  if (found != options_.get.end()) {
    if (!found->open && !guard_.token_accepted(head.value("authorization")))
      return reply(connection, head,
                   {401,
                    "text/plain; charset=utf-8",
                    "a bearer token is needed\n",
                    {{"WWW-Authenticate", "Bearer realm=\"gpumcp\""}}});
    try {
      return reply(connection, head, found->handler(head));
    } catch (const std::exception& e) {
      return reply(connection, head,
                   {500, "text/plain; charset=utf-8", fmt::format("{}\n", e.what())});
    }
  }
  if (head.path == "/readyz" && server_.draining())
    return reply(connection, head, {503, "text/plain; charset=utf-8", "leaving\n"});
  if (head.path == "/healthz" || !options_.ready) return reply(connection, head, {.body = "ok\n"});
  const Json state = options_.ready();
  const bool ready = !state.is_object() || state.value("ready", true);
  return reply(connection, head, {ready ? 200 : 503, "application/json", to_text(state)});
}

std::shared_ptr<HttpExchange> HttpEndpoint::make_exchange(HttpConnection& connection,
                                                          const HttpHead& head, bool held) const {
  const Accepts accepts = held ? Accepts{false, true} : parse_accept(head.value("accept"));
  auto exchange = std::make_shared<HttpExchange>(
      connection,
      ExchangeOptions{
          .accepts = head.minor_version == 0 && accepts.json ? Accepts{true, false} : accepts,
          .keep_alive = head.keep_alive && (head.minor_version == 1 || accepts.json),
          .chunked = head.minor_version == 1,
          .stream_after = options_.stream_after,
          .comment_every = options_.comment_every,
          .drain = held ? std::chrono::milliseconds(0) : server_.options().drain,
          .held = held});
  exchange->add_headers(cors_headers(head));
  return exchange;
}

bool HttpEndpoint::read_json(HttpConnection& connection, const HttpHead& head,
                             std::string& body) const {
  std::string_view why;
  if (media_type(head.value("content-type")) != "application/json")
    why = "Content-Type must be application/json";
  else if (head.find("content-encoding").value_or("identity") != "identity")
    why = "the body must not be compressed";
  if (!why.empty()) {
    reply_error(connection, head, 415, {ErrorCode::invalid_request, std::string(why)});
    return false;
  }
  const int status = connection.read_body(head, body);
  if (status > 0)
    refuse(connection, status,
           status == 503 ? "the requests that are being served hold too many bytes together; retry"
                         : "");
  return status == 0;
}

}  // namespace gpumcp::mcp

// gpumcp serve: the front. An MCP server over stdio, HTTP or a Unix socket whose tools run in the
// worker.
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <fstream>

#include "cli/command.h"
#include "cli/sandbox_options.h"
#include "mcp/exit_watch.h"
#include "mcp/http_server.h"
#include "mcp/line_transport.h"
#include "sandbox/artifact_get.h"
#include "sandbox/metrics.h"

namespace gpumcp::cli {
namespace {

struct ServeOptions {
  SandboxOptions sandbox;
  bool stdio = false;
  std::string http, unix_path, token_file;
  std::vector<std::string> allowed_hosts, allowed_origins;
};

std::string read_token(const std::string& path) {
  std::ifstream file(path);
  std::string token;
  if (!file || !std::getline(file, token) || token.empty())
    throw std::invalid_argument(
        fmt::format("--token-file {}: its first line must hold the token", path));
  while (!token.empty() && (token.back() == '\r' || token.back() == ' ')) token.pop_back();
  return token;
}

int serve_unix(sandbox::FrontServer& front, const std::string& path) {
  auto listener = mcp::listen_unix(path);
  if (!listener) throw std::runtime_error(listener.error().message);
  mcp::ExitWatch watch([&] { front.server->shut_down(); });
  fmt::print(stderr, "listening on unix:{}\n", path);
  front.server->serve_listener(*listener);
  ::close(*listener);
  ::unlink(path.c_str());
  return kOk;
}

int serve_http(sandbox::FrontServer& front, const ServeOptions& options) {
  const size_t colon = options.http.rfind(':');
  int port = -1;
  if (colon != options.http.npos) {
    char* end = nullptr;
    port = static_cast<int>(std::strtol(options.http.c_str() + colon + 1, &end, 10));
    if (*end || end == options.http.c_str() + colon + 1) port = -1;
  }
  if (port < 0 || port > 65535)
    throw std::invalid_argument(fmt::format("--http {}: expected HOST:PORT", options.http));
  mcp::HttpOptions http;
  http.host = options.http.substr(0, colon);
  if (http.host.starts_with('[') && http.host.ends_with(']'))
    http.host = http.host.substr(1, http.host.size() - 2);
  http.port = port;
  http.allowed_hosts = options.allowed_hosts;
  http.allowed_origins = options.allowed_origins;
  if (!options.token_file.empty()) http.token = read_token(options.token_file);
  http.get.push_back(sandbox::artifact_get(*front.front));
  http.get.push_back(sandbox::metrics_get(*front.front));
  auto server = mcp::HttpServer::listen(*front.server, http);
  if (!server) throw std::runtime_error(server.error().message);
  mcp::ExitWatch watch([&] {
    front.server->shut_down();
    (*server)->stop();
  });
  fmt::print(stderr, "listening on {}\n", (*server)->url());
  (*server)->serve();
  watch.leave_soon();
  return kOk;
}

}  // namespace

Command serve_command() {
  return {
      "serve", "serve interfaces to agents: over stdio (default), HTTP or a Unix socket",
      "  gpumcp serve                                        embeddings over stdio, as a host "
      "starts it\n"
      "  gpumcp serve --http 127.0.0.1:8080                  for many agents: "
      "http://127.0.0.1:8080/mcp\n"
      "  gpumcp serve ./my_tools.so --model my/model=/data/my-model --idle 10\n"
      "  printf '%s\\n' '{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/list\"}' | gpumcp serve",
      [](CLI::App& app, const std::vector<std::string>&) {
        auto options = std::make_shared<ServeOptions>();
        options->sandbox.declare(app);
        auto* stdio =
            app.add_flag("--stdio", options->stdio, "serve stdin and stdout (the default)");
        auto* http =
            app.add_option("--http", options->http, "listen for Streamable HTTP; port 0 picks one")
                ->type_name("HOST:PORT");
        auto* unix_socket = app.add_option("--unix", options->unix_path, "listen on a Unix socket")
                                ->type_name("PATH");
        stdio->excludes(http)->excludes(unix_socket);
        http->excludes(unix_socket);
        app.add_option("--token-file", options->token_file,
                       "file with the bearer token that HTTP clients must send");
        app.add_option("--allow-host", options->allowed_hosts,
                       "a Host header to accept besides loopback");
        app.add_option("--allow-origin", options->allowed_origins,
                       "an Origin to accept besides loopback");
        return [options]() -> int {
          // Never destroyed: at the end a call may still wait for the worker, and the process just
          // goes.
          auto* front = new sandbox::FrontServer(changing_server_options(options->sandbox));
          int code = kOk;
          if (!options->http.empty())
            code = serve_http(*front, *options);
          else if (!options->unix_path.empty())
            code = serve_unix(*front, options->unix_path);
          else
            code = front->server->serve_stdio();
          fflush(nullptr);
          _exit(code);
        };
      }};
}

}  // namespace gpumcp::cli

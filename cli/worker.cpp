// gpumcp worker: what fronts start. With --stdio it is an MCP server of its own, for hosts that
// want no front.
#include "sandbox/worker.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/sandbox_options.h"

namespace gpumcp::cli {
namespace {

std::string read_all(int fd) {
  std::string text;
  char buffer[4096];
  ssize_t n = 0;
  while ((n = ::read(fd, buffer, sizeof buffer)) > 0) text.append(buffer, static_cast<size_t>(n));
  ::close(fd);
  return text;
}

}  // namespace

Command worker_command() {
  return {
      "worker", "run a sandbox's worker; fronts start it by themselves",
      "  gpumcp worker embeddings --stdio      interface and models in one process, over stdio\n"
      "  gpumcp status                         the workers that run now",
      [](CLI::App& app, const std::vector<std::string>&) {
        struct Options {
          SandboxOptions sandbox;
          int config_fd = -1, ready_fd = -1;
          bool stdio = false, config_stdin = false;
        };
        auto options = std::make_shared<Options>();
        options->sandbox.declare(app);
        app.add_flag("--stdio", options->stdio, "serve stdin and stdout, without a front");
        app.add_option("--config-fd", options->config_fd,
                       "a descriptor to read the whole configuration from, as a front passes it");
        app.add_flag("--config-stdin", options->config_stdin,
                     "read the configuration from the first line of stdin, then serve there, as a "
                     "provider's command does");
        app.add_option("--ready-fd", options->ready_fd,
                       "where to say that the worker can be reached");
        return [options]() -> int {
          if (spdlog::get_level() > spdlog::level::info) spdlog::set_level(spdlog::level::info);
          sandbox::WorkerOptions worker{.ready_fd = options->ready_fd,
                                        .config_stdin = options->config_stdin,
                                        .stdio = options->stdio};
          if (worker.config_stdin) return sandbox::run_worker(worker);
          if (worker.ready_fd >= 0) fcntl(worker.ready_fd, F_SETFD, FD_CLOEXEC);
          if (options->config_fd < 0) {
            const SandboxOptions resolved = options->sandbox.resolved();
            worker.config = resolved.config(resolved.manifests());
          } else {
            auto json = mcp::parse_json(read_all(options->config_fd));
            if (!json) throw std::invalid_argument(json.error().message);
            worker.config = sandbox::SandboxConfig::from_json(*json);
          }
          return sandbox::run_worker(worker);
        };
      }};
}

}  // namespace gpumcp::cli

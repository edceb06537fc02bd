// gpumcp stop: lets workers go, after the calls that run.
#include <fmt/format.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cli/command.h"
#include "sandbox/launcher.h"

namespace gpumcp::cli {

Command stop_command() {
  return {
      "stop", "stop the workers of this user, after the calls that run",
      "  gpumcp stop                 all of them\n"
      "  gpumcp stop 3fa81c0e92d4    the one of this sandbox, as gpumcp status names it",
      [](CLI::App& app, const std::vector<std::string>&) {
        auto key = std::make_shared<std::string>();
        auto wait_s = std::make_shared<double>(30);
        app.add_option("SANDBOX", *key, "only this sandbox's worker");
        app.add_option("--wait", *wait_s, "seconds to wait for it to leave")->capture_default_str();
        return [key, wait_s]() -> int {
          int stopped = 0, left = 0;
          for (auto& folder : sandbox::RuntimeFolder::list()) {
            if (!key->empty() && folder.key() != *key) continue;
            auto connection = folder.read_connection();
            if (!connection) continue;
            auto client =
                sandbox::connect_worker(*connection, {.connect_timeout = std::chrono::seconds(3)});
            if (!client) continue;
            const int process = static_cast<int>(syscall(SYS_pidfd_open, connection->pid, 0));
            (void)(*client)->request("gpumcp/stop", "", {.timeout = std::chrono::seconds(3)});
            pollfd fds{process, POLLIN, 0};
            const bool gone = process < 0 || poll(&fds, 1, static_cast<int>(*wait_s * 1000)) == 1;
            if (process >= 0) ::close(process);
            gone ? ++stopped : ++left;
            fmt::print("worker {} {}\n", connection->pid,
                       gone ? "stopped" : "still runs a call; it leaves after that");
          }
          if (stopped + left == 0)
            fmt::print("no worker runs{}\n", key->empty() ? "" : " for sandbox " + *key);
          return left || (stopped == 0 && !key->empty()) ? kFailed : kOk;
        };
      }};
}

}  // namespace gpumcp::cli

// gpumcp stop: lets workers go, after the calls that run.
#include <fmt/format.h>

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
            int pid = 0;
            const auto how = sandbox::stop_worker(
                folder, std::chrono::milliseconds(static_cast<int64_t>(*wait_s * 1000)), &pid);
            if (how == sandbox::Stopped::nobody) continue;
            const bool gone = how == sandbox::Stopped::gone;
            gone ? ++stopped : ++left;
            fmt::print("worker {} {}\n", pid,
                       gone ? "stopped" : "still runs a call; it leaves after that");
          }
          if (stopped + left == 0)
            fmt::print("no worker runs{}\n", key->empty() ? "" : " for sandbox " + *key);
          return left || (stopped == 0 && !key->empty()) ? kFailed : kOk;
        };
      }};
}

}  // namespace gpumcp::cli

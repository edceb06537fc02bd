// gpumcp isolated: runs a command with the rights that a worker says (sandbox/isolation.h).
#include <fmt/format.h>
#include <unistd.h>

#include "cli/command.h"
#include "sandbox/isolation.h"

namespace gpumcp::cli {

Command isolated_command() {
  return {.name = "isolated",
          .summary = "run a command isolated, as a worker does with interfaces",
          .examples = "  a worker whose sandbox says isolate starts interfaces by it",
          .declare = [](CLI::App& app, const std::vector<std::string>& behind) {
            app.group("");  // for workers, not for people
            auto spec = std::make_shared<std::string>();
            app.add_option("--spec", *spec, "what it may reach, as JSON")->required();
            return [spec, behind]() -> int {
              const auto json = mcp::parse_json(*spec);
              if (!json) throw std::invalid_argument(json.error().message);
              sandbox::run_isolated(*json, behind);
            };
          }};
}

}  // namespace gpumcp::cli

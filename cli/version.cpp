// gpumcp version.
#include <fmt/format.h>

#include "cli/command.h"
#include "mcp/plugin.h"
#include "mcp/protocol.h"

namespace gpumcp::cli {

Command version_command() {
  return {"version", "print the versions of the program and of the protocol", "  gpumcp version",
          [](CLI::App&, const std::vector<std::string>&) {
            return []() -> int {
              fmt::print("gpumcp {}\nMCP {}\ninterface build: {}\n", GPUMCP_VERSION,
                         fmt::join(mcp::kVersions, ", "), mcp::plugin_build());
              return kOk;
            };
          }};
}

}  // namespace gpumcp::cli

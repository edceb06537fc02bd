// gpumcp: parses the command line by the table below, sets up logging, runs one subcommand.
#include <fmt/format.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cstdlib>
#include <string_view>

#include "cli/command.h"

namespace {

// stdout is the wire or the result: logs go to stderr.
void set_up_logging() {
  auto logger = spdlog::stderr_color_mt("gpumcp");
  logger->set_pattern("%H:%M:%S.%e %^%l%$ %v");
  spdlog::set_default_logger(logger);
  const char* level = std::getenv("GPUMCP_LOG");
  const auto wanted = level && *level ? spdlog::level::from_str(level) : spdlog::level::warn;
  // An unknown name reads as "off", which nobody who sets the variable by mistake wants.
  const bool unknown = wanted == spdlog::level::off && std::string_view(level) != "off";
  spdlog::set_level(unknown ? spdlog::level::warn : wanted);
  if (unknown)
    spdlog::warn("GPUMCP_LOG={}: expected trace, debug, info, warning, error or off", level);
}

}  // namespace

int main(int argc, char** argv) {
  using namespace gpumcp::cli;
  set_up_logging();
  CLI::App app(
      "GPU functions as MCP tools: serves interfaces to AI agents; the GPU is held only while "
      "calls run.");
  app.name("gpumcp");
  app.require_subcommand(1);
  app.set_version_flag("--version", std::string("gpumcp ") + GPUMCP_VERSION,
                       "Print the version and exit");
  app.footer(
      "Start here:\n"
      "  gpumcp config claude-desktop        the entry that connects Claude Desktop\n"
      "  gpumcp call get_embedding text=hi   call a tool from the shell\n"
      "  gpumcp SUBCOMMAND --help            each with examples");
  const auto dashes = std::find_if(argv + 1, argv + argc,
                                   [](const char* word) { return std::string_view(word) == "--"; });
  const std::vector<std::string> behind(dashes == argv + argc ? dashes : dashes + 1, argv + argc);
  std::function<int()> run;
  std::vector<std::string_view> names;
  for (const Command& command :
       {serve_command(),     call_command(),     tools_command(),  embed_command(),
        tokenize_command(),  generate_command(), models_command(), pull_command(),
        status_command(),    stop_command(),     doctor_command(), config_command(),
        run_command(),       sandbox_command(),  expose_command(), new_command(),
        build_command(),     manifest_command(), worker_command(), isolated_command(),
        run_guard_command(), version_command()}) {
    names.push_back(command.name);
    CLI::App* sub = app.add_subcommand(command.name, command.summary);
    sub->footer(fmt::format("Examples:\n{}", command.examples));
    auto body = command.declare(*sub, behind);
    sub->callback([&run, body] { run = body; });
  }
  if (argc > 1 && argv[1][0] != '-' &&
      std::find(names.begin(), names.end(), std::string_view(argv[1])) == names.end()) {
    fmt::print(stderr, "gpumcp: unknown subcommand \"{}\"; gpumcp --help lists them\n", argv[1]);
    return kUsage;
  }
  try {
    app.parse(static_cast<int>(dashes - argv), argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? kOk : kUsage;
  }
  try {
    return run();
  } catch (const std::exception& e) {
    fmt::print(stderr, "gpumcp: {}\n", e.what());
    return kFailed;
  }
}

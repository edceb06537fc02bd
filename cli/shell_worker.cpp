#include "cli/shell_worker.h"

#include <fmt/format.h>
#include <signal.h>

#include "cli/command.h"
#include "cli/interrupt.h"
#include "sandbox/runtime_folder.h"

namespace gpumcp::cli {
namespace fs = std::filesystem;
namespace {

// Whether the worker of these options runs now.
bool runs(const SandboxOptions& options) {
  const auto connection =
      sandbox::RuntimeFolder::at(options.config(options.manifests()).key()).read_connection();
  return connection && connection->pid > 0 && kill(connection->pid, 0) == 0;
}

}  // namespace

void ShellOptions::declare(CLI::App& app) {
  app.add_option("--model", model,
                 "NAME (of the store: gpumcp models), FOLDER (with a /), or NAME=FOLDER")
      ->capture_default_str();
  sandbox.declare_worker(app);
}

ShellWorker::ShellWorker(const ShellOptions& options, std::vector<std::string> tools) {
  if (options.model.empty())
    throw std::invalid_argument("--model is missing: gpumcp models lists what is in the store");
  const size_t equals = options.model.find('=');
  model_ = options.model.substr(equals == options.model.npos ? 0 : equals + 1);
  const bool folder = equals != options.model.npos || model_.starts_with('/') ||
                      model_.starts_with("./") || model_.starts_with("../") || model_ == ".";
  if (folder) {
    std::error_code error;
    if (!fs::is_directory(model_, error))
      throw std::invalid_argument(
          fmt::format("--model {}: there is no folder {}", options.model, model_));
    model_ = fs::canonical(model_, error).string();
  }
  // Agents whose host was told --model have a worker of their own: if it runs, it may hold the
  // model already.
  SandboxOptions with_model = options.sandbox;
  with_model.models = {options.model};
  const bool named = !folder || equals != options.model.npos;
  TargetOptions target{.sandbox = named && runs(with_model) ? with_model : options.sandbox};
  target.sandbox.shell_tools = std::move(tools);
  target_ = std::make_unique<Target>(target);
}

mcp::Json ShellWorker::call(const std::string& tool, const mcp::Json& arguments,
                            std::stop_token stop) {
  const mcp::CallOptions options{.timeout = std::chrono::hours(24), .stop_token = stop};
  auto result = target_->client().call_tool(tool, arguments, options);
  if (stop.stop_requested()) throw ShellExit{kInterrupted, ""};
  if (!result)
    throw ShellExit{static_cast<int>(result.error().code) > 0 ? kUnreachable : kToolError,
                    result.error().message};
  if (!result->isError) return mcp::Json::parse(result->structuredContent);
  std::string text;
  for (const auto& block : result->content) {
    if (const auto* one = std::get_if<mcp::TextContent>(&block.value)) text += one->text;
  }
  throw ShellExit{kToolError, text};
}

int run_shell(const std::function<int()>& body) {
  try {
    return body();
  } catch (const ShellExit& exit) {
    if (!exit.message.empty()) fmt::print(stderr, "gpumcp: {}\n", exit.message);
    return exit.code;
  }
}

}  // namespace gpumcp::cli

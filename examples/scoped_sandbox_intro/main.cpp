// main.py in C++: an agent works here; the functions of interface.py, or of scoped_intro
// (interface.cpp), run on a GPU that is held only while they do.
//
//   build/release/bin/scoped_sandbox_intro --model google/gemma-2-9b=FOLDER
//   build/release/bin/scoped_sandbox_intro --interface scoped_intro --as mcp --agent codex --model
//   google/gemma-2-9b=FOLDER
#include <cstdio>
#include <filesystem>
#include <map>
#include <string>

#include "sandbox/agent_run.h"
#include "sandbox/scoped_sandbox.h"
#include "sandbox/workspace.h"

namespace fs = std::filesystem;
using namespace gpumcp;

constexpr const char* kModuleTask =
    "Two Python modules lie in your working folder: `helpers`, which runs here, and `model_tools`, "
    "which runs on a GPU. "
    "Write and run Python that calls model_tools.get_model_info() and "
    "model_tools.get_embedding(\"hello world\"), formats "
    "both with helpers.format_result(), and show me what it prints.";
constexpr const char* kToolTask =
    "With your tools get the model's information and the embedding of \"hello world\", and tell me "
    "both.";

int run(std::map<std::string, std::string> options) {
  const fs::path here = options["--here"];
  const std::string model = options["--model"], as = options["--as"];
  const size_t equals = model.find('=');

  sandbox::SandboxConfig config{.gpu = "A100"};
  config.models = {{.name = model.substr(0, equals),
                    .path = equals == model.npos ? "" : model.substr(equals + 1)}};
  config.python_version = options["--python"];
  if (config.python_version.empty())
    config.python_packages = {"torch", "transformers", "accelerate"};
  config.idle_s = std::stod(options["--idle"]);
  sandbox::ScopedSandbox scoped(config);
  scoped.start();
  auto served = scoped.serve(options["--interface"], {.name = "model_tools"});

  auto helpers = sandbox::Library::from_file(here / "helpers.py");
  auto model_tools =
      sandbox::Library::served(served.name, served.manifest, served.serve_command, as);
  if (!helpers || !model_tools)
    throw sandbox::SandboxError((helpers ? model_tools : helpers).error().message);
  auto session = sandbox::create_local_session({.libraries = {*helpers, *model_tools}},
                                               options["--workspace"], "intro");
  if (!session) throw sandbox::SandboxError(session.error().message);

  auto outcome =
      sandbox::run_agent(as == "mcp" ? kToolTask : kModuleTask, session->mcp_config,
                         {.provider = options["--agent"],
                          .workspace = session->folder,
                          .shell = session->needs_shell,
                          .price = 3.95},
                         [](const mcp::Json&, const std::vector<sandbox::AgentMessage>& messages) {
                           for (const auto& message : messages)
                             std::printf("%s\n", message.text.c_str());
                         });
  if (!outcome) throw sandbox::SandboxError(outcome.error().message);
  std::printf("session %s: %s\nledger\n%s", session->name.c_str(), outcome->result.c_str(),
              outcome->ledger.to_text().c_str());
  return outcome->failed ? 1 : 0;
}

int main(int argc, char** argv) {
  const std::string here = SCOPED_SANDBOX_INTRO;  // where interface.py lies
  std::map<std::string, std::string> options = {{"--model", "google/gemma-2-9b"},
                                                {"--interface", here + "/interface.py"},
                                                {"--as", "library"},
                                                {"--agent", "claude"},
                                                {"--python", ""},
                                                {"--idle", "60"},
                                                {"--workspace", "workspace"},
                                                {"--here", here}};
  for (int i = 1; i < argc; i += 2) {
    if (!options.contains(argv[i]) || i + 1 == argc) {
      std::fprintf(stderr, "usage: scoped_sandbox_intro");
      for (const auto& [name, value] : options)
        std::fprintf(stderr, " [%s %s]", name.c_str(), value.c_str());
      std::fprintf(stderr, "\n");
      return 1;
    }
    options[argv[i]] = argv[i + 1];
  }
  try {
    return run(options);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "scoped_sandbox_intro: %s\n", e.what());
    return 1;
  }
}

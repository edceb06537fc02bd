// gpumcp run: an agent program works on a prompt here, with interfaces as MCP tools or as Python
// modules; the GPU is held while they are called. Closes with the ledger.
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <iostream>
#include <iterator>
#include <thread>

#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/sandbox_options.h"
#include "sandbox/agent_run.h"
#include "sandbox/file_watch.h"
#include "sandbox/files.h"
#include "sandbox/workspace.h"

namespace gpumcp::cli {
namespace {

using sandbox::AgentMessage;

struct RunOptions {
  SandboxOptions sandbox;
  std::string prompt, prompt_file, agent = "claude", agent_model, as = "mcp", library_name, ledger;
  std::vector<std::string> libraries, files, mcp_configs, behind;
  double price = -1;
  bool json = false, quiet = false, shell = false, no_shell = false, keep = false, prepare = false;
  bool until_stdin_ends = false;
};

std::string read_prompt(const RunOptions& o) {
  if (!o.prompt.empty()) return o.prompt;
  std::string text;
  if (o.prompt_file == "-") {
    text.assign(std::istreambuf_iterator<char>(std::cin), {});
  } else {
    std::ifstream file(o.prompt_file, std::ios::binary);
    if (!file) throw std::runtime_error(fmt::format("cannot read {}", o.prompt_file));
    text.assign(std::istreambuf_iterator<char>(file), {});
  }
  if (text.find_first_not_of(" \t\r\n") == text.npos)
    throw std::invalid_argument("the prompt is empty");
  return text;
}

// One line, not too long for a terminal.
std::string line_of(const std::string& text, size_t limit = 200) {
  std::string out;
  for (const char c : text) out += c == '\n' || c == '\r' || c == '\t' ? ' ' : c;
  if (out.size() <= limit) return out;
  size_t cut = limit;
  while (cut > 0 && (static_cast<unsigned char>(out[cut]) & 0xC0) == 0x80) --cut;
  return out.substr(0, cut) + "…";
}

void print_message(FILE* to, const AgentMessage& message) {
  switch (message.kind) {
    case AgentMessage::Kind::system:
      fmt::print(to, "# {}\n", line_of(message.text));
      break;
    case AgentMessage::Kind::text:
      fmt::print(to, "{}{}\n", message.failed ? "! " : "", line_of(message.text, 2000));
      break;
    case AgentMessage::Kind::thinking:
      fmt::print(to, "… {}\n", line_of(message.text));
      break;
    case AgentMessage::Kind::tool_call:
      fmt::print(to, "→ {} {}\n", message.tool, line_of(message.text));
      break;
    case AgentMessage::Kind::tool_result:
      fmt::print(to, "← {}{}\n", message.failed ? "failed: " : "", line_of(message.text));
      break;
    case AgentMessage::Kind::result:
      if (message.failed) fmt::print(to, "! {}\n", line_of(message.text, 2000));
      break;
    case AgentMessage::Kind::other:
      break;
  }
  std::fflush(to);
}

sandbox::Workspace workspace_of(const RunOptions& o) {
  sandbox::Workspace out;
  auto take = [&](mcp::Result<sandbox::Library> library) {
    if (!library) throw std::invalid_argument(library.error().message);
    out.libraries.push_back(std::move(*library));
  };
  for (const std::string& path : o.libraries)
    take(std::filesystem::is_directory(path) ? sandbox::Library::from_directory(path)
                                             : sandbox::Library::from_file(path));
  for (const std::string& path : o.files) out.files.emplace_back(path);
  if (o.sandbox.interfaces.empty() && o.sandbox.config_file.empty()) return out;
  const SandboxOptions resolved = o.sandbox.resolved();
  auto manifests = resolved.manifests();
  resolved.config(manifests);  // a wrong option is told now, not to the agent
  manifests = resolved.shown_of(std::move(manifests));
  std::vector<std::string> serve = {sandbox::program_path().string(), "serve"};
  for (std::string& word : o.sandbox.words()) serve.push_back(std::move(word));
  if (o.as == "mcp") {
    // One server for all of them: they share a worker, and the agent's sight.
    sandbox::Manifest all = manifests.front();
    for (size_t i = 1; i < manifests.size(); ++i)
      all.tools.insert(all.tools.end(), manifests[i].tools.begin(), manifests[i].tools.end());
    take(sandbox::Library::served(o.library_name.empty() ? "gpumcp" : o.library_name,
                                  std::move(all), serve, "mcp"));
    return out;
  }
  if (manifests.size() > 1 && !o.library_name.empty())
    throw std::invalid_argument("--name: several interfaces keep their own names");
  for (sandbox::Manifest& manifest : manifests) {
    const std::string name = o.library_name.empty() ? manifest.name : o.library_name;
    take(sandbox::Library::served(name, std::move(manifest), serve, o.as));
  }
  return out;
}

// The end of stdin is then as Ctrl-C: the program that started this one is gone.
std::jthread watch_stdin() {
  return std::jthread([](std::stop_token stop) {
    while (!stop.stop_requested()) {
      pollfd fds{0, POLLIN, 0};
      char unread = 0;
      if (poll(&fds, 1, 200) != 1 || ::read(0, &unread, 1) > 0) continue;
      kill(getpid(), SIGINT);
      return;
    }
  });
}

int run_run(RunOptions& o) {
  if (!o.prepare && o.prompt.empty() == o.prompt_file.empty())
    throw std::invalid_argument(
        "give the prompt by --prompt TEXT or --prompt-file FILE (-: stdin)");
  const std::string prompt = o.prepare ? "" : read_prompt(o);
  const sandbox::Workspace workspace = workspace_of(o);
  std::filesystem::path folder = o.sandbox.workspace.empty()
                                     ? std::filesystem::current_path()
                                     : std::filesystem::path(o.sandbox.workspace);
  auto session = sandbox::create_local_session(workspace, folder, folder.filename().string());
  if (!session) throw std::runtime_error(session.error().message);
  mcp::Json config = session->mcp_config;
  for (const std::string& path : o.mcp_configs) {
    auto more = mcp::parse_json(sandbox::read_file(path));
    if (!more || !more->is_object())
      throw std::invalid_argument(fmt::format("--mcp-config {}: no JSON object", path));
    config["mcpServers"].update(more->contains("mcpServers") ? (*more)["mcpServers"] : *more);
  }
  if (o.prepare) {
    mcp::Json written = mcp::Json::array();
    for (auto& path : session->written) written.push_back(path.string());
    if (o.json)
      fmt::print("{}\n", mcp::to_text({{"name", session->name},
                                       {"folder", session->folder.string()},
                                       {"mcp_config", config},
                                       {"docs", session->docs},
                                       {"written", written}}));
    else
      for (auto& path : session->written) fmt::print("{}\n", path.string());
    return kOk;
  }
  const sandbox::AgentRunOptions options{
      .provider = o.agent,
      .workspace = session->folder,
      .model = o.agent_model,
      .shell = !o.no_shell && (o.shell || session->needs_shell),
      .arguments = o.behind,
      .inherit = o.sandbox.resolved().secrets,
      .price = o.price >= 0 ? std::optional(o.price) : std::nullopt,
      .keep_workers = o.keep,
      .ledger = o.ledger};
  const Interrupt interrupt;
  const std::jthread stdin_watch = o.until_stdin_ends ? watch_stdin() : std::jthread();
  // An interface that is edited under the agent: what was made of it is made anew.
  std::vector<sandbox::Manifest> served;
  for (const sandbox::Library& library : workspace.libraries) {
    if (library.kind == sandbox::Library::Kind::served) served.push_back(library.manifest);
  }
  const sandbox::FileWatch watch(
      sandbox::source_files(served), [&]() -> std::vector<std::filesystem::path> {
        try {
          auto again =
              sandbox::create_local_session(workspace_of(o), folder, folder.filename().string());
          if (!again) throw std::runtime_error(again.error().message);
        } catch (const std::exception& e) {
          fmt::print(stderr, "gpumcp: an interface changed, and is not taken so: {}\n", e.what());
        }
        return {};
      });
  auto outcome = sandbox::run_agent(
      prompt, config, options,
      [&](const mcp::Json& line, const std::vector<AgentMessage>& messages) {
        if (o.json) {
          fmt::print("{}\n", mcp::to_text(line));
          std::fflush(stdout);
        }
        if (o.quiet) return;
        for (const AgentMessage& message : messages)
          print_message(o.json ? stderr : stdout, message);
      },
      interrupt.token());
  if (!outcome) {
    fmt::print(stderr, "gpumcp: {}\n", outcome.error().message);
    return outcome.error().code == mcp::ErrorCode::io_error ? kUnreachable : kFailed;
  }
  if (outcome->failed && !outcome->interrupted)
    fmt::print(stderr, "gpumcp: {} failed (exit code {}){}{}\n", o.agent, outcome->exit_code,
               outcome->error.empty() ? "" : ": ", outcome->error);
  if (outcome->interrupted) fmt::print(stderr, "interrupted\n");
  if (o.json)
    fmt::print("{}\n", mcp::to_text({{"type", "gpumcp/ledger"},
                                     {"result", outcome->result},
                                     {"failed", outcome->failed},
                                     {"interrupted", outcome->interrupted},
                                     {"exit_code", outcome->exit_code},
                                     {"ledger", outcome->ledger.to_json()}}));
  if (!o.json || !o.quiet)
    fmt::print(o.json ? stderr : stdout, "ledger\n{}", outcome->ledger.to_text());
  return outcome->interrupted ? kInterrupted : outcome->failed ? kToolError : kOk;
}

}  // namespace

Command run_command() {
  return {
      "run", "let an agent (claude, codex or gemini) work on a prompt with GPU functions",
      "  gpumcp run embeddings --prompt 'Which of these two texts is nearer to …?'\n"
      "  gpumcp run interface.py --as library --library helpers.py --workspace ./work \\\n"
      "      --prompt-file task.md --price 3.95\n"
      "  gpumcp run interface.py --agent codex --prompt '…' --json      its own lines, raw\n"
      "  gpumcp run interface.py --prompt '…' -- --max-turns 20         more for the program\n"
      "The agent runs here with your login of that program. With --as mcp it has the tools "
      "alone;\nmodules and skills are used by running Python, so there it may run commands "
      "(--no-shell forbids).",
      [](CLI::App& app, const std::vector<std::string>& behind) {
        auto options = std::make_shared<RunOptions>();
        options->behind = behind;
        app.add_option("--prompt", options->prompt, "what the agent is to do")->type_name("TEXT");
        app.add_option("--prompt-file", options->prompt_file, "the same from a file; -: stdin")
            ->type_name("FILE");
        app.add_option("--agent", options->agent, "the program that runs the agent")
            ->check(CLI::IsMember(sandbox::agent_providers()))
            ->capture_default_str();
        app.add_option("--agent-model", options->agent_model, "the model that it asks");
        app.add_option("--as", options->as, "how the agent sees the interfaces")
            ->check(CLI::IsMember({"library", "mcp", "prompt", "skill"}))
            ->capture_default_str();
        app.add_option("--library", options->libraries,
                       "a Python module or package that runs here; repeatable")
            ->type_name("FILE|DIR");
        app.add_option("--file", options->files, "copied into the workspace; repeatable");
        app.add_option("--mcp-config", options->mcp_configs,
                       "more servers, as hosts write them ({\"mcpServers\": …}); repeatable")
            ->type_name("FILE");
        app.add_option("--price", options->price, "of an hour of the GPU, for the ledger")
            ->type_name("DOLLARS");
        app.add_option("--ledger", options->ledger, "keep the ledger's lines there")
            ->type_name("FILE");
        app.add_flag("--shell", options->shell, "let it run commands with --as mcp too");
        app.add_flag("--no-shell", options->no_shell, "never let it run commands");
        app.add_flag("--keep", options->keep,
                     "leave the worker to its idle time, instead of ending it with the run");
        app.add_flag("--json", options->json,
                     "print the program's own lines as they come, and the ledger as JSON");
        app.add_flag("--quiet", options->quiet, "no line for each message");
        app.add_flag("--prepare", options->prepare, "only lay out the workspace");
        app.add_flag("--until-stdin-ends", options->until_stdin_ends,
                     "end as after Ctrl-C when stdin does, for programs that start this one");
        options->sandbox.declare(app, true, &options->library_name);
        return [options] { return run_run(*options); };
      }};
}

Command run_guard_command() {
  return {.name = "run-guard",
          .summary = "end what a killed gpumcp run has left",
          .examples = "  gpumcp run starts it",
          .declare = [](CLI::App& app, const std::vector<std::string>&) {
            app.group("");  // for gpumcp run, not for people
            auto spec = std::make_shared<std::string>();
            app.add_option("--spec", *spec, "the run, as JSON")->required();
            return [spec]() -> int {
              // What ends the run's terminal or group is not meant for this one, yet.
              for (int signal : {SIGINT, SIGTERM, SIGHUP}) std::signal(signal, SIG_IGN);
              const auto json = mcp::parse_json(*spec);
              if (!json) throw std::invalid_argument(json.error().message);
              sandbox::guard_run(sandbox::AbandonedRun::from_json(*json), 0);
              return kOk;
            };
          }};
}

}  // namespace gpumcp::cli

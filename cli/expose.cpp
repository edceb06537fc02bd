// gpumcp expose: an interface's tools as a Python module, a prompt, a skill, or hosts' entries.
#include "sandbox/expose.h"

#include <fmt/format.h>
#include <poll.h>

#include <cerrno>

#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/sandbox_options.h"
#include "sandbox/file_watch.h"

namespace gpumcp::cli {
namespace {

struct ExposeCommandOptions {
  SandboxOptions sandbox;
  std::string interface, as, module_name, out, url, token_file;
  bool watch = false;
};

// Writes it all, and says from which files it was made.
std::vector<std::filesystem::path> write_exposed(ExposeCommandOptions& o) {
  o.sandbox.interfaces = {o.interface};
  const SandboxOptions resolved = o.sandbox.resolved();
  auto manifests = resolved.manifests();
  resolved.config(manifests);  // a wrong option is told now, not at the first call
  const sandbox::Manifest manifest = resolved.shown_of(std::move(manifests)).front();
  if (o.module_name.empty()) o.module_name = manifest.name;
  const auto out = std::filesystem::absolute(o.out).lexically_normal();
  sandbox::ExposeOptions options{.name = o.module_name, .out = out, .url = o.url};
  if (!o.token_file.empty()) options.token_file = std::filesystem::absolute(o.token_file).string();
  const std::string program = sandbox::program_path().string();
  const std::vector<std::string> words = o.sandbox.words();
  options.serve_command = {program, "serve"};
  options.serve_command.insert(options.serve_command.end(), words.begin(), words.end());
  options.expose_command = {program,  "expose",      "--as",  o.as,
                            "--name", o.module_name, "--out", out.string()};
  if (!o.url.empty()) options.expose_command.insert(options.expose_command.end(), {"--url", o.url});
  if (!options.token_file.empty())
    options.expose_command.insert(options.expose_command.end(),
                                  {"--token-file", options.token_file});
  options.expose_command.insert(options.expose_command.end(), words.begin(), words.end());
  auto written = o.as == "library"  ? sandbox::expose_library(manifest, options)
                 : o.as == "prompt" ? sandbox::expose_prompt(manifest, options)
                 : o.as == "skill"  ? sandbox::expose_skill(manifest, options)
                                    : sandbox::expose_mcp(manifest, options);
  if (!written) throw std::runtime_error(written.error().message);
  for (auto& path : *written) fmt::print("{}\n", path.string());
  std::fflush(stdout);
  return sandbox::source_files({manifest});
}

int run_expose(ExposeCommandOptions& o) {
  const auto files = write_exposed(o);
  if (!o.watch) return kOk;
  const Interrupt interrupt;
  sandbox::FileWatch watch(files, [&]() -> std::vector<std::filesystem::path> {
    try {
      return write_exposed(o);
    } catch (const std::exception& e) {
      fmt::print(stderr, "gpumcp: the interface changed, and cannot be made anew: {}\n", e.what());
      return {};
    }
  });
  fmt::print(stderr, "made anew whenever {} changes; Ctrl-C ends that\n", o.interface);
  pollfd fds{interrupt.fd(), POLLIN, 0};
  while (poll(&fds, 1, -1) < 0 && errno == EINTR) {
  }
  return kOk;
}

}  // namespace

Command expose_command() {
  return {
      "expose",
      "write an interface's functions as a Python module, a prompt, a skill or hosts' entries",
      "  gpumcp expose interface.py --as library --name model_tools --out ./workspace\n"
      "      then in Python: import model_tools; model_tools.get_embedding(\"hello world\")\n"
      "  gpumcp expose interface.py --as skill --name model_tools --out .claude/skills\n"
      "  gpumcp expose embeddings --as prompt --name embeddings --out .\n"
      "  gpumcp expose interface.py --as mcp --name gpu --out ./hosts     an entry for each host",
      [](CLI::App& app, const std::vector<std::string>&) {
        auto options = std::make_shared<ExposeCommandOptions>();
        app.add_option("INTERFACE", options->interface,
                       "a built-in name, an .so file or a Python file")
            ->required();
        app.add_option("--as", options->as, "what to make")
            ->required()
            ->check(CLI::IsMember({"library", "mcp", "prompt", "skill"}));
        app.add_option("--out", options->out, "the folder that it goes into")
            ->required()
            ->type_name("DIR");
        app.add_option("--url", options->url, "a server that serves them, instead of starting one");
        app.add_flag("--watch", options->watch,
                     "stay, and make it anew whenever the interface changes");
        app.add_option("--token-file", options->token_file, "file with the bearer token for --url");
        options->sandbox.declare(app, false, &options->module_name);
        return [options] { return run_expose(*options); };
      }};
}

}  // namespace gpumcp::cli

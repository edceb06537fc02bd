// gpumcp config: the entry that makes a host start this program.
#include <fmt/format.h>

#include "cli/command.h"
#include "cli/config_file.h"
#include "sandbox/host_config.h"
#include "sandbox/manifest.h"

namespace gpumcp::cli {

Command config_command() {
  return {"config",
          "print the entry that connects a host: claude-desktop, claude-code, codex, gemini, "
          "vscode, cursor",
          "  gpumcp config claude-desktop                      paste it into "
          "claude_desktop_config.json\n"
          "  gpumcp config claude-desktop --write              or have it put there\n"
          "  gpumcp config codex >> ~/.codex/config.toml\n"
          "  gpumcp config claude-code ./my_tools.so --idle 10 what follows the host goes to "
          "gpumcp serve",
          [](CLI::App& app, const std::vector<std::string>& behind) {
            struct Options {
              std::string host, name = "gpumcp";
              bool write = false;
              std::vector<std::string> args;
            };
            auto options = std::make_shared<Options>();
            options->args = behind;
            app.add_option("HOST", options->host, "the host")
                ->required()
                ->check(CLI::IsMember(sandbox::known_hosts()));
            app.add_option("--name", options->name,
                           "the server's name in the host: letters, digits, -")
                ->capture_default_str();
            app.add_flag("--write", options->write,
                         "put the entry into the host's file; what else is in it stays, the old "
                         "file is kept as FILE.bak-TIME");
            app.allow_extras();  // for gpumcp serve
            return [options, &app]() -> int {
              const bool good =
                  !options->name.empty() && options->name.size() <= 32 &&
                  options->name.find_first_not_of(
                      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") ==
                      std::string::npos;
              if (!good)
                throw std::invalid_argument(fmt::format(
                    "--name {}: hosts take up to 32 letters, digits and - (no _)", options->name));
              std::vector<std::string> args = {"serve"};
              for (const std::string& word : app.remaining()) {
                // A file is named by its full path: the host's working folder is not this one.
                const bool file = word.find('/') != word.npos && !word.starts_with("-") &&
                                  word.find('=') == word.npos;
                args.push_back(file ? std::filesystem::absolute(word).lexically_normal().string()
                                    : word);
              }
              args.insert(args.end(), options->args.begin(), options->args.end());
              auto entry = sandbox::host_config(options->host, options->name,
                                                sandbox::program_path().string(), args);
              if (options->write) {
                const Written written =
                    write_entry(options->host, entry->text, std::filesystem::current_path());
                fmt::print("{}{}\n", written.file.string(),
                           written.changed ? "" : " (it stood there already)");
                if (written.backup)
                  fmt::print(stderr, "the old file is kept as {}\n", written.backup->string());
                return kOk;
              }
              fmt::print("{}\n", entry->text);
              fmt::print(stderr, "goes into {}\n", entry->where);
              return kOk;
            };
          }};
}

}  // namespace gpumcp::cli

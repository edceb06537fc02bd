// Provider: where a worker runs and how it is started. Each but `local` is a command whose stdin
// and stdout lead to a `gpumcp worker --config-stdin`, wherever that runs; what machines there are
// is the business of ssh, Slurm, Docker, Kubernetes. A value; pure but for bring_program().
//
//   local                    a process of this machine
//   ssh:HOST                 HOST as ssh knows it (~/.ssh/config)
//   slurm[:SRUN OPTIONS]     a job step of srun, for as long as the worker is needed
//   command:TEMPLATE         words, quoted as in a shell but run by none; {worker} stands for the
//                            worker's own command line, {program} for this program, {key}, {gpu},
//                            {gpu_count} and {device} for what the sandbox is, {system_packages}
//                            for the packages that it needs (its worker looks for them itself)
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "mcp/result.h"
#include "sandbox/sandbox_config.h"

namespace gpumcp::sandbox {

struct Provider {
  enum class Kind { local, ssh, slurm, command };
  Kind kind = Kind::local;
  std::string host;                // ssh
  std::vector<std::string> words;  // slurm: options; command: the template

  // Error invalid_params says what was expected.
  static mcp::Result<Provider> parse(const std::string& text);

  // The command that starts the worker. `job`: a name for what is started, unique for this start.
  std::vector<std::string> start_command(const SandboxConfig& config, const std::string& job) const;
  // What ends a job that does not end by itself; nullopt: nothing does.
  std::optional<std::vector<std::string>> cancel_command(const std::string& job) const;
};

// Words as a shell splits them: blanks, '…', "…" and \x; nothing is expanded.
mcp::Result<std::vector<std::string>> split_words(const std::string& text);
// One word as a shell reads it back.
std::string shell_word(const std::string& word);
// The words of an ssh command line to a host, without what runs there.
std::vector<std::string> ssh_command(const std::string& host);
// Copies this program and what it needs for Python interfaces to the host, into the place where
// start_command() looks first.
mcp::Result<void> bring_program(const std::string& host);

}  // namespace gpumcp::sandbox

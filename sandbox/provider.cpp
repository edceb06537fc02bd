#include "sandbox/provider.h"

#include <fmt/format.h>

#include <cstdlib>
#include <fstream>

#include "sandbox/manifest.h"
#include "sandbox/subprocess.h"

namespace gpumcp::sandbox {
namespace fs = std::filesystem;
using mcp::ErrorCode;
using mcp::fail;
namespace {

constexpr const char* kExpected =
    "expected local, ssh:HOST, slurm[:SRUN OPTIONS] or command:TEMPLATE";

void replace_all(std::string& text, const std::string& what, const std::string& with) {
  for (size_t at = 0; (at = text.find(what, at)) != text.npos; at += with.size())
    text.replace(at, what.size(), with);
}

std::vector<std::string> worker_words() {
  return {program_path().string(), "worker", "--config-stdin"};
}

// Names this build by its bytes: another build has another folder on the host.
std::string program_hash() {
  static const std::string hash = [] {
    std::ifstream file(program_path(), std::ios::binary);
    const std::string bytes((std::istreambuf_iterator<char>(file)), {});
    return fmt::format("{:016x}", hash_bytes(bytes));
  }();
  return hash;
}

std::string brought_folder() {
  return fmt::format("${{GPUMCP_CACHE:-$HOME/.cache/gpumcp}}/programs/{}", program_hash());
}

// The gpus of a sandbox as Slurm asks for them.
std::optional<std::string> gres_of(const SandboxConfig& config) {
  if (config.gpu_count <= 0) return std::nullopt;
  if (config.gpu.empty()) return fmt::format("--gres=gpu:{}", config.gpu_count);
  return fmt::format("--gres=gpu:{}:{}", config.gpu, config.gpu_count);
}

}  // namespace

std::string shell_word(const std::string& word) {
  if (!word.empty() &&
      word.find_first_not_of(
          "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./=:,@%+-") == word.npos)
    return word;
  std::string out = word;
  replace_all(out, "'", "'\\''");
  return fmt::format("'{}'", out);
}

mcp::Result<std::vector<std::string>> split_words(const std::string& text) {
  std::vector<std::string> words;
  std::string word;
  bool inside = false;
  char quote = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quote) {
      if (c == quote)
        quote = 0;
      else if (c == '\\' && quote == '"' && i + 1 < text.size())
        word += text[++i];
      else
        word += c;
    } else if (c == '\'' || c == '"') {
      quote = c;
      inside = true;
    } else if (c == '\\' && i + 1 < text.size()) {
      word += text[++i];
      inside = true;
    } else if (c == ' ' || c == '\t' || c == '\n') {
      if (inside) words.push_back(std::exchange(word, {}));
      inside = false;
    } else {
      word += c;
      inside = true;
    }
  }
  if (quote)
    return fail(ErrorCode::invalid_params, fmt::format("a {} is not closed: {}", quote, text));
  if (inside) words.push_back(std::move(word));
  return words;
}

mcp::Result<Provider> Provider::parse(const std::string& text) {
  auto wrong = [&](std::string_view why) {
    return fail(ErrorCode::invalid_params, fmt::format("--provider {}: {}", text, why));
  };
  if (text == "local" || text.empty()) return Provider{};
  const size_t colon = text.find(':');
  const std::string kind = text.substr(0, colon);
  const std::string rest = colon == text.npos ? "" : text.substr(colon + 1);
  if (kind == "ssh") {
    // A host that begins with - would be an option of ssh.
    if (rest.empty() || rest.starts_with('-') || rest.find_first_of(" \t\n'\"") != rest.npos)
      return wrong("expected ssh:HOST, as in ssh:gpu1 or ssh:me@gpu1");
    return Provider{.kind = Kind::ssh, .host = rest};
  }
  if (kind != "slurm" && kind != "command") return wrong(kExpected);
  auto words = split_words(rest);
  if (!words) return wrong(words.error().message);
  if (kind == "slurm") return Provider{.kind = Kind::slurm, .words = std::move(*words)};
  if (words->empty())
    return wrong(
        "expected a command, as in command:docker run --rm -i --gpus 1 IMAGE gpumcp worker "
        "--config-stdin");
  return Provider{.kind = Kind::command, .words = std::move(*words)};
}

std::vector<std::string> ssh_command(const std::string& host) {
  return {"ssh", "-T",
          "-o",  "BatchMode=yes",
          "-o",  "ConnectTimeout=10",
          "-o",  "ServerAliveInterval=5",
          "-o",  "ServerAliveCountMax=3",
          "-o",  "LogLevel=ERROR",
          "-o",  "EscapeChar=none",
          "-o",  "ForwardAgent=no",
          "-o",  "RequestTTY=no",
          "--",  host};
}

std::vector<std::string> Provider::start_command(const SandboxConfig& config,
                                                 const std::string& job) const {
  if (kind == Kind::ssh) {
    auto out = ssh_command(host);
    // The user's shell there may be any: sh runs the line.
    // libtorch is looked for where gpumcp keeps it, for native interfaces that went along.
    const std::string line = fmt::format(
        "d=\"{}\"; if [ -x \"$d/bin/gpumcp\" ]; then "
        "for t in \"$GPUMCP_TORCH\" \"${{GPUMCP_CACHE:-$HOME/.cache/gpumcp}}\"/torch-*/torch; do "
        "[ -e \"$t/lib/libtorch_cpu.so\" ] && "
        "LD_LIBRARY_PATH=\"$t/lib${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}\" && break; done; "
        "LD_LIBRARY_PATH=\"$d/lib${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}\"; export "
        "LD_LIBRARY_PATH; "
        "exec \"$d/bin/gpumcp\" worker --config-stdin; "
        "fi; "
        "command -v gpumcp >/dev/null || exit 127; exec gpumcp worker --config-stdin",
        brought_folder());
    out.push_back(fmt::format("sh -c {}", shell_word(line)));
    return out;
  }
  if (kind == Kind::slurm) {
    std::vector<std::string> out = {"srun", "--job-name=" + job, "--ntasks=1", "--unbuffered",
                                    "--kill-on-bad-exit=1", "--chdir=/",
                                    // A minute before the job's time is over its worker is told,
                                    // and leaves in order.
                                    "--signal=USR1@60"};
    if (auto gres = gres_of(config)) out.push_back(*gres);
    out.insert(out.end(), words.begin(), words.end());
    const auto worker = worker_words();
    out.insert(out.end(), worker.begin(), worker.end());
    return out;
  }
  std::vector<std::string> out;
  for (const std::string& word : words) {
    if (word == "{worker}") {
      const auto worker = worker_words();
      out.insert(out.end(), worker.begin(), worker.end());
      continue;
    }
    if (word == "{system_packages}") {
      out.insert(out.end(), config.system_packages.begin(), config.system_packages.end());
      continue;
    }
    std::string filled = word;
    std::string line;
    for (auto& one : worker_words())
      line += fmt::format("{}{}", line.empty() ? "" : " ", shell_word(one));
    replace_all(filled, "{worker}", line);  // within a word: for a shell there
    replace_all(filled, "{system_packages}",
                fmt::format("{}", fmt::join(config.system_packages, " ")));
    replace_all(filled, "{program}", program_path().string());
    replace_all(filled, "{key}", config.key());
    replace_all(filled, "{gpu}", config.gpu);
    replace_all(filled, "{gpu_count}", std::to_string(config.gpu_count));
    replace_all(filled, "{device}", config.device);
    out.push_back(std::move(filled));
  }
  return out;
}

std::optional<std::vector<std::string>> Provider::cancel_command(const std::string& job) const {
  if (kind != Kind::slurm) return std::nullopt;
  return std::vector<std::string>{"scancel", "--quiet", "--name=" + job};
}

mcp::Result<void> bring_program(const std::string& host) {
  const fs::path prefix = program_path().parent_path().parent_path();
  std::vector<std::string> pack = {"tar",
                                   "-C",
                                   prefix.string(),
                                   "-czf",
                                   "-",
                                   "--exclude=__pycache__",
                                   "bin/gpumcp",
                                   "lib/gpumcp/hosts",
                                   "lib/gpumcp/python"};
  // For native interfaces, where this build has them; libtorch is too large to bring.
  for (const char* library :
       {"lib/libgpumcp_interface.so", "lib/libgpumcp_gpu_runtime.so", "lib/gpumcp/interfaces"}) {
    std::error_code ignored;
    if (fs::exists(prefix / library, ignored)) pack.emplace_back(library);
  }
  auto packed = run_captured(pack);
  if (!packed) return tl::unexpected(std::move(packed.error()));
  if (packed->code != 0)
    return fail(ErrorCode::io_error, fmt::format("cannot pack gpumcp: {}", packed->err));
  auto command = ssh_command(host);
  const std::string line = fmt::format(
      "d=\"{}\"; mkdir -p \"$d.new.$$\" && tar -xzf - -C \"$d.new.$$\" && {{ [ -d \"$d\" ] || mv "
      "\"$d.new.$$\" \"$d\"; }}; "
      "s=$?; rm -rf \"$d.new.$$\"; exit $s",
      brought_folder());
  command.push_back(fmt::format("sh -c {}", shell_word(line)));
  auto done = run_captured(command, {.input = packed->out});
  if (!done) return tl::unexpected(std::move(done.error()));
  if (done->code != 0)
    return fail(ErrorCode::io_error, fmt::format("gpumcp could not be copied to {}: {}", host,
                                                 done->err.empty() ? "ssh failed" : done->err));
  return {};
}

}  // namespace gpumcp::sandbox

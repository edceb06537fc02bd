// gpumcp generate: text from a language model, on stdout as it comes, through the same worker as
// the agents' calls.
#include <fmt/format.h>
#include <unistd.h>

#include <fstream>
#include <iostream>

#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/target.h"

namespace gpumcp::cli {
namespace {

struct GenerateCommandOptions {
  TargetOptions target;
  std::string prompt, system;
  bool chat = false, raw = false;
  int64_t max_new_tokens = 256;
  std::optional<double> temperature, top_p, min_p, repetition_penalty;
  std::optional<int64_t> top_k, seed;
  std::vector<std::string> stop;
  double timeout_s = 3600;
};

// Whether a server's tool has that parameter.
bool takes(const std::vector<mcp::Tool>& tools, const std::string& name, const char* parameter) {
  for (const mcp::Tool& tool : tools) {
    if (tool.name != name) continue;
    const auto properties = tool.inputSchema.find("properties");
    return properties != tool.inputSchema.end() && properties->contains(parameter);
  }
  return false;
}

mcp::Json arguments_of(const GenerateCommandOptions& o, const std::string& prompt, bool chat) {
  mcp::Json out = {{"max_new_tokens", o.max_new_tokens}};
  if (chat) {
    mcp::Json messages = mcp::Json::array();
    if (!o.system.empty()) messages.push_back({{"role", "system"}, {"content", o.system}});
    messages.push_back({{"role", "user"}, {"content", prompt}});
    out["messages"] = std::move(messages);
  } else {
    out["prompt"] = prompt;
  }
  auto set = [&](const char* name, const auto& value) {
    if (value) out[name] = *value;
  };
  set("temperature", o.temperature);
  set("top_k", o.top_k);
  set("top_p", o.top_p);
  set("min_p", o.min_p);
  set("repetition_penalty", o.repetition_penalty);
  set("seed", o.seed);
  if (!o.stop.empty()) out["stop"] = o.stop;
  return out;
}

std::string text_of(const mcp::CallToolResult& result) {
  for (const auto& block : result.content) {
    if (auto* text = std::get_if<mcp::TextContent>(&block.value)) return text->text;
  }
  return {};
}

// The tool of that name whose schema has that property: a server with several interfaces may show
// it as INTERFACE_NAME (sandbox/tool_names.h), and have others of that name. Itself if there is
// none, so that the server says so.
std::string find_tool(const std::vector<mcp::Tool>& tools, const std::string& name,
                      const mcp::Json mcp::Tool::* schema, const char* property) {
  for (const mcp::Tool& tool : tools) {
    const mcp::Json& one = tool.*schema;
    if (!one.is_object() || !one.contains("properties") || !one["properties"].contains(property))
      continue;
    if (tool.name == name || tool.name.ends_with("_" + name)) return tool.name;
  }
  return name;
}

int run_generate(GenerateCommandOptions o) {
  if (o.chat && o.raw) throw std::invalid_argument("--chat and --raw: give one of them");
  if (o.raw && !o.system.empty()) throw std::invalid_argument("--system goes with --chat");
  std::string prompt = o.prompt;
  if (prompt == "-") prompt.assign(std::istreambuf_iterator<char>(std::cin), {});
  if (prompt.empty()) throw std::invalid_argument("the prompt is empty");
  if (o.target.sandbox.interfaces.empty()) o.target.sandbox.interfaces = {"language_model"};

  // Ctrl-C cancels the call, so that the model stops for it; a second one ends at once.
  const Interrupt interrupt;
  const std::unique_ptr<Target> target = open_target(o.target);
  if (!target) return kUnreachable;
  mcp::CallOptions options;
  options.timeout = std::chrono::milliseconds(static_cast<int64_t>(o.timeout_s * 1000));
  options.stop_token = interrupt.token();
  auto failed = [&](const mcp::Error& error) {
    if (interrupt.raised()) return kInterrupted;
    fmt::print(stderr, "gpumcp: {}\n", error.message);
    return static_cast<int>(error.code) > 0 ? kUnreachable : kToolError;
  };

  const auto tools = target->client().list_tools();
  if (!tools) return failed(tools.error());
  bool chat = o.chat || !o.system.empty();
  if (!chat && !o.raw) {  // as the model was made
    const auto info = target->client().call_tool(
        find_tool(*tools, "get_model_info", &mcp::Tool::outputSchema, "chat"), mcp::Json::object(),
        options);
    if (!info) return failed(info.error());
    if (info->isError) {
      fmt::print(stderr, "gpumcp: {}\n", text_of(*info));
      return kToolError;
    }
    chat = mcp::Json::parse(info->structuredContent).value("chat", false);
  }
  std::string shown;
  options.on_progress = [&](const mcp::Json& progress) {
    const std::string piece = progress.value("message", "");
    shown += piece;
    std::fwrite(piece.data(), 1, piece.size(), stdout);
    std::fflush(stdout);
  };
  const std::string tool =
      find_tool(*tools, chat ? "chat" : "generate", &mcp::Tool::inputSchema, "max_new_tokens");
  mcp::Json arguments = arguments_of(o, prompt, chat);
  if (takes(*tools, tool, "output")) arguments["output"] = "inline";
  const auto result = target->client().call_tool(tool, arguments, options);
  const bool open_line = !shown.empty() && isatty(1);
  if (!result || result->isError) {
    if (open_line) fmt::print("\n");
    if (!result) return failed(result.error());
    if (interrupt.raised()) return kInterrupted;
    fmt::print(stderr, "gpumcp: {}\n", text_of(*result));
    return kToolError;
  }
  const mcp::Json value = mcp::Json::parse(result->structuredContent);
  const std::string text = value.value("text", "");
  // What did not come as progress; all of it from a server that sends none.
  if (text.starts_with(shown)) fmt::print("{}", text.substr(shown.size()));
  fmt::print("\n");
  std::string note =
      fmt::format("{} tokens, {}", value.value("new_tokens", 0), value.value("finish_reason", ""));
  if (value.contains("seed")) note += fmt::format(", seed {}", value["seed"].get<int64_t>());
  const auto usage = result->_meta.find("gpumcp/usage");
  if (usage != result->_meta.end() && usage->value("gpu_ms", 0.0) > 0) {
    note += fmt::format(", {:.1f} tokens/s",
                        value.value("new_tokens", 0.0) / usage->value("gpu_ms", 1.0) * 1000);
  }
  fmt::print(stderr, "{}\n", note);
  return kOk;
}

}  // namespace

Command generate_command() {
  return {
      "generate", "continue a prompt, or answer it, with a language model",
      "  gpumcp generate 'What is the capital of France?'\n"
      "  gpumcp generate --model Qwen/Qwen3-0.6B --max-new-tokens 200 --temperature 0.7 'Tell me a "
      "story.'\n"
      "  gpumcp generate --raw --temperature 0 'Once upon a time'\n"
      "  cat letter.txt | gpumcp generate --system 'Summarise in one sentence.' -\n"
      "Exit codes: 0 ok, 1 usage, 4 worker unreachable, 5 the model answered an error, 130 "
      "interrupted.",
      [](CLI::App& app, const std::vector<std::string>& behind) {
        auto options = std::make_shared<GenerateCommandOptions>();
        app.add_option("PROMPT", options->prompt, "the text; - reads stdin")->required();
        app.add_flag("--chat", options->chat,
                     "a question to answer, by the model's chat template (the default where there "
                     "is one)");
        app.add_flag("--raw", options->raw, "a text to go on from, as it stands");
        app.add_option("--system", options->system, "a system message in front; means --chat");
        app.add_option("--max-new-tokens", options->max_new_tokens, "at most so many tokens")
            ->check(CLI::Range(int64_t{1}, int64_t{100'000}))
            ->capture_default_str();
        app.add_option("--temperature", options->temperature,
                       "0 takes the likeliest token always; default: as the model's files say");
        app.add_option("--top-k", options->top_k, "sample from the k likeliest tokens; 0: all");
        app.add_option("--top-p", options->top_p,
                       "sample from the likeliest tokens of this probability in all");
        app.add_option("--min-p", options->min_p,
                       "sample from tokens this likely beside the likeliest");
        app.add_option("--repetition-penalty", options->repetition_penalty,
                       "above 1: say less again");
        app.add_option("--seed", options->seed, "the same seed gives the same text");
        app.add_option("--stop", options->stop, "stop before this string; may be given again");
        app.add_option("--timeout", options->timeout_s, "seconds to wait")->capture_default_str();
        options->target.declare(app, false);
        options->target.command = behind;
        return [options] { return run_generate(*options); };
      }};
}

}  // namespace gpumcp::cli

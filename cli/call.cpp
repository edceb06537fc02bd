// gpumcp call: one tool call from the shell. The result goes to stdout, what it cost to stderr.
#include <fmt/format.h>
#include <unistd.h>

#include <fstream>
#include <iostream>
#include <set>

#include "cli/command.h"
#include "cli/target.h"

namespace gpumcp::cli {
namespace {

struct CallCommandOptions {
  TargetOptions target;
  std::string tool, json;
  std::vector<std::string> words;  // KEY=VALUE…
  double timeout_s = 600;
  bool raw = false;
};

// VALUE as the tool's schema wants it: as it stands for strings, else as JSON.
mcp::Json parse_value(const std::string& key, const std::string& value, const mcp::Json& schema) {
  const mcp::Json property =
      schema.value("properties", mcp::Json::object()).value(key, mcp::Json::object());
  const std::string type = property.contains("type") && property["type"].is_string()
                               ? property["type"].get<std::string>()
                               : "";
  if (type == "string") return value;
  auto parsed = mcp::parse_json(value);
  return parsed ? *parsed : mcp::Json(value);  // the server says what is wrong with it
}

// "-" reads stdin, "@FILE" a file: an argument list has no room for large texts.
std::string read_json_option(const std::string& value) {
  if (value == "-") return std::string(std::istreambuf_iterator<char>(std::cin), {});
  if (!value.starts_with('@')) return value;
  std::ifstream file(value.substr(1), std::ios::binary);
  if (!file) throw std::invalid_argument(fmt::format("--json {}: cannot read the file", value));
  return std::string(std::istreambuf_iterator<char>(file), {});
}

void print_usage(const mcp::Json& meta) {
  auto usage = meta.find("gpumcp/usage");
  if (usage == meta.end() || !usage->is_object()) return;
  std::string line;
  if (usage->value("tokens", 0.0) == 0 && usage->value("gpu_ms", 0.0) == 0) return;  // nothing ran
  for (auto& [key, value] : usage->items())
    line += fmt::format(
        " {}={}", key,
        value.is_number_float() ? fmt::format("{:.4g}", value.get<double>()) : mcp::to_text(value));
  fmt::print(stderr, "usage:{}\n", line);
}

int run_call(const CallCommandOptions& o) {
  const std::unique_ptr<Target> target = open_target(o.target);
  if (!target) return kUnreachable;
  auto unreachable = [](const mcp::Error& error) {
    fmt::print(stderr, "gpumcp: {}\n", error.message);
    return static_cast<int>(error.code) > 0 ? kUnreachable : kToolError;
  };
  mcp::Json arguments = mcp::Json::object();
  if (!o.json.empty()) {
    auto parsed = mcp::parse_json(read_json_option(o.json));
    if (!parsed || !parsed->is_object())
      throw std::invalid_argument(
          fmt::format("--json: expected an object{}", parsed ? "" : ": " + parsed.error().message));
    arguments = std::move(*parsed);
  }
  if (!o.words.empty()) {
    auto tools = target->client().list_tools();
    if (!tools) return unreachable(tools.error());
    mcp::Json schema = mcp::Json::object();
    for (auto& tool : *tools) {
      if (tool.name == o.tool) schema = tool.inputSchema;
    }
    std::set<std::string> given;
    for (const std::string& word : o.words) {
      const size_t equals = word.find('=');
      if (equals == word.npos || equals == 0)
        throw std::invalid_argument(fmt::format("\"{}\": expected KEY=VALUE", word));
      if (!given.insert(word.substr(0, equals)).second ||
          arguments.contains(word.substr(0, equals)))
        throw std::invalid_argument(fmt::format("\"{}\" is given twice", word.substr(0, equals)));
      arguments[word.substr(0, equals)] =
          parse_value(word.substr(0, equals), word.substr(equals + 1), schema);
    }
  }
  mcp::CallOptions call_options;
  call_options.timeout = std::chrono::milliseconds(static_cast<int64_t>(o.timeout_s * 1000));
  const bool terminal = isatty(2);
  if (terminal)
    call_options.on_progress = [](const mcp::Json& p) {
      fmt::print(stderr, "\r\033[K{}{} {}", mcp::to_text(p.value("progress", mcp::Json(0))),
                 p.contains("total") ? "/" + mcp::to_text(p["total"]) : "", p.value("message", ""));
    };
  std::string raw;
  auto result = target->client().call_tool(o.tool, arguments, call_options, &raw);
  if (terminal) fmt::print(stderr, "\r\033[K");
  if (!result) return unreachable(result.error());
  if (o.raw) {
    fmt::print("{}\n", raw);
  } else if (!result->structuredContent.empty() && !result->isError) {
    fmt::print("{}\n", mcp::Json::parse(result->structuredContent).dump(isatty(1) ? 2 : -1));
  } else {
    for (auto& block : result->content) {
      // An error is no result: it must not end up in a variable or a pipe.
      FILE* to = result->isError ? stderr : stdout;
      if (auto* text = std::get_if<mcp::TextContent>(&block.value))
        fmt::print(to, "{}{}\n", result->isError ? "gpumcp: " : "", text->text);
      else if (auto* link = std::get_if<mcp::ResourceLink>(&block.value))
        fmt::print(to, "{}\n", link->uri);
    }
  }
  if (!result->_meta.is_null()) print_usage(result->_meta);
  return result->isError ? kToolError : kOk;
}

}  // namespace

Command call_command() {
  return {
      "call", "call a tool and print its result",
      "  gpumcp call get_embedding text='hello world'\n"
      "  gpumcp call similarity --json '{\"queries\":[\"cat\"],\"corpus\":[\"dog\",\"car\"]}'\n"
      "  gpumcp call add a=1 b=2 -- ./hello_tool          any stdio server\n"
      "  gpumcp call get_embedding text=hi --url http://127.0.0.1:8080/mcp\n"
      "Exit codes: 0 ok, 1 usage, 4 server unreachable, 5 the tool answered an error.",
      [](CLI::App& app, const std::vector<std::string>& behind) {
        auto options = std::make_shared<CallCommandOptions>();
        app.add_option("TOOL", options->tool, "the tool's name")->required();
        app.add_option("ARGUMENTS", options->words,
                       "KEY=VALUE…; behind --, the command of the server to call");
        app.add_option("--json", options->json,
                       "all arguments as one JSON object; - reads stdin, @FILE a file");
        app.add_option("--interface", options->target.sandbox.interfaces,
                       "interface to serve, as for gpumcp serve");
        app.add_option("--timeout", options->timeout_s, "seconds to wait")->capture_default_str();
        app.add_flag("--raw", options->raw, "print the whole result as it came");
        options->target.declare(app, false);
        options->target.command = behind;
        return [options] { return run_call(*options); };
      }};
}

}  // namespace gpumcp::cli

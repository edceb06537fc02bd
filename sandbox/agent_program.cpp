#include "sandbox/agent_program.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>

namespace gpumcp::sandbox {
namespace fs = std::filesystem;
using mcp::ErrorCode;
using mcp::fail;
using mcp::Json;
using Kind = AgentMessage::Kind;
namespace {

struct Known {
  const char* provider;
  const char* package;  // on npm
};
constexpr Known kKnown[] = {{"claude", "@anthropic-ai/claude-code"},
                            {"codex", "@openai/codex"},
                            {"gemini", "@google/gemini-cli"}};

const Json* at(const Json& json, const char* key) {
  if (!json.is_object()) return nullptr;
  const auto it = json.find(key);
  return it == json.end() ? nullptr : &*it;
}

std::string text_at(const Json& json, const char* key) {
  const Json* value = at(json, key);
  if (!value || value->is_null()) return {};
  return value->is_string() ? value->get<std::string>() : mcp::to_text(*value);
}

bool true_at(const Json& json, const char* key) {
  const Json* value = at(json, key);
  return value && value->is_boolean() && value->get<bool>();
}

// Content as the APIs have it: a text, or a list of parts.
std::string text_of_content(const Json& content) {
  if (content.is_string()) return content.get<std::string>();
  std::string out;
  if (content.is_array()) {
    for (const Json& part : content) {
      const std::string text = part.is_string() ? part.get<std::string>() : text_at(part, "text");
      out += (out.empty() || text.empty() ? "" : "\n") + text;
    }
  } else if (const Json* inner = at(content, "content")) {
    return text_of_content(*inner);
  } else if (!content.is_null()) {
    return mcp::to_text(content);
  }
  return out;
}

std::vector<AgentMessage> read_claude(const Json& line) {
  const std::string type = text_at(line, "type");
  std::vector<AgentMessage> out;
  if (type == "system" && text_at(line, "subtype") == "init") {
    std::string text = text_at(line, "model");
    if (const Json* servers = at(line, "mcp_servers"); servers && servers->is_array()) {
      for (const Json& server : *servers)
        text += fmt::format(", {}: {}", text_at(server, "name"), text_at(server, "status"));
    }
    out.push_back({.kind = Kind::system, .text = text});
  } else if (type == "assistant" || type == "user") {
    const Json* message = at(line, "message");
    const Json* content = message ? at(*message, "content") : nullptr;
    if (!content || !content->is_array()) return out;
    for (const Json& part : *content) {
      const std::string kind = text_at(part, "type");
      if (kind == "text" && type == "assistant") {
        out.push_back({.kind = Kind::text, .text = text_at(part, "text")});
      } else if (kind == "thinking") {
        out.push_back({.kind = Kind::thinking, .text = text_at(part, "thinking")});
      } else if (kind == "tool_use") {
        out.push_back({.kind = Kind::tool_call,
                       .text = text_at(part, "input"),
                       .tool = text_at(part, "name")});
      } else if (kind == "tool_result") {
        const Json* result = at(part, "content");
        out.push_back({.kind = Kind::tool_result,
                       .text = result ? text_of_content(*result) : "",
                       .failed = true_at(part, "is_error")});
      }
    }
  } else if (type == "result") {
    std::string text = text_at(line, "result");
    if (text.empty()) text = text_at(line, "subtype");
    out.push_back(
        {.kind = Kind::result, .text = std::move(text), .failed = true_at(line, "is_error")});
  }
  return out;
}

std::vector<AgentMessage> read_codex(const Json& line) {
  const std::string type = text_at(line, "type");
  if (type == "thread.started")
    return {{.kind = Kind::system, .text = "thread " + text_at(line, "thread_id")}};
  if (type == "turn.completed") return {{.kind = Kind::result}};
  if (type == "turn.failed") {
    const Json* error = at(line, "error");
    return {{.kind = Kind::result,
             .text = error ? text_at(*error, "message") : "the turn failed",
             .failed = true}};
  }
  if (type == "error")
    return {{.kind = Kind::text, .text = text_at(line, "message"), .failed = true}};
  const Json* item = at(line, "item");
  if (!item) return {};
  const std::string kind = text_at(*item, "type");
  const bool started = type == "item.started", completed = type == "item.completed";
  if (kind == "agent_message" && completed)
    return {{.kind = Kind::text, .text = text_at(*item, "text")}};
  if (kind == "reasoning" && completed)
    return {{.kind = Kind::thinking, .text = text_at(*item, "text")}};
  if (kind == "error" && completed)
    return {{.kind = Kind::text, .text = text_at(*item, "message"), .failed = true}};
  if (kind == "mcp_tool_call") {
    if (started)
      return {{.kind = Kind::tool_call,
               .text = text_at(*item, "arguments"),
               .tool = text_at(*item, "server") + "." + text_at(*item, "tool")}};
    if (!completed) return {};
    const Json* result = at(*item, "result");
    const Json* error = at(*item, "error");
    const bool failed = text_at(*item, "status") == "failed" || (error && !error->is_null());
    std::string text = result ? text_of_content(*result) : "";
    if (text.empty() && error) text = text_at(*error, "message");
    return {{.kind = Kind::tool_result, .text = std::move(text), .failed = failed}};
  }
  if (kind == "command_execution") {
    if (started)
      return {{.kind = Kind::tool_call, .text = text_at(*item, "command"), .tool = "shell"}};
    if (!completed) return {};
    const std::string code = text_at(*item, "exit_code");
    return {{.kind = Kind::tool_result,
             .text = text_at(*item, "aggregated_output"),
             .failed = !code.empty() && code != "0"}};
  }
  if (!completed) return {};
  return {{.kind = Kind::other, .text = mcp::to_text(*item), .tool = kind}};
}

std::vector<AgentMessage> read_gemini(const Json& line) {
  const std::string type = text_at(line, "type");
  if (type == "init") return {{.kind = Kind::system, .text = text_at(line, "model")}};
  if (type == "message") {
    if (text_at(line, "role") != "assistant") return {};
    return {{.kind = Kind::text, .text = text_at(line, "content")}};
  }
  if (type == "tool_use")
    return {{.kind = Kind::tool_call,
             .text = text_at(line, "parameters"),
             .tool = text_at(line, "tool_name")}};
  if (type == "tool_result") {
    std::string text = text_at(line, "output");
    if (const Json* error = at(line, "error"); text.empty() && error)
      text = text_at(*error, "message");
    return {{.kind = Kind::tool_result,
             .text = std::move(text),
             .failed = text_at(line, "status") == "error"}};
  }
  if (type == "error")
    return {{.kind = Kind::text, .text = text_at(line, "message"), .failed = true}};
  if (type == "result") {
    const Json* error = at(line, "error");
    return {{.kind = Kind::result,
             .text = error ? text_at(*error, "message") : "",
             .failed = text_at(line, "status") == "error"}};
  }
  return {};
}

mcp::Result<void> write_json(const fs::path& path, const Json& json) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << json.dump(1) << "\n";
  file.close();
  if (!file) return fail(ErrorCode::io_error, fmt::format("cannot write {}", path.string()));
  return {};
}

// Variables go by name, as each program expands them: values would lie in files and command lines.
mcp::Result<AgentCommand> prepare_claude(const AgentSetup& setup, const fs::path& folder) {
  Json servers = Json::object();
  std::string allowed;
  for (const AgentServer& server : setup.servers) {
    Json entry;
    if (server.url.empty()) {
      Json env = server.env;
      for (const std::string& name : setup.inherit) {
        if (!env.contains(name)) env[name] = "${" + name + "}";
      }
      entry = {{"type", "stdio"}, {"command", server.command}, {"args", server.args}, {"env", env}};
    } else {
      entry = {{"type", "http"}, {"url", server.url}, {"headers", server.headers}};
    }
    // Its tools are what the run is for: in its sight at once, not behind a search.
    entry["alwaysLoad"] = true;
    servers[server.name] = std::move(entry);
    allowed += (allowed.empty() ? "mcp__" : ",mcp__") + server.name;
  }
  const fs::path config = folder / "mcp.json";
  if (auto ok = write_json(config, {{"mcpServers", std::move(servers)}}); !ok)
    return tl::unexpected(std::move(ok.error()));
  if (setup.shell) allowed += ",Bash,Read,Write,Edit,Glob,Grep,NotebookEdit,Task,Skill";
  AgentCommand out;
  out.arguments = {"-p",           "--output-format", "stream-json",        "--verbose",
                   "--mcp-config", config.string(),   "--strict-mcp-config"};
  if (allowed.starts_with(',')) allowed.erase(0, 1);
  if (!allowed.empty()) out.arguments.insert(out.arguments.end(), {"--allowedTools", allowed});
  if (!setup.model.empty()) out.arguments.insert(out.arguments.end(), {"--model", setup.model});
  return out;
}

std::string toml_string(const std::string& text) { return mcp::to_text(Json(text)); }

std::string toml_list(const std::vector<std::string>& texts) {
  std::string out = "[";
  for (const std::string& text : texts) out += (out.size() > 1 ? ", " : "") + toml_string(text);
  return out + "]";
}

std::string toml_table(const std::map<std::string, std::string>& values) {
  std::string out = "{";
  for (const auto& [key, value] : values)
    out +=
        fmt::format("{}{} = {}", out.size() > 1 ? ", " : "", toml_string(key), toml_string(value));
  return out + "}";
}

mcp::Result<AgentCommand> prepare_codex(const AgentSetup& setup) {
  AgentCommand out;
  // Its shell sandbox lets no socket be opened, and so no library mode work.
  out.arguments = {"exec", "--json", "--skip-git-repo-check", "--sandbox",
                   setup.shell ? "danger-full-access" : "read-only"};
  auto set = [&](const std::string& key, const std::string& value) {
    out.arguments.insert(out.arguments.end(), {"-c", key + "=" + value});
  };
  for (const AgentServer& server : setup.servers) {
    const std::string key = "mcp_servers." + server.name + ".";
    if (server.url.empty()) {
      set(key + "command", toml_string(server.command));
      set(key + "args", toml_list(server.args));
      if (!server.env.empty()) set(key + "env", toml_table(server.env));
      // It clears the environment of servers, but for what is named.
      if (!setup.inherit.empty()) set(key + "env_vars", toml_list(setup.inherit));
    } else {
      set(key + "url", toml_string(server.url));
      if (!server.headers.empty()) set(key + "http_headers", toml_table(server.headers));
    }
    // A first call may load a model; and nobody is there to ask.
    set(key + "tool_timeout_sec", "3600");
    set(key + "startup_timeout_sec", "60");
    set(key + "default_tools_approval_mode", "\"approve\"");
  }
  if (!setup.model.empty()) out.arguments.insert(out.arguments.end(), {"--model", setup.model});
  return out;
}

mcp::Result<AgentCommand> prepare_gemini(const AgentSetup& setup, const fs::path& folder) {
  Json servers = Json::object();
  for (const AgentServer& server : setup.servers) {
    Json entry;
    if (server.url.empty()) {
      Json env = server.env;
      // It leaves out variables that look like secrets, but for what is named.
      for (const std::string& name : setup.inherit) {
        if (!env.contains(name)) env[name] = "$" + name;
      }
      entry = {{"command", server.command}, {"args", server.args}, {"env", env}};
    } else {
      entry = {{"httpUrl", server.url}, {"headers", server.headers}};
    }
    entry["trust"] = true;
    entry["timeout"] = 3600000;
    servers[server.name] = std::move(entry);
  }
  const fs::path settings = folder / "gemini.json";
  const Json json = {{"mcpServers", std::move(servers)},
                     {"context", {{"fileName", {"AGENTS.md", "GEMINI.md"}}}},
                     {"security", {{"folderTrust", {{"enabled", false}}}}}};
  if (auto ok = write_json(settings, json); !ok) return tl::unexpected(std::move(ok.error()));
  AgentCommand out;
  out.arguments = {"--output-format", "stream-json", "--approval-mode",
                   setup.shell ? "yolo" : "default"};
  if (!setup.model.empty()) out.arguments.insert(out.arguments.end(), {"--model", setup.model});
  out.env["GEMINI_CLI_SYSTEM_SETTINGS_PATH"] = settings.string();
  return out;
}

mcp::Result<AgentServer> parse_server(const std::string& name, const Json& entry) {
  auto broken = [&](std::string_view what) {
    return fail(ErrorCode::invalid_params, fmt::format("mcpServers.{}: {}", name, what));
  };
  if (name.empty() || name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                             "0123456789_-") != name.npos)
    return broken("a server's name is made of letters, digits, _ and -");
  if (!entry.is_object()) return broken("expected an object");
  AgentServer out{.name = name, .command = text_at(entry, "command"), .url = text_at(entry, "url")};
  if (out.url.empty()) out.url = text_at(entry, "httpUrl");
  if (out.command.empty() == out.url.empty()) return broken("expected a command, or a url");
  if (const Json* args = at(entry, "args")) {
    if (!args->is_array()) return broken("args: expected a list of texts");
    for (const Json& one : *args) {
      if (!one.is_string()) return broken("args: expected a list of texts");
      out.args.push_back(one.get<std::string>());
    }
  }
  for (auto [key, into] : {std::pair{"env", &out.env}, {"headers", &out.headers}}) {
    const Json* values = at(entry, key);
    if (!values) continue;
    if (!values->is_object()) return broken(fmt::format("{}: expected an object of texts", key));
    for (const auto& [variable, value] : values->items()) {
      if (!value.is_string()) return broken(fmt::format("{}.{}: expected a text", key, variable));
      (*into)[variable] = value.get<std::string>();
    }
  }
  return out;
}

}  // namespace

std::string_view kind_name(Kind kind) {
  switch (kind) {
    case Kind::system:
      return "system";
    case Kind::text:
      return "text";
    case Kind::thinking:
      return "thinking";
    case Kind::tool_call:
      return "tool_call";
    case Kind::tool_result:
      return "tool_result";
    case Kind::result:
      return "result";
    case Kind::other:
      return "other";
  }
  return "other";
}

mcp::Result<std::vector<AgentServer>> parse_mcp_config(const Json& config) {
  std::vector<AgentServer> out;
  if (config.is_null()) return out;
  const Json* servers = at(config, "mcpServers");
  if (!servers) servers = &config;
  if (!servers->is_object())
    return fail(ErrorCode::invalid_params,
                "the MCP configuration: expected {\"mcpServers\": {NAME: {…}}}");
  for (const auto& [name, entry] : servers->items()) {
    auto server = parse_server(name, entry);
    if (!server) return tl::unexpected(std::move(server.error()));
    out.push_back(std::move(*server));
  }
  return out;
}

std::vector<std::string> agent_providers() {
  std::vector<std::string> out;
  for (const Known& one : kKnown) out.emplace_back(one.provider);
  return out;
}

mcp::Result<fs::path> find_agent_program(const std::string& provider) {
  const auto known = std::find_if(std::begin(kKnown), std::end(kKnown),
                                  [&](const Known& one) { return provider == one.provider; });
  if (known == std::end(kKnown))
    return fail(ErrorCode::invalid_params,
                fmt::format("agent \"{}\" is unknown; there are: {}", provider,
                            fmt::join(agent_providers(), ", ")));
  const char* path = std::getenv("PATH");
  std::string_view left = path ? path : "";
  while (!left.empty()) {
    const size_t colon = left.find(':');
    const fs::path candidate = fs::path(left.substr(0, colon)) / provider;
    std::error_code ignored;
    if (access(candidate.c_str(), X_OK) == 0 && fs::is_regular_file(candidate, ignored))
      return candidate;
    left = colon == left.npos ? std::string_view{} : left.substr(colon + 1);
  }
  return fail(ErrorCode::io_error,
              fmt::format("there is no {0} on PATH. Install it: npm install -g {1}; then start "
                          "`{0}` once and log in",
                          provider, known->package));
}

mcp::Result<AgentCommand> prepare_agent(const AgentSetup& setup, const fs::path& folder) {
  auto out = setup.provider == "codex"    ? prepare_codex(setup)
             : setup.provider == "gemini" ? prepare_gemini(setup, folder)
                                          : prepare_claude(setup, folder);
  if (out)
    out->arguments.insert(out->arguments.end(), setup.arguments.begin(), setup.arguments.end());
  return out;
}

std::vector<AgentMessage> read_agent_line(const std::string& provider, const Json& line) {
  if (provider == "codex") return read_codex(line);
  if (provider == "gemini") return read_gemini(line);
  return read_claude(line);
}

}  // namespace gpumcp::sandbox

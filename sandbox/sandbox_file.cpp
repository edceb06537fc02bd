#include "sandbox/sandbox_file.h"

#include <fmt/format.h>

#include <toml++/toml.h>
#include <set>

#include "sandbox/system_packages.h"

namespace gpumcp::sandbox {
namespace fs = std::filesystem;
namespace {

// What ends the reading; read() turns it into an Error.
struct Wrong {
  std::string message;
};

class Reader {
 public:
  explicit Reader(const fs::path& path)
      : shown_(path.filename().string()), folder_(fs::absolute(path).parent_path()) {}

  [[noreturn]] void wrong(const toml::node* at, const std::string& what) const {
    throw Wrong{at ? fmt::format("{}:{}: {}", shown_, at->source().begin.line, what)
                   : fmt::format("{}: {}", shown_, what)};
  }

  // A path of the file, from where the file lies.
  std::string full(const std::string& path) const {
    std::string out = (folder_ / path).lexically_normal().string();
    if (out.size() > 1 && out.ends_with('/')) out.pop_back();
    return out;
  }

  void check_keys(const toml::table& table, const std::set<std::string_view>& known) const {
    for (auto&& [key, node] : table) {
      if (known.contains(key.str())) continue;
      std::string list;
      for (auto one : known) list += fmt::format("{}{}", list.empty() ? "" : ", ", one);
      wrong(&node, fmt::format("unknown key \"{}\"; known here: {}", key.str(), list));
    }
  }

  std::optional<std::string> text(const toml::table& table, const char* key) const {
    const toml::node* node = table.get(key);
    if (!node) return std::nullopt;
    if (auto value = node->value_exact<std::string>()) return value;
    wrong(node, fmt::format("{}: expected a text", key));
  }
  std::string needed(const toml::table& table, const char* key) const {
    if (auto value = text(table, key); value && !value->empty()) return *value;
    wrong(&table, fmt::format("\"{}\" is missing", key));
  }
  std::optional<double> number(const toml::table& table, const char* key) const {
    const toml::node* node = table.get(key);
    if (!node) return std::nullopt;
    if (node->is_number()) return node->value<double>();
    wrong(node, fmt::format("{}: expected a number", key));
  }
  std::optional<int> count(const toml::table& table, const char* key) const {
    const toml::node* node = table.get(key);
    if (!node) return std::nullopt;
    const auto value = node->value_exact<int64_t>();
    if (value && *value >= 0 && *value <= 1'000'000) return static_cast<int>(*value);
    wrong(node, fmt::format("{}: expected a whole number, 0 or more", key));
  }
  // Seconds or "never", as the command line takes them.
  std::optional<std::string> time(const toml::table& table, const char* key) const {
    const toml::node* node = table.get(key);
    if (!node) return std::nullopt;
    const std::string said = node->is_number() ? fmt::format("{}", *node->value<double>())
                                               : node->value_exact<std::string>().value_or("");
    if (!parse_seconds(said))
      wrong(node, fmt::format("{}: expected seconds, 0 or more, or \"never\"", key));
    return said;
  }
  std::optional<std::string> size(const toml::table& table, const char* key) const {
    const toml::node* node = table.get(key);
    if (!node) return std::nullopt;
    const std::string said = node->is_integer() ? std::to_string(*node->value<int64_t>())
                                                : node->value_exact<std::string>().value_or("");
    if (!parse_size(said))
      wrong(node, fmt::format("{}: expected a size, as in \"512M\", \"20G\" or \"1.5T\"", key));
    return said;
  }
  bool flag(const toml::table& table, const char* key) const {
    const toml::node* node = table.get(key);
    if (!node) return false;
    if (const auto value = node->value_exact<bool>()) return *value;
    wrong(node, fmt::format("{}: expected true or false", key));
  }
  std::vector<std::string> texts(const toml::table& table, const char* key) const {
    const toml::node* node = table.get(key);
    std::vector<std::string> out;
    if (!node) return out;
    const toml::array* list = node->as_array();
    if (!list) wrong(node, fmt::format("{}: expected a list of texts", key));
    for (auto&& one : *list) {
      auto value = one.value_exact<std::string>();
      if (!value) wrong(&one, fmt::format("{}: expected a list of texts", key));
      out.push_back(std::move(*value));
    }
    return out;
  }
  std::map<std::string, std::string> variables(const toml::table& table, const char* key) const {
    const toml::node* node = table.get(key);
    std::map<std::string, std::string> out;
    if (!node) return out;
    const toml::table* inner = node->as_table();
    if (!inner) wrong(node, fmt::format("{}: expected {{ NAME = \"value\" }}", key));
    for (auto&& [name, value] : *inner) {
      auto said = value.value_exact<std::string>();
      if (!said) wrong(&value, fmt::format("{}.{}: expected a text", key, name.str()));
      out[std::string(name.str())] = *said;
    }
    return out;
  }
  // The tables of [[key]].
  std::vector<const toml::table*> tables(const toml::table& root, const char* key) const {
    const toml::node* node = root.get(key);
    std::vector<const toml::table*> out;
    if (!node) return out;
    const toml::array* list = node->as_array();
    if (!list) wrong(node, fmt::format("write [[{}]], with two brackets", key));
    for (auto&& one : *list) {
      const toml::table* table = one.as_table();
      if (!table) wrong(&one, fmt::format("expected tables, [[{}]]", key));
      out.push_back(table);
    }
    return out;
  }

 private:
  const std::string shown_;
  const fs::path folder_;
};

SandboxFile read_tables(const Reader& reader, const toml::table& root) {
  SandboxFile out;
  reader.check_keys(root, {"sandbox", "model", "interface"});
  if (const toml::node* node = root.get("sandbox")) {
    const toml::table* sandbox = node->as_table();
    if (!sandbox) reader.wrong(node, "sandbox: expected a table, [sandbox]");
    reader.check_keys(*sandbox, {"name",         "provider",
                                 "gpu",          "gpu_count",
                                 "device",       "idle",
                                 "threads",      "call_timeout",
                                 "load_timeout", "start_timeout",
                                 "cancel_grace", "device_memory",
                                 "host_memory",  "model_idle",
                                 "warm_idle",    "workspace",
                                 "python",       "python_packages",
                                 "secrets",      "env",
                                 "isolate",      "system_packages",
                                 "network",      "read",
                                 "write"});
    out.name = reader.text(*sandbox, "name");
    out.provider = reader.text(*sandbox, "provider");
    out.gpu = reader.text(*sandbox, "gpu");
    out.gpu_count = reader.count(*sandbox, "gpu_count");
    out.device = reader.text(*sandbox, "device");
    out.threads = reader.count(*sandbox, "threads");
    out.cancel_grace_s = reader.number(*sandbox, "cancel_grace");
    out.idle = reader.time(*sandbox, "idle");
    out.call_timeout = reader.time(*sandbox, "call_timeout");
    out.load_timeout = reader.time(*sandbox, "load_timeout");
    out.start_timeout = reader.time(*sandbox, "start_timeout");
    out.device_memory = reader.size(*sandbox, "device_memory");
    out.host_memory = reader.size(*sandbox, "host_memory");
    out.warm_idle = reader.time(*sandbox, "warm_idle");
    if (auto idle = reader.time(*sandbox, "model_idle")) out.model_idle.push_back(*idle);
    if (auto workspace = reader.text(*sandbox, "workspace"))
      out.workspace = reader.full(*workspace);
    if (auto python = reader.text(*sandbox, "python"))
      out.python = python->find('/') == python->npos ? *python : reader.full(*python);
    out.python_packages = reader.texts(*sandbox, "python_packages");
    out.system_packages = reader.texts(*sandbox, "system_packages");
    for (const std::string& name : out.system_packages) {
      if (std::string problem = system_package_problem(name); !problem.empty())
        reader.wrong(sandbox->get("system_packages"), problem);
    }
    out.secrets = reader.texts(*sandbox, "secrets");
    out.env = reader.variables(*sandbox, "env");
    if (const toml::node* isolate = sandbox->get("isolate")) {
      if (isolate->is_boolean())
        out.isolate = reader.flag(*sandbox, "isolate") ? "auto" : "";
      else
        out.isolate = reader.text(*sandbox, "isolate");
      SandboxConfig alone;
      alone.isolate = *out.isolate;
      if (std::string problem = alone.problem(); !problem.empty()) reader.wrong(isolate, problem);
    }
    out.network = reader.flag(*sandbox, "network");
    for (auto& path : reader.texts(*sandbox, "read")) out.read_folders.push_back(reader.full(path));
    for (auto& path : reader.texts(*sandbox, "write"))
      out.write_folders.push_back(reader.full(path));
  }
  for (const toml::table* model : reader.tables(root, "model")) {
    reader.check_keys(*model,
                      {"name", "path", "dtype", "hidden", "adapter", "base", "idle", "pin"});
    SandboxConfig alone;
    ModelConfig& one = alone.models.emplace_back();
    one.name = reader.needed(*model, "name");
    if (auto path = reader.text(*model, "path")) one.path = reader.full(*path);
    one.dtype = reader.text(*model, "dtype").value_or("");
    one.hidden = reader.flag(*model, "hidden");
    if (auto adapter = reader.text(*model, "adapter")) one.adapter = reader.full(*adapter);
    one.base = reader.text(*model, "base").value_or("");
    // Folders are looked into where they should be here; those of another machine are its own.
    if (out.provider) alone.provider = *out.provider;
    if (std::string problem = alone.problem(); !problem.empty()) reader.wrong(model, problem);
    for (auto& other : out.models) {
      if (other.name == one.name)
        reader.wrong(model, fmt::format("model {}: it is listed twice", one.name));
    }
    if (auto idle = reader.time(*model, "idle"))
      out.model_idle.push_back(fmt::format("{}={}", one.name, *idle));
    if (reader.flag(*model, "pin")) out.pin.push_back(one.name);
    out.models.push_back(std::move(one));
  }
  std::set<std::string> names;
  for (const toml::table* interface : reader.tables(root, "interface")) {
    reader.check_keys(*interface, {"file", "name"});
    const std::string file = reader.needed(*interface, "file");
    // A name without a suffix and a folder is a built-in interface's.
    const bool built_in = file.find('/') == file.npos && !fs::path(file).has_extension();
    SandboxFile::Interface one{
        .name = reader.text(*interface, "name").value_or(fs::path(file).stem().string()),
        .file = built_in ? file : reader.full(file)};
    if (!names.insert(one.name).second)
      reader.wrong(interface,
                   fmt::format("two interfaces are named \"{}\": give one another name", one.name));
    out.interfaces.push_back(std::move(one));
  }
  return out;
}

}  // namespace

mcp::Result<SandboxFile> SandboxFile::read(const fs::path& path) {
  using mcp::ErrorCode;
  std::error_code error;
  if (!fs::is_regular_file(path, error))
    return mcp::fail(ErrorCode::invalid_params, fmt::format("there is no file {}", path.string()));
  try {
    return read_tables(Reader(path), toml::parse_file(path.string()));
  } catch (const toml::parse_error& e) {
    return mcp::fail(ErrorCode::invalid_params,
                     fmt::format("{}:{}: {}", path.filename().string(), e.source().begin.line,
                                 std::string(e.description())));
  } catch (const Wrong& e) {
    return mcp::fail(ErrorCode::invalid_params, e.message);
  }
}

}  // namespace gpumcp::sandbox

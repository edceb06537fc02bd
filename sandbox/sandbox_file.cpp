#include "sandbox/sandbox_file.h"

#include <fmt/format.h>

#include <toml++/toml.h>
#include <set>

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
    reader.check_keys(*sandbox,
                      {"name", "provider", "gpu", "gpu_count", "device", "idle", "threads",
                       "cancel_grace", "workspace", "python", "python_packages", "secrets", "env"});
    out.name = reader.text(*sandbox, "name");
    out.provider = reader.text(*sandbox, "provider");
    out.gpu = reader.text(*sandbox, "gpu");
    out.gpu_count = reader.count(*sandbox, "gpu_count");
    out.device = reader.text(*sandbox, "device");
    out.threads = reader.count(*sandbox, "threads");
    out.cancel_grace_s = reader.number(*sandbox, "cancel_grace");
    if (const toml::node* idle = sandbox->get("idle")) {
      if (idle->is_number())
        out.idle = fmt::format("{}", *idle->value<double>());
      else
        out.idle = reader.text(*sandbox, "idle");
    }
    if (auto workspace = reader.text(*sandbox, "workspace"))
      out.workspace = reader.full(*workspace);
    if (auto python = reader.text(*sandbox, "python"))
      out.python = python->find('/') == python->npos ? *python : reader.full(*python);
    out.python_packages = reader.texts(*sandbox, "python_packages");
    out.secrets = reader.texts(*sandbox, "secrets");
    out.env = reader.variables(*sandbox, "env");
  }
  for (const toml::table* model : reader.tables(root, "model")) {
    reader.check_keys(*model, {"name", "path"});
    std::string name = reader.needed(*model, "name");
    if (name.find('=') != name.npos) reader.wrong(model, "a model's name holds no =");
    const auto path = reader.text(*model, "path");
    out.models.push_back(path ? fmt::format("{}={}", name, reader.full(*path)) : name);
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

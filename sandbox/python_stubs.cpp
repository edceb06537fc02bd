#include "sandbox/python_stubs.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace gpumcp::sandbox {
namespace {

using mcp::Json;

const std::set<std::string_view> kReserved = {
    "False", "None",     "True",  "and",    "as",   "assert", "async",  "await",    "break",
    "class", "continue", "def",   "del",    "elif", "else",   "except", "finally",  "for",
    "from",  "global",   "if",    "import", "in",   "is",     "lambda", "nonlocal", "not",
    "or",    "pass",     "raise", "return", "try",  "while",  "with",   "yield",    "self"};

const Json* find(const Json& json, const char* key) {
  if (!json.is_object()) return nullptr;
  const auto it = json.find(key);
  return it == json.end() ? nullptr : &*it;
}

std::string text_of(const Json& json, const char* key) {
  const Json* value = find(json, key);
  return value && value->is_string() ? value->get<std::string>() : std::string();
}

std::string camel_case(std::string_view name) {
  std::string out;
  bool up = true;
  for (const char c : name) {
    if (!std::isalnum(static_cast<unsigned char>(c))) {
      up = true;
    } else {
      out += up ? static_cast<char>(std::toupper(static_cast<unsigned char>(c))) : c;
      up = false;
    }
  }
  if (out.empty() || std::isdigit(static_cast<unsigned char>(out[0]))) out.insert(out.begin(), 'T');
  return out;
}

// What stands for an array that is kept elsewhere; a module asks for arrays in full.
bool is_reference(const Json& schema) {
  const Json* properties = find(schema, "properties");
  return properties && properties->contains("uri") && properties->contains("path") &&
         properties->contains("shape");
}

// Writes schemas as types, and the classes that they need.
class Types {
 public:
  Types(const Json& root, std::vector<std::string>& definitions)
      : root_(root), definitions_(definitions) {}

  std::string of(const Json& schema, const std::string& hint) {
    if (!schema.is_object() || schema.empty()) return "Any";
    if (const std::string ref = text_of(schema, "$ref"); ref.starts_with("#/$defs/"))
      return defined(ref.substr(8), hint);
    if (const Json* values = find(schema, "enum"); values && values->is_array()) {
      std::vector<std::string> parts;
      for (const Json& value : *values) parts.push_back(python_literal(value));
      return fmt::format("Literal[{}]", fmt::join(parts, ", "));
    }
    if (const Json* value = find(schema, "const"))
      return fmt::format("Literal[{}]", python_literal(*value));
    for (const char* key : {"anyOf", "oneOf"}) {
      if (const Json* members = find(schema, key)) return either(*members, hint);
    }
    const Json* type = find(schema, "type");
    if (!type) return find(schema, "properties") ? object(schema, hint) : "Any";
    if (type->is_array()) {
      Json members = Json::array();
      for (const Json& one : *type) {
        Json member = schema;
        member["type"] = one;
        members.push_back(std::move(member));
      }
      return either(members, hint);
    }
    const std::string name = type->is_string() ? type->get<std::string>() : "";
    if (name == "string") return schema.contains("contentEncoding") ? "bytes" : "str";
    if (name == "integer") return "int";
    if (name == "number") return "float";
    if (name == "boolean") return "bool";
    if (name == "null") return "None";
    if (name == "array") return array(schema, hint);
    return object(schema, hint);
  }

 private:
  std::string either(const Json& members, const std::string& hint) {
    std::vector<std::string> parts;
    for (const Json& member : members) {
      if (is_reference(member) && members.size() > 1) continue;
      std::string part = of(member, hint);
      if (part == "Any") return part;
      if (std::find(parts.begin(), parts.end(), part) == parts.end())
        parts.push_back(std::move(part));
    }
    if (parts.empty()) return "Any";
    if (parts.size() == 1) return parts[0];
    if (parts.size() == 2 && (parts[0] == "None" || parts[1] == "None"))
      return fmt::format("Optional[{}]", parts[0] == "None" ? parts[1] : parts[0]);
    return fmt::format("Union[{}]", fmt::join(parts, ", "));
  }

  std::string array(const Json& schema, const std::string& hint) {
    if (const Json* prefix = find(schema, "prefixItems"); prefix && prefix->is_array()) {
      std::vector<std::string> parts;
      for (const Json& one : *prefix) parts.push_back(of(one, hint));
      return fmt::format("Tuple[{}]", fmt::join(parts, ", "));
    }
    const Json* items = find(schema, "items");
    return fmt::format("List[{}]", items ? of(*items, hint) : "Any");
  }

  std::string object(const Json& schema, const std::string& hint) {
    const Json* properties = find(schema, "properties");
    if (!properties || properties->empty()) {
      const Json* values = find(schema, "additionalProperties");
      return fmt::format("Dict[str, {}]",
                         values && values->is_object() ? of(*values, hint) : "Any");
    }
    return write_class(camel_case(hint), schema, *properties);
  }

  std::string defined(const std::string& name, const std::string& hint) {
    const Json* defs = find(root_, "$defs");
    const Json* schema = defs ? find(*defs, name.c_str()) : nullptr;
    if (!schema) return "Any";
    const std::string type = camel_case(name);
    if (!seen_.insert(name).second) return type;
    const Json* properties = find(*schema, "properties");
    return properties ? write_class(type, *schema, *properties) : of(*schema, hint);
  }

  // As a call, since its keys need not be names.
  std::string write_class(const std::string& wanted, const Json& schema, const Json& properties) {
    std::string name = wanted;
    for (int i = 2; !used_.insert(name).second; ++i) name = fmt::format("{}{}", wanted, i);
    std::string body;
    for (auto& [key, value] : properties.items())
      body += fmt::format("    {}: {},\n", python_string(key),
                          python_string(of(value, wanted + "_" + key)));
    std::string text =
        fmt::format("{} = TypedDict({}, {{\n{}}}, total=False)\n", name, python_string(name), body);
    if (const std::string doc = text_of(schema, "description"); !doc.empty())
      text += python_string(doc) + "\n";
    definitions_.push_back(std::move(text));
    return name;
  }

  const Json& root_;
  std::vector<std::string>& definitions_;
  std::set<std::string> seen_, used_;
};

bool asks_how_to_return(const Json& schema) {
  const Json* values = find(schema, "enum");
  return values && std::find(values->begin(), values->end(), "inline") != values->end() &&
         std::find(values->begin(), values->end(), "ref") != values->end();
}

std::string docstring(const mcp::Tool& tool, const std::vector<StubParameter>& parameters) {
  std::string doc = tool.description, args;
  for (auto& parameter : parameters) {
    if (!parameter.description.empty())
      args += fmt::format("    {}: {}\n", parameter.name, parameter.description);
  }
  if (!args.empty()) doc += "\n\nArgs:\n" + args;
  while (!doc.empty() && doc.back() == '\n') doc.pop_back();
  return doc;
}

}  // namespace

std::string python_string(std::string_view text) {
  // JSON's strings are Python's, but for the escape of /, which is not used.
  std::string out;
  mcp::append_string(out, text);
  return out;
}

std::string python_literal(const Json& value) {
  switch (value.type()) {
    case Json::value_t::null:
      return "None";
    case Json::value_t::boolean:
      return value.get<bool>() ? "True" : "False";
    case Json::value_t::string:
      return python_string(value.get_ref<const std::string&>());
    case Json::value_t::array: {
      std::vector<std::string> parts;
      for (const Json& one : value) parts.push_back(python_literal(one));
      return fmt::format("[{}]", fmt::join(parts, ", "));
    }
    case Json::value_t::object: {
      std::vector<std::string> parts;
      for (auto& [key, one] : value.items())
        parts.push_back(python_string(key) + ": " + python_literal(one));
      return fmt::format("{{{}}}", fmt::join(parts, ", "));
    }
    default:
      return mcp::to_text(value);
  }
}

std::string python_name(std::string_view name) {
  std::string out;
  for (const char c : name)
    out += std::isalnum(static_cast<unsigned char>(c)) || c == '_' ? c : '_';
  if (out.empty() || std::isdigit(static_cast<unsigned char>(out[0]))) out.insert(out.begin(), '_');
  if (kReserved.contains(out)) out += '_';
  return out;
}

std::string Stub::signature() const {
  std::string list;
  for (auto& parameter : parameters) {
    if (!list.empty()) list += ", ";
    list += parameter.name + ": " + parameter.type;
    if (!parameter.default_value.empty()) list += " = " + parameter.default_value;
  }
  if (takes_more) list += list.empty() ? "**more: Any" : ", **more: Any";
  return fmt::format("({}) -> {}", list, returns);
}

Stub make_stub(const mcp::Tool& tool) {
  Stub stub{.name = python_name(tool.name), .tool = tool.name};
  Types types(tool.inputSchema, stub.definitions);
  std::set<std::string> required;
  if (const Json* list = find(tool.inputSchema, "required")) {
    for (const Json& one : *list) required.insert(one.get<std::string>());
  }
  if (const Json* properties = find(tool.inputSchema, "properties")) {
    for (auto& [name, schema] : properties->items()) {
      if (name == "output" && asks_how_to_return(schema)) {
        stub.asks_inline = true;
        continue;
      }
      StubParameter parameter{.name = python_name(name),
                              .original = name,
                              .type = types.of(schema, tool.name + "_" + name),
                              .description = text_of(schema, "description")};
      if (!required.contains(name)) {
        const Json* value = find(schema, "default");
        // A list as a default would be one object for all calls; the function's own stands for it.
        const bool plain = value && !value->is_structured() && !value->is_null();
        parameter.default_value = plain ? python_literal(*value) : "None";
        parameter.drops_none = !plain;
        if (!plain && !parameter.type.starts_with("Optional[") && parameter.type != "Any")
          parameter.type = fmt::format("Optional[{}]", parameter.type);
      }
      stub.parameters.push_back(std::move(parameter));
    }
  }
  std::stable_partition(stub.parameters.begin(), stub.parameters.end(),
                        [](auto& one) { return one.default_value.empty(); });
  const Json* more = find(tool.inputSchema, "additionalProperties");
  stub.takes_more = more && !(more->is_boolean() && !more->get<bool>());

  Types results(tool.outputSchema, stub.definitions);
  const Json* properties = find(tool.outputSchema, "properties");
  if (properties && properties->size() == 1 && properties->contains("result")) {
    stub.unwraps = true;
    stub.returns = results.of((*properties)["result"], tool.name + "_result");
  } else {
    stub.returns = results.of(tool.outputSchema, tool.name + "_result");
  }
  stub.doc = docstring(tool, stub.parameters);
  return stub;
}

}  // namespace gpumcp::sandbox

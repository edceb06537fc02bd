#include "mcp/schema/compiler.h"

#include <fmt/format.h>

#include <algorithm>

#include "mcp/json_type.h"
#include "mcp/schema/uri.h"
#include "mcp/schema/value.h"

namespace gpumcp::mcp::schema {
namespace {

constexpr size_t kMaxUriBytes = 2048;

std::string without_empty_fragment(std::string_view uri) {
  return std::string(uri.ends_with('#') ? uri.substr(0, uri.size() - 1) : uri);
}

bool is_anchor_name(std::string_view text) {
  auto starts = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
  return !text.empty() && starts(text[0]) && std::all_of(text.begin(), text.end(), [&](char c) {
    return starts(c) || (c >= '0' && c <= '9') || c == '-' || c == '.';
  });
}

}  // namespace

std::string pointer_token(std::string_view key) {
  std::string out;
  for (char c : key) {
    if (c == '~')
      out += "~0";
    else if (c == '/')
      out += "~1";
    else
      out += c;
  }
  return out;
}

std::string shown(std::string_view text) {
  return text.size() <= 100 ? std::string(text) : fmt::format("{}…", text.substr(0, 100));
}

std::string Program::location(NodeId id) const {
  constexpr size_t kMaxTokens = 512;
  std::vector<const std::string*> tokens;
  const ResourceId resource = nodes[id].resource;
  while (id != resources[resource].node && nodes[id].parent != kNoNode &&
         tokens.size() < kMaxTokens) {
    tokens.push_back(&nodes[id].token);
    id = nodes[id].parent;
  }
  std::string out = resources[resource].uri + '#';
  for (auto it = tokens.rbegin(); it != tokens.rend(); ++it) out += **it;
  return out;
}

void Compiler::error(NodeId at, std::string_view keyword, std::string_view what) const {
  std::string where = program_.location(at);
  if (!keyword.empty()) (where += '/') += keyword;
  std::string message = fmt::format("schema {}: {}", shown(where), what);
  for (char& c : message) {  // one line, whatever the schema's names and patterns hold
    if (static_cast<unsigned char>(c) < ' ') c = ' ';
  }
  throw CompileError(message);
}

void Compiler::run(const Json& schema) {
  const ResourceId root = add_document(schema, "");
  resolve_references();
  program_.root = program_.resources[root].node;
  refuse_endless_references();
}

void Compiler::check_size(const Json& document) const {
  if (nested_deeper_than(document, options_.max_depth))
    throw CompileError(
        fmt::format("the schema is nested deeper than {} levels: flatten it with $defs and $ref",
                    options_.max_depth));
}

// A whole document: its root is a resource with the URI it was asked for by, and with its "$id".
ResourceId Compiler::add_document(const Json& document, const std::string& uri) {
  check_size(document);
  const Json& kept = program_.documents.emplace_back(document);
  const auto id = static_cast<ResourceId>(program_.resources.size());
  program_.resources.push_back({.uri = uri, .root = &kept});
  by_uri_.emplace(uri, id);
  // The root node comes next, and takes the resource over.
  program_.resources[id].node = static_cast<NodeId>(program_.nodes.size());
  program_.nodes.push_back({.resource = id});
  compiled_.emplace(&kept, program_.resources[id].node);
  identify(kept, program_.resources[id].node);
  return program_.nodes[program_.resources[id].node].resource;
}

NodeId Compiler::compile(const Json& schema, NodeId parent, std::string token) {
  if (auto known = compiled_.find(&schema); known != compiled_.end()) return known->second;
  if (program_.nodes.size() >= options_.max_subschemas)
    throw CompileError(
        fmt::format("the schema has more than {} subschemas", options_.max_subschemas));
  const auto id = static_cast<NodeId>(program_.nodes.size());
  program_.nodes.push_back(
      {.resource = node(parent).resource, .parent = parent, .token = std::move(token)});
  compiled_.emplace(&schema, id);
  identify(schema, id);
  return id;
}

// "$id", "$schema" and anchors of a subschema, then its keywords.
void Compiler::identify(const Json& schema, NodeId id) {
  if (schema.is_boolean()) {
    node(id).kind = schema.get<bool>() ? Node::Kind::always : Node::Kind::never;
    return;
  }
  if (!schema.is_object())
    error(id, "",
          fmt::format("a schema is an object, true or false, not {}", describe_value(schema)));
  const Resource& outer = resource_of(id);
  const bool at_root = outer.node == id;
  if (auto it = schema.find("$id"); it != schema.end()) {
    if (!it->is_string()) error(id, "$id", "must be a string");
    const std::string text = without_empty_fragment(it->get_ref<const std::string&>());
    if (split_uri(text).has_fragment) error(id, "$id", "may have no fragment: use $anchor");
    std::string uri = resolve_uri(outer.uri, text);
    if (uri.size() > kMaxUriBytes)
      error(id, "$id", fmt::format("is longer than {} bytes", kMaxUriBytes));
    if (auto known = by_uri_.find(uri);
        known == by_uri_.end() || !at_root || known->second != node(id).resource)
      node(id).resource = add_resource(schema, std::move(uri), id, outer.dialect);
  }
  if (auto it = schema.find("$schema"); it != schema.end() || at_root) {
    Resource& resource = resource_of(id);
    resource.dialect = dialect_of(schema, id, resource.dialect);
  }
  if (auto it = schema.find("$anchor"); it != schema.end()) add_anchor(id, *it, false);
  if (auto it = schema.find("$dynamicAnchor"); it != schema.end()) add_anchor(id, *it, true);
  compile_keywords(schema, id);
}

ResourceId Compiler::add_resource(const Json& schema, std::string uri, NodeId id, Dialect dialect) {
  const auto resource = static_cast<ResourceId>(program_.resources.size());
  if (!by_uri_.emplace(uri, resource).second)
    error(id, "$id", fmt::format("\"{}\" stands for another schema already", shown(uri)));
  program_.resources.push_back(
      {.uri = std::move(uri), .root = &schema, .node = id, .dialect = dialect});
  // A document is found by both of its names.
  if (Resource& outer = resource_of(id); outer.node == id) by_uri_[outer.uri] = resource;
  return resource;
}

void Compiler::add_anchor(NodeId id, const Json& name, bool dynamic) {
  const char* keyword = dynamic ? "$dynamicAnchor" : "$anchor";
  if (!name.is_string() || !is_anchor_name(name.get_ref<const std::string&>()))
    error(id, keyword, "must be a name of letters, digits, '-', '_' and '.'");
  const auto& text = name.get_ref<const std::string&>();
  auto [it, added] = resource_of(id).anchors.emplace(text, Anchor{id, dynamic});
  if (added) return;
  if (it->second.node != id)
    error(id, keyword, fmt::format("\"{}\" stands twice in one schema resource", shown(text)));
  it->second.dynamic = it->second.dynamic || dynamic;
}

// Only 2020-12, or a meta-schema among the documents that says which of its vocabularies it uses.
Dialect Compiler::dialect_of(const Json& schema, NodeId id, Dialect inherited) {
  const auto it = schema.find("$schema");
  if (it == schema.end()) return inherited;
  if (!it->is_string()) error(id, "$schema", "must be a string");
  const std::string uri = without_empty_fragment(it->get_ref<const std::string&>());
  if (uri == kJsonSchemaDialect) return {};
  const auto document = options_.documents.find(uri);
  if (document == options_.documents.end())
    error(id, "$schema",
          fmt::format("the dialect \"{}\" is not supported: write the schema for \"{}\"",
                      shown(uri), kJsonSchemaDialect));
  const Json& meta = document->second;
  const auto vocabularies = meta.is_object() ? meta.find("$vocabulary") : meta.end();
  if (vocabularies == meta.end() || !vocabularies->is_object()) return {};
  Dialect out{.applicator = false, .unevaluated = false, .validation = false};
  for (const auto& [name, required] : vocabularies->items()) {
    constexpr std::string_view kBase = "https://json-schema.org/draft/2020-12/vocab/";
    const std::string_view tail =
        name.starts_with(kBase) ? std::string_view(name).substr(kBase.size()) : "";
    if (tail == "applicator")
      out.applicator = true;
    else if (tail == "unevaluated")
      out.unevaluated = true;
    else if (tail == "validation")
      out.validation = true;
    else if (tail == "format-assertion")
      out.format_assertion = true;
    else if (tail != "core" && tail != "meta-data" && tail != "format-annotation" &&
             tail != "content" && required != false)
      error(id, "$schema",
            fmt::format("the vocabulary \"{}\" of that dialect is not known", shown(name)));
  }
  return out;
}

}  // namespace gpumcp::mcp::schema

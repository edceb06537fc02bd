// Turns a schema into a Program: walks it keyword by keyword (compiler.cpp, compiler_keywords.cpp),
// then resolves the references that it met, which may bring in further documents
// (compiler_references.cpp). Used once, by one thread. Throws CompileError, which
// JsonSchema::compile turns into a Result.
#pragma once

#include <functional>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <vector>

#include "mcp/json_schema.h"
#include "mcp/schema/program.h"

namespace gpumcp::mcp::schema {

struct CompileError : std::runtime_error {
  using runtime_error::runtime_error;
};

class Compiler {
 public:
  Compiler(const JsonSchemaOptions& options, Program& program)
      : options_(options), program_(program) {}
  void run(const Json& schema);

 private:
  // A "$ref" or "$dynamicRef" that waits until all identifiers are known.
  struct Reference {
    NodeId node;
    bool dynamic;
    std::string text;
  };

  // --- the walk (compiler.cpp)
  // `token`: where the subschema stands below its parent, as part of a JSON Pointer.
  NodeId compile(const Json& schema, NodeId parent, std::string token);
  ResourceId add_document(const Json& document, const std::string& uri);
  ResourceId add_resource(const Json& schema, std::string uri, NodeId node, Dialect dialect);
  void add_anchor(NodeId node, const Json& name, bool dynamic);
  Dialect dialect_of(const Json& schema, NodeId node, Dialect inherited);
  void identify(const Json& schema, NodeId node);
  void check_size(const Json& document) const;

  // --- keywords (compiler_keywords.cpp)
  void compile_keywords(const Json& schema, NodeId node);
  void compile_applicators(const Json& schema, NodeId node);
  void compile_containers(const Json& schema, NodeId node, const Dialect& dialect);
  void compile_dependencies(const Json& schema, NodeId node, const Dialect& dialect);
  void compile_values(const Json& schema, NodeId node, const Dialect& dialect);
  void compile_counts(const Json& schema, NodeId node);
  NodeId child(const Json& schema, NodeId node, const char* keyword);
  std::vector<NodeId> children(const Json& schema, NodeId node, const char* keyword);
  // Calls `f` with each key of an object of schemas, and its node.
  void named_children(const Json& schema, NodeId node, const char* keyword,
                      const std::function<void(const std::string&, NodeId)>& f);
  std::vector<std::string> names(const Json& value, NodeId node, std::string_view keyword);
  std::optional<std::uint64_t> count(const Json& schema, NodeId node, const char* keyword);
  const Json* number(const Json& schema, NodeId node, const char* keyword);
  Pattern pattern(const std::string& text, NodeId node, std::string_view keyword);

  // --- references (compiler_references.cpp)
  void resolve_references();
  NodeId resolve(const Reference& reference, bool& dynamic);
  NodeId follow_pointer(const Resource& resource, const Reference& reference,
                        const std::string& pointer);
  ResourceId find_document(const std::string& uri, const Reference& reference);
  void refuse_endless_references() const;

  Node& node(NodeId id) { return program_.nodes[id]; }
  Resource& resource_of(NodeId id) { return program_.resources[node(id).resource]; }
  [[noreturn]] void error(NodeId node, std::string_view keyword, std::string_view what) const;

  const JsonSchemaOptions& options_;
  Program& program_;
  std::unordered_map<std::string, ResourceId> by_uri_;
  std::unordered_map<const Json*, NodeId> compiled_;
  std::vector<Reference> references_;
  std::size_t pattern_size_ = 0;
};

// A key as part of a JSON Pointer: '~' and '/' escaped.
std::string pointer_token(std::string_view key);
// For messages: at most 100 bytes of it.
std::string shown(std::string_view text);

}  // namespace gpumcp::mcp::schema

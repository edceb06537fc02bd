// What a schema is compiled to: a list of nodes, one a subschema, that refer to one another by
// number, and the resources (documents, and subschemas with an "$id") that they lie in. Built by
// Compiler, then immutable: any number of evaluators may read it at once.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "mcp/json.h"
#include "mcp/schema/ecma_regex.h"
#include "mcp/schema/format.h"

namespace gpumcp::mcp::schema {

using NodeId = std::uint32_t;
using ResourceId = std::uint32_t;
inline constexpr NodeId kNoNode = UINT32_MAX;

enum Type : std::uint8_t {
  kNull = 1,
  kBoolean = 2,
  kInteger = 4,
  kNumber = 8,
  kString = 16,
  kArray = 32,
  kObject = 64,
};

struct NumberRules {
  const Json *minimum = nullptr, *maximum = nullptr;
  const Json *exclusive_minimum = nullptr, *exclusive_maximum = nullptr;
  const Json* multiple_of = nullptr;
};

struct StringRules {
  std::optional<std::uint64_t> min_length, max_length;
  std::optional<Pattern> pattern;
  std::optional<Format> format;  // only where it is asserted
};

struct ArrayRules {
  std::vector<NodeId> prefix;
  NodeId items = kNoNode, contains = kNoNode, unevaluated = kNoNode;
  std::uint64_t min_contains = 1;
  std::optional<std::uint64_t> max_contains, min_items, max_items;
  bool unique = false;
};

struct ObjectRules {
  std::map<std::string, NodeId, std::less<>> properties;
  std::vector<std::pair<Pattern, NodeId>> patterns;
  NodeId additional = kNoNode, names = kNoNode, unevaluated = kNoNode;
  std::optional<std::uint64_t> min_properties, max_properties;
  std::vector<std::string> required;
  std::vector<std::pair<std::string, std::vector<std::string>>> dependent_required;
  std::vector<std::pair<std::string, NodeId>> dependent_schemas;  // applied to the object itself
};

// "const" is an enum of one value.
struct EnumRule {
  const Json* values = nullptr;
  std::vector<std::string> canonical;  // canonical_text() of each, sorted
};

struct Node {
  enum class Kind : std::uint8_t { rules, always, never };
  Kind kind = Kind::rules;
  std::uint8_t types = 0;  // Type bits; 0: any
  ResourceId resource = 0;
  NodeId parent = kNoNode;  // where it stands in the document: below this one, at `token`,
  std::string token;        // which is part of a JSON Pointer ("/properties/a")

  std::optional<EnumRule> constant, enumeration;
  std::unique_ptr<NumberRules> number;
  std::unique_ptr<StringRules> string;
  std::unique_ptr<ArrayRules> array;
  std::unique_ptr<ObjectRules> object;

  // Applied to the same value ("in place").
  NodeId ref = kNoNode;
  NodeId dynamic_ref = kNoNode;    // where it points if no anchor of the dynamic scope is nearer
  std::string dynamic_anchor_ref;  // empty: $dynamicRef that behaves as $ref
  std::vector<NodeId> all_of, any_of, one_of;
  NodeId negated = kNoNode, condition = kNoNode, consequence = kNoNode, alternative = kNoNode;

  bool has_unevaluated() const {
    return (array && array->unevaluated != kNoNode) || (object && object->unevaluated != kNoNode);
  }
};

// Which vocabularies of 2020-12 a resource's "$schema" turns on.
struct Dialect {
  bool applicator = true, unevaluated = true, validation = true, format_assertion = false;
};

struct Anchor {
  NodeId node = kNoNode;
  bool dynamic = false;
};

struct Resource {
  std::string uri;  // absolute, or as relative as the schema left it; "" for a root without "$id"
  const Json* root = nullptr;
  NodeId node = kNoNode;
  Dialect dialect;
  std::map<std::string, Anchor, std::less<>> anchors;
};

struct Program {
  std::deque<Json> documents;  // that the nodes' pointers lead into; the first is the schema itself
  std::deque<Node> nodes;
  std::deque<Resource> resources;
  NodeId root = 0;

  // For messages: the node's resource and JSON Pointer, "#/properties/a".
  std::string location(NodeId node) const;
};

}  // namespace gpumcp::mcp::schema

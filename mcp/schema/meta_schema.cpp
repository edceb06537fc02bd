#include "mcp/schema/meta_schema.h"

#include <fmt/format.h>

#include <map>
#include <string>

namespace gpumcp::mcp::schema {
namespace {

constexpr std::string_view kBase = "https://json-schema.org/draft/2020-12/";

// One entry a document: its path below kBase, and its rules. "$schema", "$id", "$vocabulary" and
// the dynamic anchor, which all of them have, are put before them.
struct Document {
  std::string_view path, rules;
};

constexpr Document kDocuments[] = {
    {"schema", R"({
      "allOf": [{"$ref": "meta/core"}, {"$ref": "meta/applicator"}, {"$ref": "meta/unevaluated"},
                {"$ref": "meta/validation"}, {"$ref": "meta/meta-data"},
                {"$ref": "meta/format-annotation"}, {"$ref": "meta/content"}],
      "properties": {
        "definitions": {"type": "object", "additionalProperties": {"$dynamicRef": "#meta"},
                        "deprecated": true, "default": {}},
        "dependencies": {"type": "object", "deprecated": true, "default": {},
          "additionalProperties": {"anyOf": [{"$dynamicRef": "#meta"},
                                             {"$ref": "meta/validation#/$defs/stringArray"}]}},
        "$recursiveAnchor": {"$ref": "meta/core#/$defs/anchorString", "deprecated": true},
        "$recursiveRef": {"$ref": "meta/core#/$defs/uriReferenceString", "deprecated": true}}})"},
    {"meta/core", R"({
      "properties": {
        "$id": {"$ref": "#/$defs/uriReferenceString", "pattern": "^[^#]*#?$"},
        "$schema": {"$ref": "#/$defs/uriString"},
        "$ref": {"$ref": "#/$defs/uriReferenceString"},
        "$anchor": {"$ref": "#/$defs/anchorString"},
        "$dynamicRef": {"$ref": "#/$defs/uriReferenceString"},
        "$dynamicAnchor": {"$ref": "#/$defs/anchorString"},
        "$vocabulary": {"type": "object", "propertyNames": {"$ref": "#/$defs/uriString"},
                        "additionalProperties": {"type": "boolean"}},
        "$comment": {"type": "string"},
        "$defs": {"type": "object", "additionalProperties": {"$dynamicRef": "#meta"}}},
      "$defs": {
        "anchorString": {"type": "string", "pattern": "^[A-Za-z_][-A-Za-z0-9._]*$"},
        "uriString": {"type": "string", "format": "uri"},
        "uriReferenceString": {"type": "string", "format": "uri-reference"}}})"},
    {"meta/applicator", R"({
      "properties": {
        "prefixItems": {"$ref": "#/$defs/schemaArray"},
        "items": {"$dynamicRef": "#meta"},
        "contains": {"$dynamicRef": "#meta"},
        "additionalProperties": {"$dynamicRef": "#meta"},
        "properties": {"type": "object", "additionalProperties": {"$dynamicRef": "#meta"},
                       "default": {}},
        "patternProperties": {"type": "object", "additionalProperties": {"$dynamicRef": "#meta"},
                              "propertyNames": {"format": "regex"}, "default": {}},
        "dependentSchemas": {"type": "object", "additionalProperties": {"$dynamicRef": "#meta"},
                             "default": {}},
        "propertyNames": {"$dynamicRef": "#meta"},
        "if": {"$dynamicRef": "#meta"},
        "then": {"$dynamicRef": "#meta"},
        "else": {"$dynamicRef": "#meta"},
        "allOf": {"$ref": "#/$defs/schemaArray"},
        "anyOf": {"$ref": "#/$defs/schemaArray"},
        "oneOf": {"$ref": "#/$defs/schemaArray"},
        "not": {"$dynamicRef": "#meta"}},
      "$defs": {
        "schemaArray": {"type": "array", "minItems": 1, "items": {"$dynamicRef": "#meta"}}}})"},
    {"meta/unevaluated", R"({
      "properties": {
        "unevaluatedItems": {"$dynamicRef": "#meta"},
        "unevaluatedProperties": {"$dynamicRef": "#meta"}}})"},
    {"meta/validation", R"({
      "properties": {
        "type": {"anyOf": [{"$ref": "#/$defs/simpleTypes"},
                           {"type": "array", "items": {"$ref": "#/$defs/simpleTypes"},
                            "minItems": 1, "uniqueItems": true}]},
        "const": true,
        "enum": {"type": "array", "items": true},
        "multipleOf": {"type": "number", "exclusiveMinimum": 0},
        "maximum": {"type": "number"},
        "exclusiveMaximum": {"type": "number"},
        "minimum": {"type": "number"},
        "exclusiveMinimum": {"type": "number"},
        "maxLength": {"$ref": "#/$defs/nonNegativeInteger"},
        "minLength": {"$ref": "#/$defs/nonNegativeIntegerDefault0"},
        "pattern": {"type": "string", "format": "regex"},
        "maxItems": {"$ref": "#/$defs/nonNegativeInteger"},
        "minItems": {"$ref": "#/$defs/nonNegativeIntegerDefault0"},
        "uniqueItems": {"type": "boolean", "default": false},
        "maxContains": {"$ref": "#/$defs/nonNegativeInteger"},
        "minContains": {"$ref": "#/$defs/nonNegativeInteger", "default": 1},
        "maxProperties": {"$ref": "#/$defs/nonNegativeInteger"},
        "minProperties": {"$ref": "#/$defs/nonNegativeIntegerDefault0"},
        "required": {"$ref": "#/$defs/stringArray"},
        "dependentRequired": {"type": "object",
                              "additionalProperties": {"$ref": "#/$defs/stringArray"}}},
      "$defs": {
        "nonNegativeInteger": {"type": "integer", "minimum": 0},
        "nonNegativeIntegerDefault0": {"$ref": "#/$defs/nonNegativeInteger", "default": 0},
        "simpleTypes": {"enum": ["array", "boolean", "integer", "null", "number", "object",
                                 "string"]},
        "stringArray": {"type": "array", "items": {"type": "string"}, "uniqueItems": true,
                        "default": []}}})"},
    {"meta/meta-data", R"({
      "properties": {
        "title": {"type": "string"},
        "description": {"type": "string"},
        "default": true,
        "deprecated": {"type": "boolean", "default": false},
        "readOnly": {"type": "boolean", "default": false},
        "writeOnly": {"type": "boolean", "default": false},
        "examples": {"type": "array", "items": true}}})"},
    {"meta/format-annotation", R"({"properties": {"format": {"type": "string"}}})"},
    {"meta/format-assertion", R"({"properties": {"format": {"type": "string"}}})"},
    {"meta/content", R"({
      "properties": {
        "contentEncoding": {"type": "string"},
        "contentMediaType": {"type": "string"},
        "contentSchema": {"$dynamicRef": "#meta"}}})"},
};

using Documents = std::map<std::string, Json, std::less<>>;

Documents build() {
  Documents out;
  for (const Document& document : kDocuments) {
    const std::string uri = fmt::format("{}{}", kBase, document.path);
    Json whole = {{"$schema", fmt::format("{}schema", kBase)}, {"$id", uri}};
    Json& vocabulary = whole["$vocabulary"] = Json::object();
    constexpr std::string_view kMeta = "meta/";
    for (const Document& other : kDocuments) {
      if (!other.path.starts_with(kMeta)) continue;
      const bool all = document.path == "schema" && other.path != "meta/format-assertion";
      if (all || other.path == document.path)
        vocabulary[fmt::format("{}vocab/{}", kBase, other.path.substr(kMeta.size()))] = true;
    }
    whole["$dynamicAnchor"] = "meta";
    whole["type"] = {"object", "boolean"};
    whole.update(Json::parse(document.rules));
    out.emplace(uri, std::move(whole));
  }
  return out;
}

}  // namespace

const Json* find_meta_schema(std::string_view uri) {
  static const Documents kBuiltIn = build();
  const auto it = kBuiltIn.find(uri);
  return it == kBuiltIn.end() ? nullptr : &it->second;
}

}  // namespace gpumcp::mcp::schema

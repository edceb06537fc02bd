// The keywords of 2020-12: what each takes, and where the program keeps it.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "mcp/json_type.h"
#include "mcp/schema/compiler.h"
#include "mcp/schema/value.h"

namespace gpumcp::mcp::schema {
namespace {

constexpr size_t kMaxPatternProgram = 500'000;  // RE2 instructions of all patterns of a schema

constexpr std::array<std::pair<std::string_view, std::uint8_t>, 7> kTypes{{
    {"null", kNull},
    {"boolean", kBoolean},
    {"integer", kInteger},
    {"number", kNumber},
    {"string", kString},
    {"array", kArray},
    {"object", kObject},
}};

template <class T>
T& made(std::unique_ptr<T>& rules) {
  if (!rules) rules = std::make_unique<T>();
  return *rules;
}

}  // namespace

NodeId Compiler::child(const Json& schema, NodeId at, const char* keyword) {
  const auto it = schema.find(keyword);
  return it == schema.end() ? kNoNode : compile(*it, at, fmt::format("/{}", keyword));
}

std::vector<NodeId> Compiler::children(const Json& schema, NodeId at, const char* keyword) {
  std::vector<NodeId> out;
  const auto it = schema.find(keyword);
  if (it == schema.end()) return out;
  if (!it->is_array() || it->empty()) error(at, keyword, "must be an array of schemas, not empty");
  for (size_t i = 0; i < it->size(); ++i)
    out.push_back(compile((*it)[i], at, fmt::format("/{}/{}", keyword, i)));
  return out;
}

void Compiler::named_children(const Json& schema, NodeId at, const char* keyword,
                              const std::function<void(const std::string&, NodeId)>& f) {
  const auto it = schema.find(keyword);
  if (it == schema.end()) return;
  if (!it->is_object()) error(at, keyword, "must be an object whose values are schemas");
  for (auto member = it->begin(); member != it->end(); ++member)
    f(member.key(),
      compile(*member, at, fmt::format("/{}/{}", keyword, pointer_token(member.key()))));
}

std::vector<std::string> Compiler::names(const Json& value, NodeId at, std::string_view keyword) {
  if (!value.is_array() ||
      !std::all_of(value.begin(), value.end(), [](const Json& name) { return name.is_string(); }))
    error(at, keyword, "must be an array of strings");
  return value.get<std::vector<std::string>>();
}

std::optional<std::uint64_t> Compiler::count(const Json& schema, NodeId at, const char* keyword) {
  const auto it = schema.find(keyword);
  if (it == schema.end()) return std::nullopt;
  if (!is_integer(*it) || it->get<double>() < 0)
    error(at, keyword, fmt::format("must be an integer of 0 or more, not {}", describe_value(*it)));
  if (it->is_number_integer()) return it->get<std::uint64_t>();
  return it->get<double>() < 9e18 ? it->get<std::uint64_t>() : UINT64_MAX;
}

const Json* Compiler::number(const Json& schema, NodeId at, const char* keyword) {
  const auto it = schema.find(keyword);
  if (it == schema.end()) return nullptr;
  if (!it->is_number() || !std::isfinite(it->get<double>()))
    error(at, keyword, fmt::format("must be a number, not {}", describe_value(*it)));
  return &*it;
}

Pattern Compiler::pattern(const std::string& text, NodeId at, std::string_view keyword) {
  auto compiled = Pattern::compile(text);
  if (!compiled) error(at, keyword, compiled.error().message);
  pattern_size_ += compiled->program_size();
  if (pattern_size_ > kMaxPatternProgram)
    error(at, keyword, "the patterns of this schema are too large together");
  return std::move(*compiled);
}

void Compiler::compile_keywords(const Json& schema, NodeId at) {
  for (const char* keyword : {"$ref", "$dynamicRef"}) {
    if (auto it = schema.find(keyword); it != schema.end()) {
      if (!it->is_string()) error(at, keyword, "must be a string");
      references_.push_back({at, keyword[1] == 'd', it->get<std::string>()});
    }
  }
  // "definitions" is the older name of "$defs", kept by the meta-schema.
  for (const char* keyword : {"$defs", "definitions"})
    named_children(schema, at, keyword, [](const std::string&, NodeId) {});

  const Dialect dialect = resource_of(at).dialect;
  if (dialect.applicator) compile_applicators(schema, at);
  compile_containers(schema, at, dialect);
  compile_dependencies(schema, at, dialect);
  compile_values(schema, at, dialect);
  if (dialect.validation) compile_counts(schema, at);
}

void Compiler::compile_applicators(const Json& schema, NodeId at) {
  // Children first: `node(at)` is looked up anew after each.
  const auto all = children(schema, at, "allOf"), any = children(schema, at, "anyOf"),
             one = children(schema, at, "oneOf");
  const NodeId negated = child(schema, at, "not"), condition = child(schema, at, "if"),
               consequence = child(schema, at, "then"), alternative = child(schema, at, "else");
  Node& out = node(at);
  out.all_of = all;
  out.any_of = any;
  out.one_of = one;
  out.negated = negated;
  out.condition = condition;
  out.consequence = consequence;
  out.alternative = alternative;
}

void Compiler::compile_containers(const Json& schema, NodeId at, const Dialect& dialect) {
  Node& out = node(at);
  auto set = [&](auto& rules, NodeId std::decay_t<decltype(*rules)>::* member,
                 const char* keyword) {
    if (const NodeId id = child(schema, at, keyword); id != kNoNode) made(rules).*member = id;
  };
  if (dialect.applicator) {
    if (auto prefix = children(schema, at, "prefixItems"); !prefix.empty())
      made(out.array).prefix = std::move(prefix);
    if (auto it = schema.find("items"); it != schema.end() && it->is_array())
      error(at, "items", "is an array of schemas in older drafts only: use prefixItems");
    set(out.array, &ArrayRules::items, "items");
    set(out.array, &ArrayRules::contains, "contains");
    named_children(schema, at, "properties", [&](const std::string& key, NodeId id) {
      made(out.object).properties.emplace(key, id);
    });
    named_children(schema, at, "patternProperties", [&](const std::string& key, NodeId id) {
      made(out.object).patterns.emplace_back(pattern(key, at, "patternProperties"), id);
    });
    set(out.object, &ObjectRules::additional, "additionalProperties");
    set(out.object, &ObjectRules::names, "propertyNames");
  }
  if (dialect.unevaluated) {
    set(out.array, &ArrayRules::unevaluated, "unevaluatedItems");
    set(out.object, &ObjectRules::unevaluated, "unevaluatedProperties");
  }
}

// "dependencies" is the older form of both, kept by the meta-schema.
void Compiler::compile_dependencies(const Json& schema, NodeId at, const Dialect& dialect) {
  Node& out = node(at);
  auto add_names = [&](const std::string& key, const Json& value, const char* keyword) {
    if (dialect.validation)
      made(out.object).dependent_required.emplace_back(key, names(value, at, keyword));
  };
  if (dialect.applicator) {
    named_children(schema, at, "dependentSchemas", [&](const std::string& key, NodeId id) {
      made(out.object).dependent_schemas.emplace_back(key, id);
    });
  }
  if (auto it = schema.find("dependentRequired"); it != schema.end() && dialect.validation) {
    if (!it->is_object()) error(at, "dependentRequired", "must be an object of arrays of strings");
    for (auto member = it->begin(); member != it->end(); ++member)
      add_names(member.key(), *member, "dependentRequired");
  }
  if (auto it = schema.find("dependencies"); it != schema.end() && it->is_object()) {
    for (auto member = it->begin(); member != it->end(); ++member) {
      if (member->is_array()) {
        add_names(member.key(), *member, "dependencies");
      } else if (dialect.applicator) {
        const NodeId id = compile(*member, at, "/dependencies/" + pointer_token(member.key()));
        made(out.object).dependent_schemas.emplace_back(member.key(), id);
      }
    }
  }
}

void Compiler::compile_values(const Json& schema, NodeId at, const Dialect& dialect) {
  Node& out = node(at);
  if (auto it = schema.find("format"); it != schema.end()) {
    if (!it->is_string()) error(at, "format", "must be a string");
    const auto format = find_format(it->get_ref<const std::string&>());
    if (format && (options_.assert_formats || dialect.format_assertion))
      made(out.string).format = format;
  }
  if (!dialect.validation) return;
  if (auto it = schema.find("type"); it != schema.end()) {
    const Json list = it->is_array() ? *it : Json::array({*it});
    if (list.empty()) error(at, "type", "must name a type");
    for (const Json& name : list) {
      const auto known = std::find_if(kTypes.begin(), kTypes.end(), [&](const auto& type) {
        return name.is_string() && name.get_ref<const std::string&>() == type.first;
      });
      if (known == kTypes.end())
        error(at, "type",
              fmt::format(
                  "{} is no type: use null, boolean, integer, number, string, array or object",
                  describe_value(name)));
      out.types |= known->second;
    }
  }
  if (auto it = schema.find("const"); it != schema.end())
    out.constant = EnumRule{&*it, {canonical_text(*it)}};
  if (auto it = schema.find("enum"); it != schema.end()) {
    if (!it->is_array()) error(at, "enum", "must be an array");
    EnumRule rule{&*it, {}};
    for (const Json& value : *it) rule.canonical.push_back(canonical_text(value));
    std::sort(rule.canonical.begin(), rule.canonical.end());
    out.enumeration = std::move(rule);
  }
  if (auto it = schema.find("pattern"); it != schema.end()) {
    if (!it->is_string()) error(at, "pattern", "must be a string");
    made(out.string).pattern = pattern(it->get<std::string>(), at, "pattern");
  }
  if (auto it = schema.find("required"); it != schema.end())
    made(out.object).required = names(*it, at, "required");
}

void Compiler::compile_counts(const Json& schema, NodeId at) {
  Node& out = node(at);
  auto set_number = [&](const Json* NumberRules::* member, const char* keyword) {
    if (const Json* value = number(schema, at, keyword)) made(out.number).*member = value;
  };
  set_number(&NumberRules::minimum, "minimum");
  set_number(&NumberRules::maximum, "maximum");
  set_number(&NumberRules::exclusive_minimum, "exclusiveMinimum");
  set_number(&NumberRules::exclusive_maximum, "exclusiveMaximum");
  set_number(&NumberRules::multiple_of, "multipleOf");
  if (out.number && out.number->multiple_of && out.number->multiple_of->get<double>() <= 0)
    error(at, "multipleOf", "must be above 0");

  auto set_count = [&](auto& rules, auto member, const char* keyword) {
    if (const auto value = count(schema, at, keyword)) made(rules).*member = *value;
  };
  set_count(out.string, &StringRules::min_length, "minLength");
  set_count(out.string, &StringRules::max_length, "maxLength");
  set_count(out.array, &ArrayRules::min_items, "minItems");
  set_count(out.array, &ArrayRules::max_items, "maxItems");
  set_count(out.array, &ArrayRules::min_contains, "minContains");
  set_count(out.array, &ArrayRules::max_contains, "maxContains");
  set_count(out.object, &ObjectRules::min_properties, "minProperties");
  set_count(out.object, &ObjectRules::max_properties, "maxProperties");
  if (auto it = schema.find("uniqueItems"); it != schema.end()) {
    if (!it->is_boolean()) error(at, "uniqueItems", "must be true or false");
    if (it->get<bool>()) made(out.array).unique = true;
  }
}

}  // namespace gpumcp::mcp::schema

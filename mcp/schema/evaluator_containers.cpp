// Arrays and objects: their own counts, and the schemas of their items and members.
#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "mcp/schema/evaluator.h"
#include "mcp/schema/value.h"

namespace gpumcp::mcp::schema {
namespace {

// Whether an object has a key: a search while both are few, then a sorted list.
class Keys {
 public:
  Keys(const Json& object, std::size_t questions) : object_(object) {
    if (object.size() * questions <= 256) return;
    sorted_.reserve(object.size());
    for (auto it = object.begin(); it != object.end(); ++it) sorted_.push_back(it.key());
    std::sort(sorted_.begin(), sorted_.end());
  }
  bool has(const std::string& key) const {
    return sorted_.empty() ? object_.find(key) != object_.end()
                           : std::binary_search(sorted_.begin(), sorted_.end(), key);
  }

 private:
  const Json& object_;
  std::vector<std::string_view> sorted_;
};

std::string count_text(std::string_view bound, std::uint64_t limit, std::string_view noun,
                       std::size_t got) {
  return fmt::format(": expected {} {} {}{}, got {}", bound, limit, noun, limit == 1 ? "" : "s",
                     got);
}

}  // namespace

bool Evaluator::check_array(NodeId id, const Place& at, Marks* marks) {
  const ArrayRules& rules = *program_.nodes[id].array;
  const auto& items = at.value.get_ref<const Json::array_t&>();
  bool ok = true;
  if (rules.min_items && items.size() < *rules.min_items &&
      !go_on(ok, sink_ && report(id, "minItems", at.path,
                                 count_text("at least", *rules.min_items, "item", items.size()))))
    return false;
  if (rules.max_items && items.size() > *rules.max_items &&
      !go_on(ok, sink_ && report(id, "maxItems", at.path,
                                 count_text("at most", *rules.max_items, "item", items.size()))))
    return false;
  for (std::size_t i = 0; i < items.size(); ++i) {
    const NodeId schema = i < rules.prefix.size() ? rules.prefix[i] : rules.items;
    if (schema == kNoNode) break;
    const JsonPath path{&at.path, {}, i};
    if (!go_on(ok, evaluate(schema, {items[i], path, at.scope, at.depth}, nullptr))) return false;
    if (marks) marks->set(i);
  }
  if (rules.contains != kNoNode && !go_on(ok, check_contains(id, at, marks))) return false;
  if (rules.unique && items.size() > 1 && !go_on(ok, check_unique(id, at))) return false;
  return ok;
}

bool Evaluator::check_contains(NodeId id, const Place& at, Marks* marks) {
  const ArrayRules& rules = *program_.nodes[id].array;
  std::uint64_t found = 0;
  for (std::size_t i = 0; i < at.value.size(); ++i) {
    const JsonPath path{&at.path, {}, i};
    if (!evaluate_quietly(rules.contains, {at.value[i], path, at.scope, at.depth}, nullptr))
      continue;
    ++found;
    if (marks) marks->set(i);
  }
  auto complain = [&](std::string_view keyword, std::string_view bound, std::uint64_t limit) {
    return sink_ && report(id, keyword, at.path,
                           fmt::format(": expected {} {} item{} that \"contains\" asks for, got {}",
                                       bound, limit, limit == 1 ? "" : "s", found));
  };
  if (found < rules.min_contains)
    return complain(rules.min_contains == 1 ? "contains" : "minContains", "at least",
                    rules.min_contains);
  if (rules.max_contains && found > *rules.max_contains)
    return complain("maxContains", "at most", *rules.max_contains);
  return true;
}

bool Evaluator::check_unique(NodeId id, const Place& at) {
  std::vector<std::string> texts;
  texts.reserve(at.value.size());
  for (const Json& item : at.value) {
    texts.push_back(canonical_text(item));
    if (!spend(1 + texts.back().size() / 16)) return false;
  }
  std::vector<std::size_t> order(texts.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return texts[a] != texts[b] ? texts[a] < texts[b] : a < b;
  });
  const auto twin =
      std::adjacent_find(order.begin(), order.end(),
                         [&](std::size_t a, std::size_t b) { return texts[a] == texts[b]; });
  if (twin == order.end()) return true;
  return sink_ && report(id, "uniqueItems", at.path,
                         fmt::format(": items {} and {} are equal, but all must differ", *twin,
                                     *(twin + 1)));
}

bool Evaluator::check_object(NodeId id, const Place& at, Marks* marks) {
  const ObjectRules& rules = *program_.nodes[id].object;
  bool ok = true;
  if (!go_on(ok, check_required(id, at))) return false;
  std::size_t index = 0;
  for (auto it = at.value.begin(); it != at.value.end(); ++it, ++index) {
    bool evaluated = false;
    if (!go_on(ok, check_member(id, at, it.key(), *it, evaluated))) return false;
    if (evaluated && marks) marks->set(index);
  }
  const std::size_t size = at.value.size();
  if (rules.min_properties && size < *rules.min_properties &&
      !go_on(ok, sink_ && report(id, "minProperties", at.path,
                                 count_text("at least", *rules.min_properties, "member", size))))
    return false;
  if (rules.max_properties && size > *rules.max_properties &&
      !go_on(ok, sink_ && report(id, "maxProperties", at.path,
                                 count_text("at most", *rules.max_properties, "member", size))))
    return false;
  if (rules.dependent_schemas.empty()) return ok;
  const Keys keys(at.value, rules.dependent_schemas.size());
  for (const auto& [key, schema] : rules.dependent_schemas) {
    if (keys.has(key) && !go_on(ok, evaluate(schema, at, marks))) return false;
  }
  return ok;
}

bool Evaluator::check_member(NodeId id, const Place& at, const std::string& key, const Json& member,
                             bool& evaluated) {
  const ObjectRules& rules = *program_.nodes[id].object;
  const JsonPath path{&at.path, key};
  const Place inside{member, path, at.scope, at.depth};
  bool ok = true;
  if (!spend(1)) return false;
  if (rules.names != kNoNode) {
    const Json name = key;
    const std::string called =
        sink_ ? fmt::format("the name of {}", path_text(path)) : std::string();
    const JsonPath name_path{.key = called};
    if (!go_on(ok, evaluate(rules.names, {name, name_path, at.scope, at.depth}, nullptr)))
      return false;
  }
  if (auto it = rules.properties.find(key); it != rules.properties.end()) {
    evaluated = true;
    if (!go_on(ok, evaluate(it->second, inside, nullptr))) return false;
  }
  for (const auto& [pattern, schema] : rules.patterns) {
    if (!spend(1 + pattern.cost(key))) return false;
    if (!pattern.matches(key)) continue;
    evaluated = true;
    if (!go_on(ok, evaluate(schema, inside, nullptr))) return false;
  }
  if (evaluated || rules.additional == kNoNode) return ok;
  evaluated = true;
  if (program_.nodes[rules.additional].kind == Node::Kind::never)
    return sink_ && unknown_member(id, "additionalProperties", at, key);
  go_on(ok, evaluate(rules.additional, inside, nullptr));
  return ok;
}

bool Evaluator::unknown_member(NodeId id, std::string_view keyword, const Place& at,
                               const std::string& key) {
  std::vector<std::string_view> known;
  if (const auto& object = program_.nodes[id].object) {
    for (const auto& [name, schema] : object->properties) {
      if (std::none_of(name.begin(), name.end(), [](unsigned char c) { return c < ' '; }))
        known.push_back(name);
    }
  }
  if (!spend(known.size())) return false;  // it is compared with each of them
  return report(id, keyword, JsonPath{&at.path, key}, " is unknown" + known_keys_hint(key, known));
}

bool Evaluator::check_required(NodeId id, const Place& at) {
  const ObjectRules& rules = *program_.nodes[id].object;
  if (rules.required.empty() && rules.dependent_required.empty()) return true;
  std::size_t questions = rules.required.size();
  for (const auto& [key, names] : rules.dependent_required) questions += 1 + names.size();
  if (!spend(questions + at.value.size() / 16)) return false;
  const Keys keys(at.value, questions);
  bool ok = true;
  for (const std::string& name : rules.required) {
    if (keys.has(name)) continue;
    std::string what = " is missing";
    const auto property = rules.properties.find(name);
    if (sink_ && property != rules.properties.end()) {
      const Node& node = program_.nodes[property->second];
      const Node& named = node.types || node.ref == kNoNode ? node : program_.nodes[node.ref];
      if (named.types) what += fmt::format(": give {}", types_text(named.types));
    }
    if (!go_on(ok, sink_ && report(id, "required", JsonPath{&at.path, name}, what))) return false;
  }
  for (const auto& [key, names] : rules.dependent_required) {
    if (!keys.has(key)) continue;
    for (const std::string& name : names) {
      if (keys.has(name)) continue;
      const std::string what = sink_ ? fmt::format(" is missing: it is needed beside {}",
                                                   to_text(Json(key.substr(0, 64))))
                                     : std::string();
      if (!go_on(ok, sink_ && report(id, "dependentRequired", JsonPath{&at.path, name}, what)))
        return false;
    }
  }
  return ok;
}

bool Evaluator::check_unevaluated(NodeId id, const Place& at, Marks& marks) {
  const Node& node = program_.nodes[id];
  const bool array = at.value.is_array() && node.array,
             object = at.value.is_object() && node.object;
  const NodeId schema = array    ? node.array->unevaluated
                        : object ? node.object->unevaluated
                                 : kNoNode;
  if (schema == kNoNode) return true;
  bool ok = true;
  std::size_t index = 0;
  for (auto it = at.value.begin(); it != at.value.end(); ++it, ++index) {
    if (marks.has(index)) continue;
    const JsonPath path = array ? JsonPath{&at.path, {}, index} : JsonPath{&at.path, it.key()};
    const bool refused = object && program_.nodes[schema].kind == Node::Kind::never;
    if (!spend(1)) return false;
    const bool fine = refused ? sink_ && unknown_member(id, "unevaluatedProperties", at, it.key())
                              : evaluate(schema, {*it, path, at.scope, at.depth}, nullptr);
    if (!go_on(ok, fine)) return false;
  }
  marks.set_all();
  return ok;
}

}  // namespace gpumcp::mcp::schema

#include "mcp/schema/evaluator.h"

#include <fmt/format.h>

#include <algorithm>

#include "mcp/schema/value.h"

namespace gpumcp::mcp::schema {
namespace {

constexpr int kMaxEvaluationDepth = 1000;  // subschemas within one another: bounds the stack

std::uint8_t type_of(const Json& value) {
  switch (value.type()) {
    case Json::value_t::null:
      return kNull;
    case Json::value_t::boolean:
      return kBoolean;
    case Json::value_t::string:
      return kString;
    case Json::value_t::array:
      return kArray;
    case Json::value_t::object:
      return kObject;
    default:
      return is_integer(value) ? kNumber | kInteger : kNumber;
  }
}

// `"a", "b", 3`, cut where it gets long.
std::string list_text(const Json& values) {
  constexpr size_t kShown = 200;
  std::string out;
  for (size_t i = 0; i < values.size(); ++i) {
    std::string one = to_text(values[i]);
    if (i > 0 && out.size() + one.size() > kShown)
      return fmt::format("{}, … ({} values)", out, values.size());
    if (one.size() > kShown) one = describe_value(values[i]);
    if (i > 0) out += ", ";
    out += one;
  }
  return out;
}

}  // namespace

std::string path_text(const JsonPath& path) {
  if (!path.parent) return std::string(path.key);
  std::string out = path_text(*path.parent);
  if (path.key.data() == nullptr) return fmt::format("{}[{}]", out, path.index);
  const std::string_view key = path.key;
  const bool plain =
      !key.empty() && key.size() <= 64 && std::all_of(key.begin(), key.end(), [](unsigned char c) {
        return c > ' ' && c != 0x7F &&
               std::string_view(".[]\"\\:").find(static_cast<char>(c)) == std::string_view::npos;
      });
  if (plain) return fmt::format("{}.{}", out, key);
  const std::string quoted = to_text(Json(std::string(key.substr(0, 64))));
  return fmt::format("{}[{}{}]", out, quoted, key.size() > 64 ? "…" : "");
}

std::string types_text(std::uint8_t types) {
  if (types & kNumber) types &= static_cast<std::uint8_t>(~kInteger);
  static constexpr std::pair<Type, std::string_view> kNames[] = {
      {kString, "a string"}, {kInteger, "an integer"},
      {kNumber, "a number"}, {kBoolean, "true or false"},
      {kArray, "an array"},  {kObject, "an object"},
      {kNull, "null"}};
  std::string out;
  for (const auto& [type, name] : kNames) {
    if (!(types & type)) continue;
    if (!out.empty()) out += " or ";
    out += name;
  }
  return out;
}

bool Evaluator::run(const Json& value, std::string_view root) {
  const JsonPath path{.key = root};
  return evaluate(program_.root, {value, path, nullptr, 0}, nullptr) && stopped_.empty();
}

bool Evaluator::spend(std::size_t steps) {
  if (!stopped_.empty()) return false;
  if (steps_left_ < steps) return stop("takes too many steps to check");
  steps_left_ -= steps;
  return true;
}

bool Evaluator::stop(std::string why) {
  if (stopped_.empty()) stopped_ = std::move(why);
  return false;
}

bool Evaluator::report(NodeId id, std::string_view keyword, const JsonPath& path,
                       std::string_view what) {
  constexpr size_t kMessageSteps = 32;
  if (!sink_ || sink_->size() >= sink_limit_ || !spend(kMessageSteps)) return false;
  SchemaIssue issue{.path = path_text(path), .keyword = std::string(keyword)};
  issue.schema_path = program_.location(id);
  if (!keyword.empty()) (issue.schema_path += '/') += keyword;
  issue.message = issue.path;
  issue.message += what;
  sink_->push_back(std::move(issue));
  return false;
}

bool Evaluator::expected(NodeId id, std::string_view keyword, const Place& at,
                         std::string_view what) {
  return report(id, keyword, at.path,
                fmt::format(": expected {}, got {}", what, describe_value(at.value)));
}

bool Evaluator::evaluate(NodeId id, const Place& at, Marks* marks) {
  const Node& node = program_.nodes[id];
  if (!spend(1)) return false;
  if (node.kind == Node::Kind::always) return true;
  if (node.kind == Node::Kind::never)
    return sink_ &&
           report(id, "", at.path,
                  fmt::format(": no value is allowed here, got {}", describe_value(at.value)));
  if (at.depth >= kMaxEvaluationDepth)
    return stop(fmt::format("leads more than {} subschemas into one another", kMaxEvaluationDepth));
  const Scope* scope = at.scope;
  while (scope && scope->resource != node.resource) scope = scope->outer;
  const Scope entered{at.scope, node.resource};
  const Place here{at.value, at.path, scope ? at.scope : &entered, at.depth + 1};
  if (!node.has_unevaluated()) return apply(id, here, marks);
  if (!spend_marks(at.value)) return false;
  Marks own(at.value);
  if (!apply(id, here, &own)) return false;
  if (marks) marks->add(own);
  return true;
}

bool Evaluator::evaluate_quietly(NodeId id, const Place& at, Marks* marks) {
  const Redirect quiet(*this, nullptr, 0);
  return evaluate(id, at, marks);
}

bool Evaluator::apply(NodeId id, const Place& at, Marks* marks) {
  const Node& node = program_.nodes[id];
  if (node.types && !check_type(id, at)) return false;  // more about it would only confuse
  bool ok = true;
  if (!go_on(ok, check_enums(id, at))) return false;
  if (at.value.is_number() && node.number && !go_on(ok, check_number(id, at))) return false;
  if (at.value.is_string() && node.string && !go_on(ok, check_string(id, at))) return false;
  if (at.value.is_array() && node.array && !go_on(ok, check_array(id, at, marks))) return false;
  if (at.value.is_object() && node.object && !go_on(ok, check_object(id, at, marks))) return false;
  if (!go_on(ok, check_in_place(id, at, marks))) return false;
  // What failed above has marked nothing, so that this would complain of the same things again.
  return ok && (!node.has_unevaluated() || check_unevaluated(id, at, *marks));
}

bool Evaluator::check_type(NodeId id, const Place& at) {
  const Node& node = program_.nodes[id];
  if (type_of(at.value) & node.types) return true;
  return sink_ && expected(id, "type", at, types_text(node.types));
}

bool Evaluator::check_enums(NodeId id, const Place& at) {
  const Node& node = program_.nodes[id];
  if (!node.constant && !node.enumeration) return true;
  const std::string text = canonical_text(at.value);
  if (!spend(text.size() / 16)) return false;
  bool ok = true;
  if (node.constant && node.constant->canonical[0] != text) {
    const Json& value = *node.constant->values;
    const std::string written = to_text(value);
    const std::string what =
        sink_ ? fmt::format("exactly {}", written.size() <= 200 ? written : describe_value(value))
              : std::string();
    if (!go_on(ok, sink_ && expected(id, "const", at, what))) return false;
  }
  if (node.enumeration && !std::binary_search(node.enumeration->canonical.begin(),
                                              node.enumeration->canonical.end(), text)) {
    ok = false;
    if (sink_)
      expected(id, "enum", at, fmt::format("one of {}", list_text(*node.enumeration->values)));
  }
  return ok;
}

bool Evaluator::check_number(NodeId id, const Place& at) {
  const NumberRules& rules = *program_.nodes[id].number;
  bool ok = true;
  auto check = [&](const Json* limit, bool fine, std::string_view keyword, std::string_view what) {
    return !limit || fine ||
           (sink_ && expected(id, keyword, at, fmt::format("{} {}", what, to_text(*limit))));
  };
  const auto against = [&](const Json* limit) {
    return limit ? compare_numbers(at.value, *limit) : std::partial_ordering::unordered;
  };
  return go_on(ok, check(rules.minimum, against(rules.minimum) >= 0, "minimum",
                         "a number of at least")) &&
         go_on(ok, check(rules.maximum, against(rules.maximum) <= 0, "maximum",
                         "a number of at most")) &&
         go_on(ok, check(rules.exclusive_minimum, against(rules.exclusive_minimum) > 0,
                         "exclusiveMinimum", "a number above")) &&
         go_on(ok, check(rules.exclusive_maximum, against(rules.exclusive_maximum) < 0,
                         "exclusiveMaximum", "a number below")) &&
         go_on(ok, check(rules.multiple_of,
                         rules.multiple_of && is_multiple_of(at.value, *rules.multiple_of),
                         "multipleOf", "a multiple of")) &&
         ok;
}

bool Evaluator::check_string(NodeId id, const Place& at) {
  const StringRules& rules = *program_.nodes[id].string;
  const auto& text = at.value.get_ref<const std::string&>();
  if (!spend(text.size() / 16)) return false;
  bool ok = true;
  if (rules.min_length || rules.max_length) {
    const std::size_t length = count_characters(text);
    auto complain = [&](std::string_view keyword, std::string_view bound, std::uint64_t limit) {
      return report(id, keyword, at.path,
                    fmt::format(": expected {} {} character{}, got {}", bound, limit,
                                limit == 1 ? "" : "s", length));
    };
    if (rules.min_length && length < *rules.min_length &&
        !go_on(ok, sink_ && complain("minLength", "at least", *rules.min_length)))
      return false;
    if (rules.max_length && length > *rules.max_length &&
        !go_on(ok, sink_ && complain("maxLength", "at most", *rules.max_length)))
      return false;
  }
  if (rules.pattern && !spend(rules.pattern->cost(text))) return false;
  if (rules.pattern && !rules.pattern->matches(text)) {
    const std::string what = sink_
                                 ? fmt::format("a string that matches the pattern {}",
                                               to_text(Json(rules.pattern->text().substr(0, 200))))
                                 : std::string();
    if (!go_on(ok, sink_ && expected(id, "pattern", at, what))) return false;
  }
  if (rules.format && !has_format(*rules.format, text)) {
    ok = false;
    if (sink_) expected(id, "format", at, format_description(*rules.format));
  }
  return ok;
}

}  // namespace gpumcp::mcp::schema

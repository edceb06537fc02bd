// Schemas that are applied to the same value: references, allOf, anyOf, oneOf, not, if.
#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "mcp/schema/evaluator.h"

namespace gpumcp::mcp::schema {

bool Evaluator::check_in_place(NodeId id, const Place& at, Marks* marks) {
  const Node& node = program_.nodes[id];
  bool ok = true;
  if (node.ref != kNoNode && !go_on(ok, evaluate(node.ref, at, marks))) return false;
  if (node.dynamic_ref != kNoNode &&
      !go_on(ok, evaluate(dynamic_target(node, at.scope), at, marks)))
    return false;
  for (NodeId schema : node.all_of) {
    if (!go_on(ok, evaluate(schema, at, marks))) return false;
  }
  if (!node.any_of.empty() && !go_on(ok, check_any(id, at, marks))) return false;
  if (!node.one_of.empty() && !go_on(ok, check_one(id, at, marks))) return false;
  if (node.negated != kNoNode && evaluate_quietly(node.negated, at, nullptr)) {
    const std::string what =
        sink_ ? fmt::format(": {} is what \"not\" forbids", describe_value(at.value))
              : std::string();
    if (!go_on(ok, sink_ && report(id, "not", at.path, what))) return false;
  }
  if (node.condition != kNoNode && !go_on(ok, check_condition(id, at, marks))) return false;
  return ok;
}

// The outermost resource of the dynamic scope that has the anchor.
NodeId Evaluator::dynamic_target(const Node& node, const Scope* scope) {
  NodeId found = node.dynamic_ref;
  if (node.dynamic_anchor_ref.empty()) return found;
  for (; scope && spend(1); scope = scope->outer) {
    const auto& anchors = program_.resources[scope->resource].anchors;
    const auto anchor = anchors.find(node.dynamic_anchor_ref);
    if (anchor != anchors.end() && anchor->second.dynamic) found = anchor->second.node;
  }
  return found;
}

bool Evaluator::check_any(NodeId id, const Place& at, Marks* marks) {
  const auto& branches = program_.nodes[id].any_of;
  std::vector<SchemaIssue> reasons;
  bool any = false;
  for (NodeId schema : branches) {
    std::optional<Marks> own;
    if (marks && !spend_marks(at.value)) return false;
    if (marks) own.emplace(at.value);
    const Redirect redirect(*this, sink_ ? &reasons : nullptr, reasons.size() + 1);
    if (!evaluate(schema, at, own ? &*own : nullptr)) continue;
    any = true;
    if (!marks) break;
    marks->add(*own);
  }
  if (any || !sink_) return any;
  return report(id, "anyOf", at.path, alternatives(branches, reasons, at));
}

bool Evaluator::check_one(NodeId id, const Place& at, Marks* marks) {
  const auto& branches = program_.nodes[id].one_of;
  std::vector<SchemaIssue> reasons;
  std::vector<std::size_t> matches;
  for (std::size_t i = 0; i < branches.size() && matches.size() < 2; ++i) {
    std::optional<Marks> own;
    if (marks && !spend_marks(at.value)) return false;
    if (marks) own.emplace(at.value);
    const Redirect redirect(*this, sink_ ? &reasons : nullptr, reasons.size() + 1);
    if (!evaluate(branches[i], at, own ? &*own : nullptr)) continue;
    matches.push_back(i + 1);
    if (marks) marks->add(*own);
  }
  if (matches.size() == 1) return true;
  if (!sink_) return false;
  if (matches.empty()) return report(id, "oneOf", at.path, alternatives(branches, reasons, at));
  return report(id, "oneOf", at.path,
                fmt::format(": matches alternatives {} and {} of {}, but must match exactly one",
                            matches[0], matches[1], branches.size()));
}

bool Evaluator::check_condition(NodeId id, const Place& at, Marks* marks) {
  const Node& node = program_.nodes[id];
  std::optional<Marks> own;
  if (marks && !spend_marks(at.value)) return false;
  if (marks) own.emplace(at.value);
  const bool holds = evaluate_quietly(node.condition, at, own ? &*own : nullptr);
  if (holds && marks) marks->add(*own);
  const NodeId schema = holds ? node.consequence : node.alternative;
  return schema == kNoNode || evaluate(schema, at, marks);
}

// Why none of the alternatives fits: their types, if that is all there is to it, or a reason each.
std::string Evaluator::alternatives(const std::vector<NodeId>& branches,
                                    const std::vector<SchemaIssue>& reasons,
                                    const Place& at) const {
  const std::string path = path_text(at.path);
  std::uint8_t types = 0;
  bool only_types = reasons.size() == branches.size();
  for (std::size_t i = 0; i < reasons.size() && only_types; ++i) {
    only_types = reasons[i].keyword == "type" && reasons[i].path == path &&
                 program_.nodes[branches[i]].types != 0;
    types |= program_.nodes[branches[i]].types;
  }
  if (only_types)
    return fmt::format(": expected {}, got {}", types_text(types), describe_value(at.value));
  constexpr std::size_t kShown = 4;
  std::string out = fmt::format(": none of {} alternatives fits", branches.size());
  for (std::size_t i = 0; i < std::min(reasons.size(), kShown); ++i) {
    std::string_view reason = reasons[i].message;
    if (reasons[i].path == path) {  // it would only repeat the path
      reason.remove_prefix(path.size());
      if (reason.starts_with(": ")) reason.remove_prefix(2);
    }
    out += fmt::format("{} ({}) {}", i ? ";" : ":", i + 1, reason.substr(0, 300));
  }
  if (reasons.size() > kShown) out += "; …";
  return out;
}

}  // namespace gpumcp::mcp::schema

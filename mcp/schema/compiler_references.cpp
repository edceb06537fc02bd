// "$ref" and "$dynamicRef": finding what they name, once every identifier of the documents at hand
// is known, and refusing circles that never go into the value.
#include <fmt/format.h>

#include <charconv>

#include "mcp/schema/compiler.h"
#include "mcp/schema/meta_schema.h"
#include "mcp/schema/uri.h"

namespace gpumcp::mcp::schema {
namespace {

constexpr size_t kMaxReferenceBytes = 8192;

// The subschemas that are applied to the same value as this one.
std::vector<NodeId> in_place(const Node& node) {
  std::vector<NodeId> out;
  for (const auto* list : {&node.all_of, &node.any_of, &node.one_of})
    out.insert(out.end(), list->begin(), list->end());
  for (NodeId id : {node.ref, node.negated, node.condition, node.consequence, node.alternative})
    if (id != kNoNode) out.push_back(id);
  // Where an anchor of the dynamic scope may be nearer, the evaluator's bounds have to do.
  if (node.dynamic_ref != kNoNode && node.dynamic_anchor_ref.empty())
    out.push_back(node.dynamic_ref);
  if (node.object)
    for (const auto& [key, id] : node.object->dependent_schemas) out.push_back(id);
  return out;
}

// The token behind the '/' at `at`, unescaped; moves `at` to the next '/' or the end.
std::string next_token(const std::string& pointer, size_t& at) {
  const size_t end = std::min(pointer.find('/', at + 1), pointer.size());
  std::string out;
  for (size_t i = at + 1; i < end; ++i) {
    if (pointer[i] == '~' && i + 1 < end && (pointer[i + 1] == '0' || pointer[i + 1] == '1'))
      out += pointer[++i] == '0' ? '~' : '/';
    else
      out += pointer[i];
  }
  at = end;
  return out;
}

}  // namespace

void Compiler::resolve_references() {
  // Following one may compile more, which may hold references.
  for (size_t i = 0; i < references_.size(); ++i) {
    const Reference reference = references_[i];
    bool dynamic = false;
    const NodeId target = resolve(reference, dynamic);
    Node& from = node(reference.node);
    if (!reference.dynamic) {
      from.ref = target;
      continue;
    }
    from.dynamic_ref = target;
    if (dynamic) {
      const std::string_view text = reference.text;
      from.dynamic_anchor_ref = text.substr(text.find('#') + 1);
    }
  }
}

// `dynamic`: the fragment named a "$dynamicAnchor".
NodeId Compiler::resolve(const Reference& reference, bool& dynamic) {
  const char* keyword = reference.dynamic ? "$dynamicRef" : "$ref";
  if (reference.text.size() > kMaxReferenceBytes)
    error(reference.node, keyword, fmt::format("is longer than {} bytes", kMaxReferenceBytes));
  const std::string uri = resolve_uri(resource_of(reference.node).uri, reference.text);
  const auto known = by_uri_.find(uri);
  const ResourceId id = known != by_uri_.end() ? known->second : find_document(uri, reference);
  const Resource& resource = program_.resources[id];
  const std::string fragment = percent_decode(split_uri(reference.text).fragment);
  if (fragment.empty()) return resource.node;
  if (fragment[0] == '/') return follow_pointer(resource, reference, fragment);
  const auto anchor = resource.anchors.find(fragment);
  if (anchor == resource.anchors.end())
    error(reference.node, keyword,
          fmt::format("\"{}\" names no $anchor or $dynamicAnchor there", shown(reference.text)));
  dynamic = anchor->second.dynamic;
  return anchor->second.node;
}

NodeId Compiler::follow_pointer(const Resource& resource, const Reference& reference,
                                const std::string& pointer) {
  const Json* at = resource.root;
  NodeId known = resource.node;
  size_t known_end = 0;  // of the part of the pointer that leads to `known`
  for (size_t position = 0; position < pointer.size();) {
    const std::string token = next_token(pointer, position);
    const Json* next = nullptr;
    if (at->is_object()) {
      if (auto it = at->find(token); it != at->end()) next = &*it;
    } else if (at->is_array()) {
      size_t index = 0;
      const auto [end, code] = std::from_chars(token.data(), token.data() + token.size(), index);
      const bool plain = code == std::errc() && end == token.data() + token.size() &&
                         (token == "0" || token[0] != '0');
      if (plain && index < at->size()) next = &(*at)[index];
    }
    if (!next)
      error(reference.node, reference.dynamic ? "$dynamicRef" : "$ref",
            fmt::format("\"{}\" points to nothing: there is no \"{}\"", shown(reference.text),
                        shown(token)));
    at = next;
    if (auto it = compiled_.find(at); it != compiled_.end()) {
      known = it->second;
      known_end = position;
    }
  }
  // Below a keyword that is not known, say: a schema because something refers to it.
  return compile(*at, known, pointer.substr(known_end));
}

ResourceId Compiler::find_document(const std::string& uri, const Reference& reference) {
  if (auto it = options_.documents.find(uri); it != options_.documents.end())
    return add_document(it->second, uri);
  if (const Json* document = find_meta_schema(uri)) return add_document(*document, uri);
  error(reference.node, reference.dynamic ? "$dynamicRef" : "$ref",
        fmt::format("\"{}\" is not here, and schemas are not fetched: put it under $defs with that "
                    "$id, or among the documents of the options",
                    shown(uri)));
}

void Compiler::refuse_endless_references() const {
  enum class Mark : std::uint8_t { fresh, open, done };
  std::vector<Mark> marks(program_.nodes.size(), Mark::fresh);
  struct Step {
    NodeId node;
    std::vector<NodeId> next;
    size_t at = 0;
  };
  std::vector<Step> path;
  for (NodeId start = 0; start < program_.nodes.size(); ++start) {
    if (marks[start] != Mark::fresh) continue;
    marks[start] = Mark::open;
    path.push_back({start, in_place(program_.nodes[start])});
    while (!path.empty()) {
      Step& step = path.back();
      if (step.at == step.next.size()) {
        marks[step.node] = Mark::done;
        path.pop_back();
        continue;
      }
      const NodeId next = step.next[step.at++];
      if (marks[next] == Mark::open)
        error(step.node, "",
              fmt::format("leads back to {} without going into the value, so that it would never "
                          "end",
                          shown(program_.location(next))));
      if (marks[next] == Mark::fresh) {
        marks[next] = Mark::open;
        path.push_back({next, in_place(program_.nodes[next])});
      }
    }
  }
}

}  // namespace gpumcp::mcp::schema

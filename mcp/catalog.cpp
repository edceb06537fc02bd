#include "mcp/catalog.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace gpumcp::mcp {
namespace {

constexpr const char* kMembers[] = {"tools", "resources", "resourceTemplates", "prompts"};

Json listed(const Catalog::ToolEntry& entry, const std::string& version) {
  return to_json(entry.tool, version);
}
Json listed(const Catalog::PromptEntry& entry, const std::string& version) {
  return to_json(entry.prompt, version);
}
Json listed(const Catalog::ResourceEntry& entry, const std::string& version) {
  const ResourceTemplate& r = entry.resource;
  if (entry.is_template) return to_json(r, version);
  return to_json(Resource{r.uriTemplate, r.name, r.title, r.description, r.mimeType, entry.size,
                          r.annotations, r.icons, r._meta},
                 version);
}

bool belongs(const Catalog::ToolEntry&, ListKind) { return true; }
bool belongs(const Catalog::PromptEntry&, ListKind) { return true; }
bool belongs(const Catalog::ResourceEntry& entry, ListKind kind) {
  return entry.is_template == (kind == ListKind::templates);
}

// A cursor names the last entry of its page: "tools:12", in Base64 because it is opaque.
std::string make_cursor(ListKind kind, uint64_t number) {
  return base64_encode(fmt::format("{}:{}", kMembers[static_cast<int>(kind)], number));
}
std::optional<uint64_t> read_cursor(ListKind kind, const std::string& cursor) {
  const auto text = base64_decode(cursor);
  const std::string prefix = fmt::format("{}:", kMembers[static_cast<int>(kind)]);
  if (!text || !text->starts_with(prefix)) return std::nullopt;
  uint64_t number = 0;
  const char* end = text->data() + text->size();
  const auto [at, error] = std::from_chars(text->data() + prefix.size(), end, number);
  return error == std::errc() && at == end ? std::optional(number) : std::nullopt;
}

template <class T>
std::string write_page(const std::vector<std::shared_ptr<const T>>& entries, ListKind kind,
                       const std::string& version, uint64_t after, size_t page_size) {
  Json list = Json::array();
  std::string cursor;
  uint64_t last = 0;
  for (auto& entry : entries) {
    if (entry->number <= after || !belongs(*entry, kind)) continue;
    if (page_size && list.size() == page_size) {
      cursor = make_cursor(kind, last);
      break;
    }
    list.push_back(listed(*entry, version));
    last = entry->number;
  }
  std::string out = fmt::format(R"({{"{}":{})", kMembers[static_cast<int>(kind)], to_text(list));
  if (!cursor.empty()) append_string(out += R"(,"nextCursor":)", cursor);
  return out += '}';
}

}  // namespace

Catalog::Catalog(const Catalog& other)
    : tools(other.tools),
      resources(other.resources),
      prompts(other.prompts),
      completers(other.completers) {}

std::shared_ptr<const Catalog::ToolEntry> Catalog::find_tool(std::string_view name) const {
  for (auto& entry : tools)
    if (entry->tool.name == name) return entry;
  return nullptr;
}

std::shared_ptr<const Catalog::PromptEntry> Catalog::find_prompt(std::string_view name) const {
  for (auto& entry : prompts)
    if (entry->prompt.name == name) return entry;
  return nullptr;
}

std::shared_ptr<const Catalog::ResourceEntry> Catalog::find_resource(std::string_view uri) const {
  for (auto& entry : resources)
    if (!entry->is_template && entry->resource.uriTemplate == uri) return entry;
  for (auto& entry : resources) {
    if (entry->is_template && match_uri_template(entry->resource.uriTemplate, uri)) return entry;
  }
  return nullptr;
}

const Completer* Catalog::find_completer(const std::string& owner,
                                         const std::string& argument) const {
  auto it = completers.find({owner, argument});
  return it == completers.end() ? nullptr : it->second.get();
}

bool Catalog::has(ListKind kind) const {
  switch (kind) {
    case ListKind::tools:
      return !tools.empty();
    case ListKind::prompts:
      return !prompts.empty();
    default:
      return !resources.empty();
  }
}

Result<std::string> Catalog::page(ListKind kind, const std::string& version,
                                  const std::optional<std::string>& cursor,
                                  size_t page_size) const {
  uint64_t after = 0;
  if (cursor) {
    const auto number = read_cursor(kind, *cursor);
    if (!number)
      return fail(ErrorCode::invalid_params,
                  fmt::format("params.cursor: \"{}\" is none of this list's; leave it out to list "
                              "from the start",
                              cursor->substr(0, 40)));
    after = *number;
  }
  auto write = [&] {
    switch (kind) {
      case ListKind::tools:
        return write_page(tools, kind, version, after, page_size);
      case ListKind::prompts:
        return write_page(prompts, kind, version, after, page_size);
      default:
        return write_page(resources, kind, version, after, page_size);
    }
  };
  if (cursor) return write();
  std::scoped_lock lock(mutex_);
  std::string& text = whole_lists_[{static_cast<int>(kind), version}];  // its first page, if paged
  if (text.empty()) text = write();
  return text;
}

}  // namespace gpumcp::mcp

// Lists to their last page, reads, and what is remembered of both. A cursor is opaque, and an empty
// one is one too; a server whose pages do not end is an error. What a call keeps is dropped when
// the server says that it changed, also if that comes while the call is in flight.
#include <fmt/format.h>

#include <set>

#include "mcp/client.h"
#include "mcp/json_members.h"
#include "mcp/param_headers.h"

namespace gpumcp::mcp {
namespace {

constexpr size_t kMaxPages = 1000;
constexpr size_t kMaxListBytes = 256u << 20;

tl::unexpected<Error> endless(std::string_view method, std::string why) {
  return fail(ErrorCode::invalid_request,
              fmt::format("the server's answers to {} do not end: {}", method, why));
}

}  // namespace

ClientCache::Key Client::cache_key(std::string_view method, std::string_view params) const {
  return {options_.server, options_.principal, std::string(method), std::string(params)};
}

void Client::forget(std::string_view method, std::optional<std::string_view> uri) {
  ++changes_;
  cache_->drop(options_.server, method, uri);
}

void Client::forget_all() {
  for (const char* method : {"tools/list", "prompts/list", "resources/list",
                             "resources/templates/list", "resources/read"})
    forget(method);
}

Result<ClientCache::Texts> Client::pages(std::string_view method, const CallOptions& options) {
  const auto key = cache_key(method, "");
  if (!options.fresh) {
    if (auto known = cache_->find(key)) return known;
  }
  const uint64_t changes = changes_;
  std::vector<std::string> texts;
  std::set<std::string> cursors;
  CacheHint hint;
  size_t bytes = 0;
  std::string cursor;  // as JSON; empty: the first page
  do {
    auto text = request(method, cursor.empty() ? "" : "\"cursor\":" + cursor, options);
    if (!text) return tl::unexpected(std::move(text.error()));
    const CacheHint page = CacheHint::of(*text);
    hint = texts.empty()
               ? page
               : CacheHint{std::min(hint.ttl, page.ttl), hint.is_public && page.is_public};
    cursor.clear();
    (void)scan_json(*text, [&](std::string_view name, std::string_view value) {
      if (name == "nextCursor" && value.starts_with('"')) cursor = value;
    });
    if (!cursor.empty() && !cursors.insert(cursor).second)
      return endless(method, fmt::format("the cursor {} came twice", cursor.substr(0, 80)));
    if ((bytes += text->size()) > kMaxListBytes)
      return endless(method, fmt::format("{} bytes are the limit", kMaxListBytes));
    texts.push_back(std::move(*text));
  } while (!cursor.empty() && texts.size() < kMaxPages);
  if (!cursor.empty()) return endless(method, fmt::format("{} pages are the limit", kMaxPages));
  if (changes == changes_) cache_->store(key, texts, hint);
  return std::make_shared<const std::vector<std::string>>(std::move(texts));
}

template <class T>
Result<std::vector<T>> Client::list(std::string_view method, const char* member_name,
                                    Result<T> (*read)(const Json&), const CallOptions& options) {
  auto texts = pages(method, options);
  if (!texts) return tl::unexpected(std::move(texts.error()));
  std::vector<T> out;
  for (const std::string& text : **texts) {
    auto json = parse_json(text);
    if (!json) return tl::unexpected(std::move(json.error()));
    const Json* items = member(*json, member_name);
    if (!items || !items->is_array())
      return fail(ErrorCode::invalid_params,
                  fmt::format("the result of {} needs an array \"{}\"", method, member_name));
    for (const Json& one : *items) {
      auto item = read(one);
      if (!item) return tl::unexpected(std::move(item.error()));
      out.push_back(std::move(*item));
    }
  }
  return out;
}

Result<std::vector<Tool>> Client::list_tools(const CallOptions& options) {
  auto tools = list<Tool>("tools/list", "tools", tool_from_json, options);
  if (tools && modern() && transport_->carries_headers())
    std::erase_if(*tools, [](const Tool& tool) { return !find_param_headers(tool.inputSchema); });
  return tools;
}

Result<std::vector<Resource>> Client::list_resources(const CallOptions& options) {
  return list<Resource>("resources/list", "resources", resource_from_json, options);
}

Result<std::vector<ResourceTemplate>> Client::list_resource_templates(const CallOptions& options) {
  return list<ResourceTemplate>("resources/templates/list", "resourceTemplates",
                                resource_template_from_json, options);
}

Result<std::vector<Prompt>> Client::list_prompts(const CallOptions& options) {
  return list<Prompt>("prompts/list", "prompts", prompt_from_json, options);
}

Result<std::vector<ResourceContents>> Client::read_resource(const std::string& uri,
                                                            const CallOptions& options) {
  std::string params = "\"uri\":";
  append_string(params, uri);
  const auto key = cache_key("resources/read", params);
  if (!options.fresh) {
    if (auto known = cache_->find(key)) return resource_contents_from_text(known->front());
  }
  const uint64_t changes = changes_;
  auto outcome = request_rounds("resources/read", params, options);
  if (!outcome) return tl::unexpected(std::move(outcome.error()));
  const std::string& text = outcome->text;
  // What came of answers to questions is no one else's, and not even ours a second time.
  if (outcome->rounds == 1 && changes == changes_) cache_->store(key, {text}, CacheHint::of(text));
  return resource_contents_from_text(text);
}

}  // namespace gpumcp::mcp

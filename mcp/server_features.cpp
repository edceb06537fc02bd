// Server's features: adding and removing them, what is advertised, who is told.
#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>

#include "mcp/checked_tool.h"
#include "mcp/server_impl.h"

namespace gpumcp::mcp {

std::string check_tool(const Tool& tool, bool for_hosts) {
  auto bad = [&](std::string why) { return fmt::format("tool \"{}\": {}", tool.name, why); };
  const bool charset = std::all_of(tool.name.begin(), tool.name.end(), [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || (!for_hosts && c == '.');
  });
  const size_t longest = for_hosts ? 64 : 128;
  if (tool.name.empty() || tool.name.size() > longest || !charset)
    return bad(fmt::format("{} names of 1 to {} characters of A-Z a-z 0-9 _ -{} only",
                           for_hosts ? "hosts take" : "the specification has", longest,
                           for_hosts ? "" : " ."));
  if (tool.description.empty()) return bad("a description is needed: agents choose tools by it");
  if (!tool.inputSchema.is_object() || tool.inputSchema.value("type", "") != "object")
    return bad("the input schema's root must be {\"type\": \"object\"}");
  for (const char* keyword : {"anyOf", "oneOf", "allOf"}) {
    if (for_hosts && tool.inputSchema.contains(keyword))
      return bad(fmt::format(
          "\"{}\" at the input schema's root is refused by hosts: move it into a property",
          keyword));
  }
  if (!tool.outputSchema.is_null() && !tool.outputSchema.is_object())
    return bad("the output schema must be an object");
  return {};
}

std::shared_ptr<const Catalog> Server::Impl::catalog() const {
  std::scoped_lock lock(catalog_mutex_);
  return catalog_;
}

void Server::Impl::edit(const std::function<void(Catalog&, uint64_t)>& change) {
  std::scoped_lock lock(catalog_mutex_);
  auto next = std::make_shared<Catalog>(*catalog_);
  change(*next, registrations_ + 1);
  ++registrations_;
  catalog_ = std::move(next);
}

void Server::Impl::prepare_tool(Catalog::ToolEntry& entry) const {
  if (std::string problem = check_tool(entry.tool, options.for_hosts); !problem.empty())
    throw std::invalid_argument(problem);
  auto headers = find_param_headers(entry.tool.inputSchema);
  if (!headers)  // clients leave such a tool out
    throw std::invalid_argument(
        fmt::format("tool \"{}\": {}", entry.tool.name, headers.error().message));
  entry.param_headers = std::move(*headers);
}

void Server::Impl::add_tool(Catalog::ToolEntry entry, Checks checks) {
  prepare_tool(entry);
  if (checks == Checks::by_schema)
    entry.handler = check_calls(entry.tool, std::move(entry.handler));
  edit([&](Catalog& catalog, uint64_t number) {
    if (catalog.find_tool(entry.tool.name))
      throw std::invalid_argument(fmt::format("tool \"{}\" is added twice", entry.tool.name));
    entry.number = number;
    catalog.tools.push_back(std::make_shared<Catalog::ToolEntry>(std::move(entry)));
  });
  changed_list("tools");
}

void Server::Impl::add_resource(Catalog::ResourceEntry entry) {
  if (entry.is_template) {
    if (std::string problem = check_uri_template(entry.resource.uriTemplate); !problem.empty())
      throw std::invalid_argument(problem);
  }
  edit([&](Catalog& catalog, uint64_t number) {
    for (auto& other : catalog.resources) {
      if (other->resource.uriTemplate == entry.resource.uriTemplate)
        throw std::invalid_argument(
            fmt::format("resource \"{}\" is added twice", entry.resource.uriTemplate));
    }
    entry.number = number;
    catalog.resources.push_back(std::make_shared<Catalog::ResourceEntry>(std::move(entry)));
  });
  changed_list("resources");
}

void Server::Impl::changed_list(std::string_view what) { subscriptions.list_changed(what); }

Implementation Server::Impl::info() const {
  return {options.name,        options.version,     options.title,
          options.description, options.website_url, options.icons};
}

Json Server::Impl::capabilities(std::string_view version) const {
  const auto catalog = this->catalog();
  Json out = {{"logging", Json::object()}};
  if (!catalog->completers.empty() && version >= "2025-03-26") out["completions"] = Json::object();
  if (catalog->has(ListKind::prompts)) out["prompts"] = {{"listChanged", true}};
  if (catalog->has(ListKind::resources))
    out["resources"] = {{"subscribe", true}, {"listChanged", true}};
  if (catalog->has(ListKind::tools)) out["tools"] = {{"listChanged", true}};
  if (is_modern_version(version) && catalog->has(ListKind::tools) && tasks.enabled())
    out["extensions"] = Json{{kTasksExtension, Json::object()}};
  return out;
}

bool Server::Impl::advertises(std::string_view method) const {
  if (method.starts_with("tools/")) return catalog()->has(ListKind::tools);
  if (method.starts_with("resources/")) return catalog()->has(ListKind::resources);
  if (method.starts_with("prompts/")) return catalog()->has(ListKind::prompts);
  if (method.starts_with("completion/")) return !catalog()->completers.empty();
  return true;
}

void Server::add_tool(Tool tool, ToolHandler handler) {
  impl_->add_tool({std::move(tool), std::move(handler), nullptr}, Impl::Checks::by_schema);
}

void Server::add_typed_tool(Tool tool, ToolHandler handler) {
  impl_->add_tool({std::move(tool), std::move(handler), nullptr}, Impl::Checks::own);
}

void Server::add_resource(Resource r, ResourceReader reader) {
  impl_->add_resource({.resource = {r.uri, r.name, r.title, r.description, r.mimeType,
                                    r.annotations, r.icons, r._meta},
                       .size = r.size,
                       .reader = std::move(reader)});
}

void Server::add_resource_template(ResourceTemplate resource, ResourceReader reader) {
  impl_->add_resource(
      {.resource = std::move(resource), .is_template = true, .reader = std::move(reader)});
}

void Server::add_prompt(Prompt prompt, PromptHandler handler) {
  if (prompt.name.empty()) throw std::invalid_argument("a prompt needs a name");
  impl_->edit([&](Catalog& catalog, uint64_t number) {
    if (catalog.find_prompt(prompt.name))
      throw std::invalid_argument(fmt::format("prompt \"{}\" is added twice", prompt.name));
    catalog.prompts.push_back(std::make_shared<Catalog::PromptEntry>(
        Catalog::PromptEntry{std::move(prompt), std::move(handler), number}));
  });
  impl_->changed_list("prompts");
}

void Server::add_completer(const std::string& prompt_or_template, const std::string& argument,
                           Completer completer) {
  impl_->edit([&](Catalog& catalog, uint64_t) {
    catalog.completers[{prompt_or_template, argument}] =
        std::make_shared<const Completer>(std::move(completer));
  });
}

void Server::add_forwarded(std::vector<Tool> tools, std::vector<ResourceTemplate> templates,
                           Forwarder forwarder) {
  auto shared = std::make_shared<const Forwarder>(std::move(forwarder));
  // Not checked here: bytes pass as they are, and whoever runs the tool checks them.
  for (Tool& tool : tools) impl_->add_tool({std::move(tool), nullptr, shared}, Impl::Checks::own);
  for (ResourceTemplate& one : templates)
    impl_->add_resource(
        {.resource = std::move(one), .is_template = true, .reader = nullptr, .forwarder = shared});
}

void Server::replace_forwarded(std::vector<Tool> tools, const std::vector<std::string>& removed,
                               Forwarder forwarder) {
  auto shared = std::make_shared<const Forwarder>(std::move(forwarder));
  std::vector<Catalog::ToolEntry> entries;
  for (Tool& tool : tools) {
    entries.push_back({std::move(tool), nullptr, shared});
    impl_->prepare_tool(entries.back());
  }
  for (Catalog::ToolEntry& entry : entries) {
    impl_->edit([&](Catalog& catalog, uint64_t number) {
      for (auto& listed : catalog.tools) {
        if (listed->tool.name != entry.tool.name) continue;
        entry.number = listed->number;  // cursors know it by that
        listed = std::make_shared<Catalog::ToolEntry>(std::move(entry));
        return;
      }
      entry.number = number;
      catalog.tools.push_back(std::make_shared<Catalog::ToolEntry>(std::move(entry)));
    });
  }
  impl_->edit([&](Catalog& catalog, uint64_t) {
    std::erase_if(catalog.tools, [&](auto& listed) {
      return std::find(removed.begin(), removed.end(), listed->tool.name) != removed.end();
    });
  });
  impl_->changed_list("tools");
}

namespace {
// Removes what `matches`, and says whether there was any.
template <class List, class Matches>
bool remove_from(Server::Impl& impl, List Catalog::* list, Matches matches) {
  bool removed = false;
  impl.edit([&](Catalog& catalog, uint64_t) {
    removed = std::erase_if(catalog.*list, [&](auto& entry) { return matches(*entry); }) > 0;
  });
  return removed;
}
}  // namespace

bool Server::remove_tool(std::string_view name) {
  const bool removed =
      remove_from(*impl_, &Catalog::tools, [&](auto& e) { return e.tool.name == name; });
  if (removed) impl_->changed_list("tools");
  return removed;
}

bool Server::remove_resource(std::string_view uri) {
  const bool removed = remove_from(*impl_, &Catalog::resources,
                                   [&](auto& e) { return e.resource.uriTemplate == uri; });
  if (removed) impl_->changed_list("resources");
  return removed;
}

bool Server::remove_prompt(std::string_view name) {
  const bool removed =
      remove_from(*impl_, &Catalog::prompts, [&](auto& e) { return e.prompt.name == name; });
  if (removed) impl_->changed_list("prompts");
  return removed;
}

void Server::notify_resource_updated(const std::string& uri) {
  impl_->subscriptions.resource_updated(uri);
}
void Server::notify_elicitation_complete(const std::string& elicitation_id) {
  impl_->subscriptions.elicitation_complete(elicitation_id);
}
void Server::notify_list_changed(std::string_view what) { impl_->changed_list(what); }

}  // namespace gpumcp::mcp

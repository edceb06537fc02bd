// Catalog: what a server offers, as one immutable snapshot. The server replaces it as a whole when
// something is added or removed; a request keeps the one that it began with, so entries live as
// long as a call of theirs runs. Private to mcp. Thread-safe; the text of lists is cached inside.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "mcp/param_headers.h"
#include "mcp/server.h"
#include "mcp/stand_ins.h"
#include "mcp/uri_template.h"

namespace gpumcp::mcp {

enum class ListKind { tools, resources, templates, prompts };

class Catalog {
 public:
  // `number` grows with each registration; cursors are made of it, so that a page goes on where the
  // last one ended even if something was added or removed between them.
  struct ToolEntry {
    Tool tool;
    ToolHandler handler;  // empty: forwarded
    std::shared_ptr<const Forwarder> forwarder;
    uint64_t number = 0;
    std::vector<ParamHeader> param_headers = {};
    std::shared_ptr<Pace> pace = std::make_shared<Pace>();
  };
  struct ResourceEntry {
    ResourceTemplate resource;  // uriTemplate holds the URI of a plain resource
    std::optional<int64_t> size = {};
    bool is_template = false;
    ResourceReader reader;  // empty: forwarded
    std::shared_ptr<const Forwarder> forwarder;
    uint64_t number = 0;
    std::shared_ptr<Pace> pace = std::make_shared<Pace>();
  };
  struct PromptEntry {
    Prompt prompt;
    PromptHandler handler;
    uint64_t number = 0;
    std::shared_ptr<Pace> pace = std::make_shared<Pace>();
  };
  template <class T>
  using Entries = std::vector<std::shared_ptr<const T>>;

  Entries<ToolEntry> tools;  // in the order of registration, which is the order of the list
  Entries<ResourceEntry> resources;
  Entries<PromptEntry> prompts;
  std::map<std::pair<std::string, std::string>, std::shared_ptr<const Completer>>
      completers;  // by prompt name or URI template, and argument

  Catalog() = default;
  Catalog(const Catalog& other);  // without the cache

  std::shared_ptr<const ToolEntry> find_tool(std::string_view name) const;
  std::shared_ptr<const PromptEntry> find_prompt(std::string_view name) const;
  // A resource by its URI, or the first template that makes it.
  std::shared_ptr<const ResourceEntry> find_resource(std::string_view uri) const;
  const Completer* find_completer(const std::string& owner, const std::string& argument) const;
  bool has(ListKind kind) const;

  // The list's result as text, {"tools":[…],"nextCursor":…}: the entries after `cursor` (empty:
  // from the start), at most `page_size` of them (0: all).
  Result<std::string> page(ListKind kind, const std::string& version,
                           const std::optional<std::string>& cursor, size_t page_size) const;

 private:
  mutable std::mutex mutex_;
  mutable std::map<std::pair<int, std::string>, std::string> whole_lists_;
};

}  // namespace gpumcp::mcp

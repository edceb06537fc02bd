// What agents see of the tools' names in a sandbox of several interfaces: as the authors gave them,
// but where two interfaces have tools of one name, each of those is shown as INTERFACE_TOOL, with
// as many words of the interface's name as fit into kMaxToolName characters: language_model's
// get_model_info is language_get_model_info.
// Fronts, relays and workers settle the names each for themselves, from the same manifests in the
// same order. One thread, at start.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "mcp/registry.h"
#include "sandbox/manifest.h"
#include "sandbox/sandbox_config.h"
#include "sandbox/tool_guard.h"

namespace gpumcp::sandbox {

// A tool's own name -> the one that agents see, where that is another.
using ToolNames = std::map<std::string, std::string>;

// Renames the manifests' tools, and says for each manifest what was renamed. Throws
// std::invalid_argument if names are still not unique (two interfaces of one name with tools of one
// name), or if a tool's own name leaves no room for its interface's.
std::vector<ToolNames> settle_tool_names(std::vector<Manifest>& manifests);

// The manifests of a sandbox's interfaces, under the names that its configuration gives those. Not
// settled.
mcp::Result<std::vector<Manifest>> load_manifests(const SandboxConfig& config);

// The same the other way: the configuration's interfaces, their names and files are the manifests'.
void set_interfaces(SandboxConfig& config, const std::vector<Manifest>& manifests);

// By what words a model is told: its name, its folders'. The longest first, so that none is left of
// another.
std::vector<std::string> words_of_hidden(const std::vector<ModelConfig>& models);

// A Registry that adds to another one, tools under other names. What is not renamed keeps its name.
class RenamingRegistry final : public mcp::Registry {
 public:
  explicit RenamingRegistry(mcp::Registry& target, ToolGuard* guard = nullptr)
      : target_(target), guard_(guard) {}
  // For what is added from now on.
  void rename(ToolNames names) { names_ = std::move(names); }

  void add_tool(mcp::Tool tool, mcp::ToolHandler handler) override;
  void add_typed_tool(mcp::Tool tool, mcp::ToolHandler handler) override;
  void add_resource(mcp::Resource resource, mcp::ResourceReader reader) override;
  void add_resource_template(mcp::ResourceTemplate resource, mcp::ResourceReader reader) override;

 private:
  mcp::Tool renamed(mcp::Tool tool) const;
  mcp::ToolHandler guarded(mcp::ToolHandler handler) const;

  mcp::Registry& target_;
  ToolGuard* guard_;  // of all calls; may be null
  ToolNames names_;
};

}  // namespace gpumcp::sandbox

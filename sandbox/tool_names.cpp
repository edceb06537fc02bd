#include "sandbox/tool_names.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <stdexcept>

namespace gpumcp::sandbox {
namespace {

constexpr const char* kBetweenWords = "_-";

// An interface's name is its author's; a tool's knows fewer characters.
std::string plain_name(std::string interface) {
  for (char& c : interface) {
    const bool fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                      c == '_' || c == '-';
    if (!fine) c = '_';
  }
  return interface;
}

// What of a name fits into so many characters: its first words, or its last; part of a word where
// not even one fits.
std::string first_words(const std::string& name, size_t room) {
  if (name.size() <= room) return name;
  const size_t end = name.find_last_of(kBetweenWords, room);
  return name.substr(0, end == name.npos || end == 0 ? room : end);
}
std::string last_words(const std::string& name, size_t room) {
  if (name.size() <= room) return name;
  const size_t before = name.find_first_of(kBetweenWords, name.size() - room - 1);
  return name.substr(before == name.npos || before + 1 == name.size() ? name.size() - room
                                                                      : before + 1);
}

// The names of one tool that several interfaces have, in their order.
std::vector<std::string> shown_names(const std::vector<const Manifest*>& owners,
                                     const std::string& tool) {
  if (tool.size() + 2 > mcp::kMaxToolName) {
    throw std::invalid_argument(fmt::format(
        "{} and {} both have a tool {}, and its {} characters leave no room to say whose it is: "
        "names have {} at most; shorten it in one of them, or serve them apart",
        owners[0]->library.string(), owners[1]->library.string(), tool, tool.size(),
        mcp::kMaxToolName));
  }
  const size_t room = mcp::kMaxToolName - tool.size() - 1;
  std::vector<std::string> names;
  for (const auto part : {first_words, last_words}) {  // report_v1 and report_v2 differ at the end
    names.clear();
    for (const Manifest* owner : owners)
      names.push_back(part(plain_name(owner->name), room) + "_" + tool);
    if (std::set<std::string>(names.begin(), names.end()).size() == names.size()) break;
  }
  return names;
}

}  // namespace

std::vector<ToolNames> settle_tool_names(std::vector<Manifest>& manifests) {
  std::map<std::string, std::vector<const Manifest*>> owners;
  for (const Manifest& manifest : manifests) {
    for (const mcp::Tool& tool : manifest.tools) owners[tool.name].push_back(&manifest);
  }
  std::map<std::pair<const Manifest*, std::string>, std::string> shown;
  for (const auto& [tool, all] : owners) {
    if (all.size() < 2) continue;
    std::vector<std::string> names = shown_names(all, tool);
    for (size_t i = 0; i < all.size(); ++i) shown[{all[i], tool}] = std::move(names[i]);
  }
  std::map<std::string, const Manifest*> seen;
  std::vector<ToolNames> renamed;
  for (Manifest& manifest : manifests) {
    ToolNames& names = renamed.emplace_back();
    for (mcp::Tool& tool : manifest.tools) {
      if (const auto other = shown.find({&manifest, tool.name}); other != shown.end())
        tool.name = names[tool.name] = other->second;
      const auto [other, fresh] = seen.emplace(tool.name, &manifest);
      if (fresh) continue;
      throw std::invalid_argument(fmt::format(
          "{} and {} would both have a tool {}: give the interfaces names of their own in "
          "gpumcp.toml, or serve them apart",
          other->second->library.string(), manifest.library.string(), tool.name));
    }
  }
  return renamed;
}

mcp::Result<std::vector<Manifest>> load_manifests(const SandboxConfig& config) {
  std::vector<Manifest> out;
  for (size_t i = 0; i < config.interfaces.size(); ++i) {
    auto manifest = load_manifest(config.interfaces[i]);
    if (!manifest) return tl::unexpected(std::move(manifest.error()));
    if (i < config.interface_names.size()) manifest->name = config.interface_names[i];
    out.push_back(std::move(*manifest));
  }
  return out;
}

void set_interfaces(SandboxConfig& config, const std::vector<Manifest>& manifests) {
  config.interfaces.clear();
  config.interface_names.clear();
  config.dependencies.clear();
  for (auto& manifest : manifests) {
    config.interfaces.push_back(manifest.library);
    if (manifests.size() > 1) config.interface_names.push_back(manifest.name);
    for (auto& path : manifest.dependencies) {
      if (path != manifest.library) config.dependencies.push_back(path);
    }
  }
}

std::vector<std::string> words_of_hidden(const std::vector<ModelConfig>& models) {
  std::vector<std::string> out;
  for (const ModelConfig& model : models) {
    if (!model.hidden) continue;
    for (const std::string& name : {model.name, model.base}) {
      if (name.empty()) continue;
      out.push_back(name);
      std::string folder = name;  // ORG--NAME, in the stores
      if (const size_t slash = folder.find('/'); slash != folder.npos) {
        out.push_back(folder.substr(slash + 1));
        folder.replace(slash, 1, "--");
        out.push_back(std::move(folder));
      }
    }
    for (auto& path : {model.path, model.adapter}) {
      if (!path.empty()) out.push_back(path.string());
    }
  }
  std::sort(out.begin(), out.end(),
            [](const std::string& a, const std::string& b) { return a.size() > b.size(); });
  return out;
}

mcp::ToolHandler RenamingRegistry::guarded(mcp::ToolHandler handler) const {
  return guard_ ? guard_->wrap(std::move(handler)) : handler;
}

mcp::Tool RenamingRegistry::renamed(mcp::Tool tool) const {
  if (const auto name = names_.find(tool.name); name != names_.end()) tool.name = name->second;
  return tool;
}

void RenamingRegistry::add_tool(mcp::Tool tool, mcp::ToolHandler handler) {
  target_.add_tool(renamed(std::move(tool)), guarded(std::move(handler)));
}
void RenamingRegistry::add_typed_tool(mcp::Tool tool, mcp::ToolHandler handler) {
  target_.add_typed_tool(renamed(std::move(tool)), guarded(std::move(handler)));
}
void RenamingRegistry::add_resource(mcp::Resource resource, mcp::ResourceReader reader) {
  target_.add_resource(std::move(resource), std::move(reader));
}
void RenamingRegistry::add_resource_template(mcp::ResourceTemplate resource,
                                             mcp::ResourceReader reader) {
  target_.add_resource_template(std::move(resource), std::move(reader));
}

}  // namespace gpumcp::sandbox

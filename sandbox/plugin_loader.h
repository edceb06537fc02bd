// Opens interfaces: shared libraries that export a PluginEntry. They stay open for the life of the
// process. Used by workers, and by the process that makes a manifest. One thread, at start.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "mcp/plugin.h"

namespace gpumcp::sandbox {

// dlopen, find the entry, check that it was built for this program. Errors name the file and the
// remedy.
mcp::Result<const mcp::PluginEntry*> open_plugin(const std::filesystem::path& library);

// A PluginHost over any Registry; keeps the callbacks and objects that plugins leave.
class PluginHost final : public mcp::PluginHost {
 public:
  // shell_tools: whether add_shell_tool() serves, or drops, what it gets.
  PluginHost(mcp::Registry& registry, mcp::Json options, bool shell_tools = false)
      : registry_(registry), options_(std::move(options)), shell_tools_(shell_tools) {}
  mcp::Registry& registry() override { return registry_; }
  const mcp::Json& options() const override { return options_; }
  void on_status(std::function<mcp::Json()> status) override {
    status_.push_back(std::move(status));
  }
  void on_load(std::function<void(mcp::Context&)> load) override {
    load_.push_back(std::move(load));
  }
  void on_shutdown(std::function<void()> shutdown) override {
    shutdown_.push_back(std::move(shutdown));
  }
  std::shared_ptr<void> share(const std::string& name,
                              const std::function<std::shared_ptr<void>()>& make) override;

  void leave(const std::string& why) override {
    if (on_leave) on_leave(why);
  }

  void add_shell_tool(mcp::Tool tool, mcp::ToolHandler handler) override {
    if (shell_tools_) registry_.add_typed_tool(std::move(tool), std::move(handler));
  }

  mcp::Json status() const;                // the members of all callbacks' objects
  void load(mcp::Context& context) const;  // all callbacks, in order, up to the first that throws
  void shutdown();

  std::function<void(const std::string& why)> on_leave;  // set before any plugin is loaded

 private:
  mcp::Registry& registry_;
  const mcp::Json options_;
  const bool shell_tools_;
  std::vector<std::function<mcp::Json()>> status_;
  std::vector<std::function<void(mcp::Context&)>> load_;
  std::vector<std::function<void()>> shutdown_;
  std::map<std::string, std::shared_ptr<void>> shared_;
};

// The same host, with settings for one interface more. Refers to `host`, which outlives it.
class InterfaceHost final : public mcp::PluginHost {
 public:
  InterfaceHost(mcp::PluginHost& host, const mcp::Json& more);
  mcp::Registry& registry() override { return host_.registry(); }
  const mcp::Json& options() const override { return options_; }
  void on_status(std::function<mcp::Json()> status) override { host_.on_status(std::move(status)); }
  void on_load(std::function<void(mcp::Context&)> load) override { host_.on_load(std::move(load)); }
  void on_shutdown(std::function<void()> shutdown) override {
    host_.on_shutdown(std::move(shutdown));
  }
  std::shared_ptr<void> share(const std::string& name,
                              const std::function<std::shared_ptr<void>()>& make) override {
    return host_.share(name, make);
  }
  void leave(const std::string& why) override { host_.leave(why); }
  void add_shell_tool(mcp::Tool tool, mcp::ToolHandler handler) override {
    host_.add_shell_tool(std::move(tool), std::move(handler));
  }

 private:
  mcp::PluginHost& host_;
  mcp::Json options_;
};

}  // namespace gpumcp::sandbox

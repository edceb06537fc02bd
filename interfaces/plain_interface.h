// PlainInterface: what the body of GPUMCP_INTERFACE receives where no model is used: typed
// functions in a shared library, no torch anywhere (gpumcp_add_interface(… NO_TORCH …)). Interface
// (interface.h) adds models. Lives while the body runs, on the thread that loads the library; what
// it registers stays for the life of the process. A bad name (more than 24 characters, for one) or
// schema throws std::invalid_argument from expose(), so a bad interface never serves.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "mcp/plugin.h"
#include "mcp/umbrella.h"

namespace gpumcp {

namespace detail {
// Hosts refuse what is too long together with the name that they give the server.
inline mcp::Tool short_named(mcp::Tool tool) {
  if (tool.name.size() > mcp::kMaxToolName) {
    throw std::invalid_argument("the tool \"" + tool.name + "\" has a name of " +
                                std::to_string(tool.name.size()) + " characters, and " +
                                std::to_string(mcp::kMaxToolName) +
                                " are the most, since hosts put the server's name before it: "
                                "shorten it");
  }
  return tool;
}
}  // namespace detail

class PlainInterface {
 public:
  explicit PlainInterface(mcp::PluginHost& host) : host_(host) {}
  PlainInterface(const PlainInterface&) = delete;
  PlainInterface& operator=(const PlainInterface&) = delete;

  // A plain function becomes a tool; see mcp/typed_tool.h for the types, and for what arg() can
  // say.
  template <class F, class... Args>
  void expose(std::string name, std::string description, F function, Args... args) {
    expose(mcp::Tool{.name = std::move(name), .description = std::move(description)},
           std::move(function), std::move(args)...);
  }
  // The same with a title and annotations: expose({.name = …, .description = …, .title = …}, …).
  template <class F, class... Args>
  void expose(mcp::Tool tool, F function, Args... args) {
    host_.registry().expose(detail::short_named(std::move(tool)), std::move(function),
                            std::move(args)...);
  }
  // The raw door: ready JSON Schemas, which arguments and results are checked against.
  void add_tool(mcp::Tool tool, mcp::ToolHandler handler) {
    host_.registry().add_tool(detail::short_named(std::move(tool)), std::move(handler));
  }

  // A setting of the worker (mcp/plugin.h lists them), or `fallback` where it is absent or of
  // another type.
  std::string option(const char* key, std::string fallback = {}) const {
    const Json& options = host_.options();
    const auto it = options.find(key);
    return it != options.end() && it->is_string() ? it->get<std::string>() : std::move(fallback);
  }
  const Json& options() const { return host_.options(); }
  mcp::PluginHost& host() { return host_; }

 private:
  mcp::PluginHost& host_;
};

#ifdef GPUMCP_NO_TORCH
using Interface = PlainInterface;
namespace detail {
template <class Body>
void load_interface(mcp::PluginHost& host, Body body) {
  PlainInterface interface(host);
  body(interface);
}
}  // namespace detail
#endif

}  // namespace gpumcp

// Makes the library an interface:  GPUMCP_INTERFACE(model_tools, interface) { interface.expose(…);
// } `plugin` is its name towards hosts, [a-z0-9_]+; `variable` names the Interface& in the body.
// Once a library.
#define GPUMCP_INTERFACE(plugin, variable)                                            \
  static void gpumcp_interface_body(::gpumcp::Interface& variable);                   \
  extern "C" __attribute__((visibility("default"))) const ::gpumcp::mcp::PluginEntry* \
  gpumcp_plugin_v1() {                                                                \
    static constexpr ::gpumcp::mcp::PluginEntry entry{                                \
        ::gpumcp::mcp::kPluginAbi, ::gpumcp::mcp::plugin_build(), #plugin,            \
        [](::gpumcp::mcp::PluginHost& host) {                                         \
          ::gpumcp::detail::load_interface(host, &gpumcp_interface_body);             \
        }};                                                                           \
    return &entry;                                                                    \
  }                                                                                   \
  static void gpumcp_interface_body([[maybe_unused]] ::gpumcp::Interface& variable)

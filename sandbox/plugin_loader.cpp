#include "sandbox/plugin_loader.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <cstring>

namespace gpumcp::sandbox {
using mcp::ErrorCode;
using mcp::fail;

mcp::Result<const mcp::PluginEntry*> open_plugin(const std::filesystem::path& library) {
  void* handle = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (!handle) {
    const std::string why = dlerror();
    std::string remedy;
    if (why.find("libtorch") != why.npos || why.find("libc10") != why.npos)
      remedy =
          ": this machine has no libtorch where the interface looks for it; unpack one and name "
          "its "
          "folder with GPUMCP_TORCH (or LD_LIBRARY_PATH), or install gpumcp there";
    else if (why.find("libgpumcp") != why.npos)
      remedy =
          ": this machine has no gpumcp with native interfaces; install the same version there";
    return fail(ErrorCode::io_error,
                fmt::format("cannot open the interface {}: {}{}", library.string(), why, remedy));
  }
  auto function = reinterpret_cast<mcp::PluginFunction>(dlsym(handle, mcp::kPluginSymbol));
  if (!function)
    return fail(
        ErrorCode::invalid_params,
        fmt::format(
            "{} is no interface: it does not export {}; build it with gpumcp_add_interface()",
            library.string(), mcp::kPluginSymbol));
  const mcp::PluginEntry* entry = function();
  if (entry->abi != mcp::kPluginAbi || std::strcmp(entry->build, mcp::plugin_build()) != 0)
    return fail(
        ErrorCode::invalid_params,
        fmt::format("{} was built for \"{}\", this program is \"{}\": build the interface again",
                    library.string(), entry->build, mcp::plugin_build()));
  return entry;
}

std::shared_ptr<void> PluginHost::share(const std::string& name,
                                        const std::function<std::shared_ptr<void>()>& make) {
  auto& object = shared_[name];
  if (!object) object = make();
  return object;
}

InterfaceHost::InterfaceHost(mcp::PluginHost& host, const mcp::Json& more)
    : host_(host), options_(host.options()) {
  options_.update(more);
}

mcp::Json PluginHost::status() const {
  mcp::Json out = mcp::Json::object();
  for (auto& callback : status_) {
    const mcp::Json part = callback();
    for (auto& [key, value] : part.items()) {
      // Lists of several plugins, as of Python processes, become one.
      if (out.contains(key) && out[key].is_array() && value.is_array())
        out[key].insert(out[key].end(), value.begin(), value.end());
      else
        out[key] = value;
    }
  }
  return out;
}

void PluginHost::load(mcp::Context& context) const {
  for (auto& callback : load_) callback(context);
}

void PluginHost::shutdown() {
  for (auto& callback : shutdown_) callback();
  shutdown_.clear();
}

}  // namespace gpumcp::sandbox

// The host library of Python files: what a worker opens for an interface that ends in .py
// (sandbox/host_library.h). A shared library of its own, since the sandbox knows nothing of
// artifacts and models; it needs no torch, as the file brings whatever it uses.
#include "interfaces/python/python_interface.h"
#include "interfaces/shared_artifacts.h"

namespace {

void load(gpumcp::mcp::PluginHost& host) {
  using namespace gpumcp;
  const mcp::Json& options = host.options();
  if (!options.contains("source"))
    throw std::invalid_argument("no file was named to the Python host");
  auto artifacts = share_artifacts(host, [&] {
    return std::make_shared<gpu_runtime::ArtifactStore>(artifact_options(options));
  });
  auto held = share_held_time(host);
  auto interface = std::make_shared<python::PythonInterface>(options, std::move(artifacts), held);
  interface->register_tools(host.registry());
  host.on_status([interface, held] {
    mcp::Json status = interface->status();
    status["held_s"] = held->seconds();
    return status;
  });
  host.on_load([interface](mcp::Context& context) { interface->load(context); });
  host.on_shutdown([interface] { interface->stop(); });
}

}  // namespace

extern "C" __attribute__((visibility("default"))) const gpumcp::mcp::PluginEntry*
gpumcp_plugin_v1() {
  static constexpr gpumcp::mcp::PluginEntry entry{gpumcp::mcp::kPluginAbi,
                                                  gpumcp::mcp::plugin_build(), "python", load};
  return &entry;
}

#include "interfaces/shared_artifacts.h"

#include <algorithm>
#include <chrono>

#include "gpu_runtime/artifact_view.h"
#include "gpu_runtime/error.h"

namespace gpumcp {
namespace {

using gpu_runtime::ArtifactStore;

std::optional<std::vector<mcp::ResourceContents>> read_artifact(ArtifactStore& store,
                                                                const std::string& uri,
                                                                const mcp::Context& context) {
  try {
    auto file = gpu_runtime::artifact_bytes(store, uri, caller_of(context.call()));
    mcp::ResourceContents contents{.uri = uri, .mimeType = std::move(file.mime_type)};
    if (contents.mimeType.starts_with("text/"))
      contents.text = std::move(file.bytes);
    else
      contents.blob = mcp::base64_encode(file.bytes);
    return {{std::move(contents)}};
  } catch (const gpu_runtime::Error& e) {
    using Code = gpu_runtime::ErrorCode;
    if (e.code() == Code::not_found) return std::nullopt;
    if (e.code() != Code::invalid_argument) throw;
    if (uri.find('?') == uri.npos) return std::nullopt;  // no id at all
    throw mcp::ProtocolError({mcp::ErrorCode::invalid_params, e.what()});
  }
}

}  // namespace

std::string caller_of(const mcp::CallInfo& call) {
  const auto it = call._meta.find("gpumcp/session");
  return it != call._meta.end() && it->is_string() ? it->get<std::string>() : call.client.name;
}

gpu_runtime::ArtifactStoreOptions artifact_options(const mcp::Json& options) {
  gpu_runtime::ArtifactStoreOptions out;
  if (const auto ttl = options.find("artifact_ttl_s"); ttl != options.end() && ttl->is_number())
    out.ttl = std::chrono::seconds(static_cast<int64_t>(std::max(0.0, ttl->get<double>())));
  if (const auto folder = options.find("artifact_dir");
      folder != options.end() && folder->is_string())
    out.spill_folder = folder->get<std::string>();
  return out;
}

std::shared_ptr<ArtifactStore> share_artifacts(
    mcp::PluginHost& host, const std::function<std::shared_ptr<ArtifactStore>()>& make) {
  return std::static_pointer_cast<ArtifactStore>(host.share("gpumcp.artifacts", [&] {
    std::shared_ptr<ArtifactStore> store = make();
    host.registry().add_resource_template(
        {.uriTemplate = ArtifactStore::uri_of("{id}"),
         .name = "artifact",
         .title = "Artifact",
         .description = "A tensor that a tool's result points to, as a NumPy .npy file, or a text "
                        "that was too long for one. Kept for a while after its last use.",
         .mimeType = "application/x-npy"},
        [store](const std::string& uri, mcp::Context& context) {
          return read_artifact(*store, uri, context);
        });
    host.registry().add_resource_template(
        {.uriTemplate = ArtifactStore::uri_of("{id}?{+view}"),
         .name = "artifact-view",
         .title = "Part of an artifact",
         .description = "A part of a tensor, or another format of it. view: slice=0:10 (as NumPy "
                        "writes it, for each dimension: slice=:,0:3), format=npy or "
                        "format=safetensors, tensor=NAME of several; joined by &."},
        [store](const std::string& uri, mcp::Context& context) {
          return read_artifact(*store, uri, context);
        });
    const bool spills = !artifact_options(host.options()).spill_folder.empty();
    host.on_shutdown([store, spills] {
      if (spills) store->spill();
    });
    return std::shared_ptr<void>(store);
  }));
}

std::shared_ptr<gpu_runtime::HeldTime> share_held_time(mcp::PluginHost& host) {
  return std::static_pointer_cast<gpu_runtime::HeldTime>(host.share("gpumcp.held_time", [] {
    return std::shared_ptr<void>(std::make_shared<gpu_runtime::HeldTime>());
  }));
}

}  // namespace gpumcp

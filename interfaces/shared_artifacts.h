// What the interfaces of a process have in common. The artifact store: native interfaces and Python
// files of one worker put into one, so that what one function returned can be read, and be passed
// on to any other. Whoever asks first makes it, and with it the resource template that reads it and
// the spilling at the end. Called while interfaces load, on their thread. Needs no torch.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "gpu_runtime/artifacts.h"
#include "gpu_runtime/held_time.h"
#include "mcp/plugin.h"

namespace gpumcp {

// From a worker's settings: artifact_ttl_s, artifact_dir.
gpu_runtime::ArtifactStoreOptions artifact_options(const mcp::Json& options);

// Whose call it is, to be fair between callers and to keep a session's own artifacts its own: the
// front's word for it (and within that the client's), else what the client calls itself.
std::string caller_of(const mcp::CallInfo& call);

std::shared_ptr<gpu_runtime::ArtifactStore> share_artifacts(
    mcp::PluginHost& host,
    const std::function<std::shared_ptr<gpu_runtime::ArtifactStore>()>& make);

// The worker's time of holding models, which all its interfaces hold together and each call shares.
std::shared_ptr<gpu_runtime::HeldTime> share_held_time(mcp::PluginHost& host);

}  // namespace gpumcp

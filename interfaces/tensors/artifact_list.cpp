// list_artifacts and drop_artifacts: what the caller's session has kept, and letting go of it.
#include <algorithm>
#include <chrono>

#include "gpu_runtime/runtime.h"
#include "interfaces/result_size.h"
#include "interfaces/tensor_io.h"
#include "interfaces/tensors/tensors.h"

namespace gpumcp::interfaces {
namespace {

struct ListedArtifact {
  std::string uri, name;
  std::vector<int64_t> shape;
  int64_t bytes, expires_in_s;
};
GPUMCP_DESCRIBE_DOC(ListedArtifact, (uri, "Its URI."), (name, "What its tool called it."),
                    (shape, "Its dimensions."), (bytes, "Its size."),
                    (expires_in_s, "Seconds until it goes, if nobody reads it."))

struct ArtifactPage {
  int64_t count, bytes;
  std::vector<ListedArtifact> artifacts;
  std::optional<int64_t> next;
};
GPUMCP_DESCRIBE_DOC(ArtifactPage, (count, "All of this session's."), (bytes, "… together."),
                    (artifacts, "Newest first, up to 5."),
                    (next, "`skip` for the next ones, where there are more."))

struct Dropped {
  int64_t dropped;
  std::vector<std::string> not_found;
};
GPUMCP_DESCRIBE_DOC(Dropped, (dropped, "How many went."),
                    (not_found, "Those that were not there, or are another session's."))

constexpr size_t kPage = 5;
constexpr size_t kNameBytes = 60;

std::vector<gpu_runtime::ArtifactInfo> mine() {
  return gpu_runtime::Runtime::current().artifacts().list_made_by(
      gpu_runtime::CallScope::current_limits().caller);
}

ArtifactPage list(int64_t skip) {
  const auto all = mine();
  const auto now = std::chrono::system_clock::now();
  ArtifactPage out{.count = static_cast<int64_t>(all.size()), .bytes = 0, .artifacts = {}};
  for (const auto& one : all) out.bytes += static_cast<int64_t>(one.nbytes);
  for (size_t i = static_cast<size_t>(skip); i < all.size(); ++i) {
    if (out.artifacts.size() == kPage) {
      out.next = static_cast<int64_t>(i);
      break;
    }
    const auto left = std::chrono::duration_cast<std::chrono::seconds>(all[i].expires - now);
    out.artifacts.push_back({.uri = all[i].uri,
                             .name = cut_text(all[i].name, kNameBytes, kNameBytes),
                             .shape = all[i].shape,
                             .bytes = static_cast<int64_t>(all[i].nbytes),
                             .expires_in_s = left.count()});
  }
  return out;
}

Dropped drop(const std::vector<std::string>& uris, bool all) {
  if (uris.empty() == !all)
    throw ToolError("give `uris` to drop some, or all = true to drop all of this session's");
  auto& store = gpu_runtime::Runtime::current().artifacts();
  Dropped out{.dropped = 0, .not_found = {}};
  const auto own = mine();
  if (all) {
    for (const auto& one : own) out.dropped += store.drop(one.id) ? 1 : 0;
    return out;
  }
  for (const std::string& uri : uris) {
    const std::string id = gpu_runtime::ArtifactStore::id_of(uri);
    const bool found = std::ranges::any_of(own, [&](const auto& one) { return one.id == id; });
    if (found && store.drop(id))
      ++out.dropped;
    else if (out.not_found.size() < kPage)
      out.not_found.push_back(uri);
  }
  return out;
}

}  // namespace

void expose_artifact_list(Interface& interface) {
  interface.expose(
      {.name = "list_artifacts",
       .description = "List the tensors that this session's calls have kept, newest first, with "
                      "their URIs, shapes and sizes.",
       .annotations = tensor_tool("List kept tensors")},
      [](int64_t skip) { return list(skip); },
      arg("skip", "Leave out so many of the newest.", int64_t{0}).minimum(0));
  interface.expose(
      {.name = "drop_artifacts",
       .description = "Let go of kept tensors of this session before their time, to give memory "
                      "back. Nothing else needs it: they go by themselves.",
       .annotations = mcp::ToolAnnotations{.title = "Drop kept tensors",
                                           .readOnlyHint = false,
                                           .destructiveHint = true,
                                           .idempotentHint = true,
                                           .openWorldHint = false}},
      [](const std::vector<std::string>& uris, bool all) { return drop(uris, all); },
      arg("uris", "Which.", std::vector<std::string>()).max_items(1000),
      arg("all", "All of this session's.", false));
}

}  // namespace gpumcp::interfaces

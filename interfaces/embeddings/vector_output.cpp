#include "interfaces/embeddings/vector_output.h"

#include "gpu_runtime/npy.h"
#include "interfaces/embeddings/workspace_file.h"

namespace gpumcp::interfaces {
namespace {

// The folder that the caller works in: the front's word in the request first, then the worker's own
// setting.
std::string workspace_of(const Embedder& embedder, const Context& context) {
  const Json& meta = context.call()._meta;
  if (const auto it = meta.find("gpumcp/workspace");
      it != meta.end() && it->is_string() && !it->empty())
    return it->get<std::string>();
  if (!embedder.workspace.empty()) return embedder.workspace;
  throw ToolError(
      "output \"file\" needs a workspace folder, and this server has none: use output \"ref\" and "
      "read "
      "the vector by its uri");
}

}  // namespace

Delivery deliver(const std::string& output, const Matrix& matrix, const std::vector<int64_t>& shape,
                 const Embedder& embedder, const Context& context) {
  std::string npy = gpu_runtime::write_npy(shape, matrix.values);
  const std::string stem = shape.size() > 1 ? "embeddings" : "embedding";
  if (output == "file") {
    const auto path = write_new_file(workspace_of(embedder, context), stem, "npy", npy);
    return {.path = path.string()};
  }
  const auto size = static_cast<int64_t>(npy.size());
  const auto stored = embedder.artifacts->put({.bytes = std::move(npy),
                                               .shape = shape,
                                               .dtype = "float32",
                                               .name = stem + ".npy",
                                               .description = embedder.name});
  mcp::ResourceLink link{
      .uri = stored.uri, .name = stem + ".npy", .mimeType = "application/x-npy", .size = size};
  return {.uri = stored.uri, .links = {{std::move(link)}}};
}

}  // namespace gpumcp::interfaces

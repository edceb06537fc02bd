#include "interfaces/embeddings/vector_output.h"

#include "gpu_runtime/npy.h"
#include "interfaces/embeddings/workspace_file.h"
#include "interfaces/workspace.h"

namespace gpumcp::interfaces {

Delivery deliver(const std::string& output, const Matrix& matrix, const std::vector<int64_t>& shape,
                 const Embedder& embedder, const Context& context) {
  std::string npy = gpu_runtime::write_npy(shape, matrix.values);
  const std::string stem = shape.size() > 1 ? "embeddings" : "embedding";
  if (output == "file") {
    const std::string folder = workspace_of(context, embedder.workspace,
                                            "use output \"ref\" and read the vector by its uri");
    const auto path = write_new_file(folder, stem, "npy", npy);
    return {.path = path.string()};
  }
  const auto size = static_cast<int64_t>(npy.size());
  const auto stored =
      embedder.artifacts->put({.bytes = std::move(npy),
                               .shape = shape,
                               .dtype = "float32",
                               .name = stem + ".npy",
                               .description = embedder.name,
                               .made_by = gpu_runtime::CallScope::current_limits().caller});
  mcp::ResourceLink link{
      .uri = stored.uri, .name = stem + ".npy", .mimeType = "application/x-npy", .size = size};
  return {.uri = stored.uri, .links = {{std::move(link)}}};
}

}  // namespace gpumcp::interfaces

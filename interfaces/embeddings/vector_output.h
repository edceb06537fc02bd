// How a result hands over a tensor: as an artifact with a link, or as a file in the caller's
// workspace.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "interfaces/embeddings/embeddings.h"

namespace gpumcp::interfaces {

struct Delivery {
  std::optional<std::string> uri, path;
  std::vector<mcp::ContentBlock> links;
};

// output is "ref" or "file". `matrix` goes out as .npy, float32, with this shape.
Delivery deliver(const std::string& output, const Matrix& matrix, const std::vector<int64_t>& shape,
                 const Embedder& embedder, const Context& context);

}  // namespace gpumcp::interfaces

// The built-in interface "embeddings": texts to vectors with a sentence-transformers model, and
// what is near what. One file per exposed function; this one holds what they share. An Embedder is
// made once, when the interface loads, copied into each function, and used by any number of threads
// at once.
#pragma once

#include <string>
#include <vector>

#include "interfaces/embeddings/cosine.h"
#include "interfaces/interface.h"
#include "interfaces/result_size.h"

namespace gpumcp::interfaces {

inline constexpr size_t kPreview = 10;           // values of a vector that a result shows
inline constexpr size_t kMaxTexts = 256;         // in one call
inline constexpr size_t kShownCharacters = 200;  // of a text, in a result

// Vectors of some texts, with what happened to each text on the way.
struct Vectors {
  Matrix matrix;
  std::vector<size_t> tokens;     // of each text, before the model's limit cut it
  std::vector<size_t> truncated;  // indices of the texts that were cut
};

struct Embedder {
  std::string name;
  SentenceTransformer model;
  gpu_runtime::ArtifactStore* artifacts = nullptr;  // the process', so it outlives every call
  std::string workspace;  // where files go if the call names no place; may be empty

  // Joins the model's queue, so concurrent calls share batches. ToolError for a vector that is not
  // finite.
  Vectors encode(const std::vector<std::string>& texts,
                 const gpu_runtime::SentenceEncodeOptions& options = {}) const;
  int64_t max_tokens() const;  // 0: no limit is known
};

mcp::ToolAnnotations read_only(std::string title);

// The arguments that the tools of this interface share, as the model takes them.
gpu_runtime::SentenceEncodeOptions encode_options(std::optional<int64_t> dims,
                                                  std::optional<std::string> prompt,
                                                  const std::string& long_text);
mcp::Arg dims_arg();
mcp::Arg prompt_arg(std::string name, const std::string& of);
mcp::Arg long_text_arg();

void expose_get_model_info(Interface& interface, const Embedder& embedder);
void expose_get_embedding(Interface& interface, const Embedder& embedder);
void expose_get_embeddings(Interface& interface, const Embedder& embedder);
void expose_rerank(Interface& interface);
void expose_search(Interface& interface, const Embedder& embedder);
void expose_similarity(Interface& interface, const Embedder& embedder);

}  // namespace gpumcp::interfaces

#pragma once

// CrossEncoder: how well each text answers a query, by a model that reads both at once (a
// reranker). A handle like AutoModel: nothing is read before the first call, handles on one folder
// share the weights, and pairs of any number of threads ride in one batch. Thread-safe.
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "gpu_runtime/export.h"
#include "gpu_runtime/model_store.h"
#include "gpu_runtime/resident_model.h"

namespace gpumcp::gpu_runtime {

struct PairScores {
  std::vector<float> scores;    // of each text, higher is better
  std::vector<bool> truncated;  // the pair had more tokens than the model reads
};

class GPUMCP_RUNTIME_API CrossEncoder {
 public:
  static CrossEncoder from_pretrained(const ModelPath& path, const ModelOptions& options = {},
                                      Runtime* runtime = nullptr);

  // As sentence-transformers' CrossEncoder: pairs too long are cut where they are longer, and the
  // score goes through the function that the model's config.json names, else through a sigmoid.
  // `raw`: without it. Error(unsupported) for a model that scores no pairs, or several labels.
  PairScores scores(const std::string& query, std::span<const std::string> texts,
                    bool raw = false) const;

  std::optional<std::size_t> max_length() const;  // tokens of a pair; reads small files only
  c10::Device device() const { return model_->device(); }
  const ModelPath& path() const { return model_->path(); }

 private:
  explicit CrossEncoder(std::shared_ptr<ResidentModel> model) : model_(std::move(model)) {}
  std::shared_ptr<ResidentModel> model_;
};

// Whether the folder holds a model that scores pairs with one number. Reads config.json; Error for
// one that cannot be read.
GPUMCP_RUNTIME_API bool is_cross_encoder(const ModelPath& path);

}  // namespace gpumcp::gpu_runtime

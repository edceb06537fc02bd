#pragma once

// The taps (taps.h) of a batch's rows, ordered by site: what the layers of a model ask at each
// named place. Made and used on the model's owner thread for one forward pass. A batch without taps
// has no BatchTaps, and its layers test one pointer a site.
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "gpu_runtime/taps.h"

namespace gpumcp::gpu_runtime {

// A row with taps, as it stands in a packed batch.
struct TappedRow {
  std::shared_ptr<const RowTaps> taps;  // as taps_on() makes them
  std::int64_t begin = 0;               // its first token in the batch
  std::int64_t tokens = 0;              // of it in the batch
  std::int64_t first = 0;               // the place of the first of them in its text
};

class BatchTaps {
 public:
  explicit BatchTaps(std::vector<TappedRow> rows);

  // Changes the rows of x, [tokens, width], in place, then reads.
  void at(SiteKind kind, std::int64_t layer, const at::Tensor& x);
  // Adds what the rows' adapters make of a linear layer's input x, [tokens, in], to its output.
  void adapt(LinearSite site, std::int64_t layer, const at::Tensor& x, const at::Tensor& y);

  // Attention of the rows that read or change who looks at what, row by row in calls of its own
  // shape. `scores` gives a row's scores, [heads, tokens, tokens], of tokens [begin, begin +
  // tokens); `mixed` takes the pattern where it was changed.
  using Scores = std::function<at::Tensor(std::int64_t begin, std::int64_t tokens)>;
  using Mix = std::function<void(std::int64_t begin, std::int64_t tokens, const at::Tensor&)>;
  bool looks_at_patterns(std::int64_t layer) const {
    return !find(SiteKind::pattern, layer).empty() || !find(SiteKind::scores, layer).empty();
  }
  void take_patterns(std::int64_t layer, const Scores& scores, const Mix& mix);

  const std::vector<TappedRow>& rows() const { return rows_; }
  // What was read for a row, in the order of its captures; undefined where no token was in a
  // capture's places.
  std::vector<at::Tensor>& captured(std::size_t row) { return captured_[row]; }
  // Layers that must be computed for all captures and edits to happen.
  std::int64_t layers_needed() const { return layers_needed_; }

 private:
  struct Action {
    std::size_t row = 0, index = 0;  // of a capture, or of an edit
    bool is_edit = false;
  };
  const std::vector<Action>& find(SiteKind kind, std::int64_t layer) const;
  void apply(const TappedRow& row, const Edit& edit, const at::Tensor& x) const;

  std::vector<TappedRow> rows_;
  std::vector<std::vector<at::Tensor>> captured_;
  std::vector<std::vector<Action>> by_site_;  // layer * kSiteKinds + kind; edits first
  std::vector<Action> none_;
  std::int64_t layers_needed_ = 0;
};

}  // namespace gpumcp::gpu_runtime

#include "gpu_runtime/batch_taps.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/softmax.h>

#include <algorithm>

namespace gpumcp::gpu_runtime {
namespace {

constexpr std::uintptr_t kAligned = 64;

std::size_t slot(SiteKind kind, std::int64_t layer) {
  return static_cast<std::size_t>(layer) * kSiteKinds + static_cast<std::size_t>(kind);
}

// f(first token in the batch, how many, index into places.list) for each run of the row's tokens
// that the places name.
template <class F>
void each_run(const TappedRow& row, const TokenPlaces& places, F&& f) {
  if (places.list.empty()) {
    const std::int64_t begin = std::max(places.begin, row.first);
    const std::int64_t end = std::min(places.end, row.first + row.tokens);
    if (begin < end) f(row.begin + begin - row.first, end - begin, std::size_t{0});
    return;
  }
  for (std::size_t i = 0; i < places.list.size(); ++i) {
    const std::int64_t place = places.list[i] - row.first;
    if (place >= 0 && place < row.tokens) f(row.begin + place, std::int64_t{1}, i);
  }
}

}  // namespace

BatchTaps::BatchTaps(std::vector<TappedRow> rows)
    : rows_(std::move(rows)), captured_(rows_.size()) {
  auto put = [&](Site site, const Action& action) {
    const std::size_t at = slot(site.kind, site.layer);
    if (by_site_.size() <= at) by_site_.resize(at + 1);
    by_site_[at].push_back(action);
    layers_needed_ = std::max(layers_needed_, site.kind == SiteKind::final_norm
                                                  ? std::numeric_limits<std::int64_t>::max()
                                                  : site.layer + 1);
  };
  for (std::size_t row = 0; row < rows_.size(); ++row) {
    for (std::size_t i = 0; i < rows_[row].taps->edits.size(); ++i)
      put(rows_[row].taps->edits[i].site, {row, i, true});
  }
  for (std::size_t row = 0; row < rows_.size(); ++row) {
    const auto& captures = rows_[row].taps->captures;
    captured_[row].resize(captures.size());
    for (std::size_t i = 0; i < captures.size(); ++i) put(captures[i].site, {row, i, false});
  }
}

const std::vector<BatchTaps::Action>& BatchTaps::find(SiteKind kind, std::int64_t layer) const {
  const std::size_t at = slot(kind, layer);
  return at < by_site_.size() ? by_site_[at] : none_;
}

// Each row by itself, in calls of its own shape: so its numbers cannot depend on its neighbours.
void BatchTaps::apply(const TappedRow& row, const Edit& edit, const at::Tensor& x) const {
  each_run(row, edit.places, [&](std::int64_t begin, std::int64_t count, std::size_t index) {
    at::Tensor part = x.narrow(0, begin, count);
    switch (edit.kind) {
      case EditKind::add:
        part.add_(edit.vector);
        return;
      case EditKind::replace:
        part.copy_(edit.vector.narrow(0, static_cast<std::int64_t>(index), 1));
        return;
      case EditKind::ablate: {
        const at::Tensor wide = part.to(at::kFloat);
        const at::Tensor along = (wide * edit.vector).sum(-1, true);
        part.copy_(wide - along * edit.vector * edit.scale);
        return;
      }
    }
  });
}

void BatchTaps::at(SiteKind kind, std::int64_t layer, const at::Tensor& x) {
  for (const Action& action : find(kind, layer)) {
    const TappedRow& row = rows_[action.row];
    if (action.is_edit) {
      apply(row, row.taps->edits[action.index], x);
      continue;
    }
    std::vector<at::Tensor> runs;
    each_run(row, row.taps->captures[action.index].places,
             [&](std::int64_t begin, std::int64_t count, std::size_t) {
               runs.push_back(x.narrow(0, begin, count));
             });
    if (runs.empty()) continue;
    captured_[action.row][action.index] = runs.size() == 1 ? runs[0].clone() : at::cat(runs);
  }
}

void BatchTaps::adapt(LinearSite site, std::int64_t layer, const at::Tensor& x,
                      const at::Tensor& y) {
  for (const TappedRow& row : rows_) {
    if (!row.taps->placed) continue;
    at::Tensor part = x.narrow(0, row.begin, row.tokens);
    // A product's bits may depend on where its numbers begin in memory, and alone they begin here.
    if (x.is_cpu() && reinterpret_cast<std::uintptr_t>(part.const_data_ptr()) % kAligned != 0)
      part = part.clone();
    row.taps->placed->add(site, layer, part, y.narrow(0, row.begin, row.tokens));
  }
}

void BatchTaps::take_patterns(std::int64_t layer, const Scores& scores, const Mix& mix) {
  const std::vector<Action>&of_scores = find(SiteKind::scores, layer),
        &of_patterns = find(SiteKind::pattern, layer);
  for (std::size_t index = 0; index < rows_.size(); ++index) {
    auto concerns = [&](const Action& action) { return action.row == index; };
    if (std::ranges::none_of(of_scores, concerns) && std::ranges::none_of(of_patterns, concerns))
      continue;
    const TappedRow& row = rows_[index];
    bool changed = false;
    auto visit = [&](const std::vector<Action>& actions, at::Tensor& value) {
      for (const Action& action : actions) {
        if (action.row != index) continue;
        if (action.is_edit) {
          value = row.taps->edits[action.index].vector;
          changed = true;
        } else {
          captured_[index][action.index] = value.clone();
        }
      }
    };
    at::Tensor value = scores(row.begin, row.tokens);
    visit(of_scores, value);
    value = at::softmax(value, -1);
    visit(of_patterns, value);
    if (changed) mix(row.begin, row.tokens, value);
  }
}

}  // namespace gpumcp::gpu_runtime

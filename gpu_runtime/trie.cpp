#include "gpu_runtime/trie.h"

#include <algorithm>

namespace gpumcp::gpu_runtime {
namespace {

constexpr std::uint32_t kBlock = 256;
constexpr std::size_t kMaxTries = 128;  // free places looked at before a new block is made

}  // namespace

void Trie::add_block() {
  const auto begin = static_cast<std::uint32_t>(nodes_.size());
  nodes_.resize(nodes_.size() + kBlock);
  for (std::uint32_t i = kBlock; i-- > 0;) {
    if (begin + i != 0) free_.push_back(begin + i);  // 0 is the root
  }
}

// Finds a base so that base ^ label is free for every label. free_ is used as a stack; entries that
// have been taken meanwhile are dropped when they are met.
std::uint32_t Trie::place(const unsigned char* labels, std::size_t n) {
  std::size_t tries = 0;
  for (std::size_t i = free_.size(); i-- > 0 && tries < kMaxTries;) {
    const std::uint32_t slot = free_[i];
    if (nodes_[slot].parent != kFree) {
      free_[i] = free_.back();
      free_.pop_back();
      continue;
    }
    ++tries;
    const std::uint32_t base = slot ^ labels[0];
    const bool fits = std::all_of(labels, labels + n, [&](unsigned char label) {
      return (base ^ label) != 0 && nodes_[base ^ label].parent == kFree;
    });
    if (fits) return base;
  }
  const auto begin = static_cast<std::uint32_t>(nodes_.size());
  add_block();
  return begin;
}

Trie::Trie(std::vector<std::pair<std::string_view, std::int32_t>> entries) {
  using Entry = std::pair<std::string_view, std::int32_t>;
  std::erase_if(entries, [](const Entry& entry) { return entry.first.empty(); });
  std::ranges::stable_sort(entries, {}, &Entry::first);

  add_block();
  nodes_[0].parent = kFree - 1;  // taken, by nobody

  // Keys [begin, end) share their first `depth` bytes, which lead to `node`.
  struct Work {
    std::uint32_t node;
    std::size_t begin, end, depth;
  };
  std::vector<Work> pending{{0, 0, entries.size(), 0}};
  std::vector<unsigned char> labels;
  std::vector<std::size_t> begins;
  while (!pending.empty()) {
    auto [node, begin, end, depth] = pending.back();
    pending.pop_back();
    while (begin < end && entries[begin].first.size() == depth) {
      nodes_[node].value = entries[begin++].second;
    }
    labels.clear();
    begins.clear();
    for (std::size_t i = begin; i < end; ++i) {
      const auto label = static_cast<unsigned char>(entries[i].first[depth]);
      if (labels.empty() || labels.back() != label) {
        labels.push_back(label);
        begins.push_back(i);
      }
    }
    if (labels.empty()) continue;
    begins.push_back(end);
    const std::uint32_t base = place(labels.data(), labels.size());
    nodes_[node].base = base;
    for (std::size_t i = 0; i < labels.size(); ++i) {
      const std::uint32_t child = base ^ labels[i];
      nodes_[child].parent = node;
      pending.push_back({child, begins[i], begins[i + 1], depth + 1});
    }
  }
  free_.clear();
  free_.shrink_to_fit();
  nodes_.shrink_to_fit();
}

}  // namespace gpumcp::gpu_runtime

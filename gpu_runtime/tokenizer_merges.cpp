#include "gpu_runtime/tokenizer_merges.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <functional>
#include <random>

namespace gpumcp::gpu_runtime {
namespace {

// Up to here the lowest rank is looked for by going over the word; beyond, a heap is faster.
constexpr std::size_t kShortWord = 48;

}  // namespace

Merges::Merges(std::size_t count)
    : slots_(std::bit_ceil(count * 2 + 2)),
      mask_(slots_.size() - 1),
      shift_(64 - std::countr_zero(slots_.size())) {
  std::random_device random;
  multiplier_ = std::uint64_t{random()} << 32 | random() | 1;
}

void Merges::add(std::int32_t left, std::int32_t right, Merge merge) {
  const std::uint64_t key = key_of(left, right);
  std::size_t at = hash(key);
  while (slots_[at].key != key && slots_[at].key != kEmpty) at = (at + 1) & mask_;
  slots_[at] = {key, merge};
}

void Merges::apply(std::vector<Symbol>& word) const {
  if (word.size() < 2) return;
  word.size() <= kShortWord ? apply_short(word) : apply_long(word);
}

void Merges::apply_short(std::vector<Symbol>& word) const {
  std::array<Merge, kShortWord> merges;  // merges[i]: of symbols i and i + 1
  std::size_t n = word.size();
  for (std::size_t i = 0; i + 1 < n; ++i) merges[i] = find(word[i].id, word[i + 1].id);
  while (n > 1) {
    std::size_t best = 0;
    for (std::size_t i = 1; i + 1 < n; ++i) {
      if (merges[i].rank < merges[best].rank) best = i;
    }
    if (merges[best].rank == kNone) break;
    word[best] = {merges[best].product, word[best].length + word[best + 1].length};
    const auto at = static_cast<std::ptrdiff_t>(best);
    std::copy(word.begin() + at + 2, word.begin() + static_cast<std::ptrdiff_t>(n),
              word.begin() + at + 1);
    std::copy(merges.begin() + at + 1, merges.begin() + static_cast<std::ptrdiff_t>(n - 1),
              merges.begin() + at);
    --n;
    if (best + 1 < n) merges[best] = find(word[best].id, word[best + 1].id);
    if (best > 0) merges[best - 1] = find(word[best - 1].id, word[best].id);
  }
  word.resize(n);
}

// A heap of candidates; one that is out of date when it comes up is passed over.
void Merges::apply_long(std::vector<Symbol>& word) const {
  struct Node {
    std::uint32_t previous, next;
  };
  struct Candidate {
    std::uint32_t rank, at;
    std::int32_t product;
    std::uint32_t length;  // of both symbols together: tells whether they are still these
    bool operator>(const Candidate& other) const {
      return rank != other.rank ? rank > other.rank : at > other.at;
    }
  };
  constexpr std::uint32_t kEnd = 0xffffffff;
  const auto n = static_cast<std::uint32_t>(word.size());
  std::vector<Node> nodes(n);
  std::vector<Candidate> heap;
  heap.reserve(n);
  const auto candidate = [&](std::uint32_t at, std::uint32_t next) {
    const Merge merge = find(word[at].id, word[next].id);
    return Candidate{merge.rank, at, merge.product, word[at].length + word[next].length};
  };
  const auto push = [&](std::uint32_t at, std::uint32_t next) {
    if (at == kEnd || next == kEnd) return;
    const Candidate found = candidate(at, next);
    if (found.rank == kNone) return;
    heap.push_back(found);
    std::ranges::push_heap(heap, std::greater<>());
  };
  for (std::uint32_t i = 0; i < n; ++i) {
    nodes[i] = {i == 0 ? kEnd : i - 1, i + 1 == n ? kEnd : i + 1};
    if (i + 1 < n) {
      if (const Candidate found = candidate(i, i + 1); found.rank != kNone) heap.push_back(found);
    }
  }
  std::ranges::make_heap(heap, std::greater<>());
  while (!heap.empty()) {
    std::ranges::pop_heap(heap, std::greater<>());
    const Candidate top = heap.back();
    heap.pop_back();
    const std::uint32_t next = nodes[top.at].next;
    if (word[top.at].length == 0 || next == kEnd ||
        word[top.at].length + word[next].length != top.length)
      continue;
    word[top.at] = {top.product, top.length};
    word[next].length = 0;
    nodes[top.at].next = nodes[next].next;
    if (nodes[next].next != kEnd) nodes[nodes[next].next].previous = top.at;
    push(nodes[top.at].previous, top.at);
    push(top.at, nodes[top.at].next);
  }
  std::erase_if(word, [](const Symbol& symbol) { return symbol.length == 0; });
}

}  // namespace gpumcp::gpu_runtime

#pragma once

// The merges of a BPE model, and the merging of one word. Built once; immutable then, so any thread
// may merge.
#include <cstddef>
#include <cstdint>
#include <vector>

namespace gpumcp::gpu_runtime {

// A token in the making: its id and its bytes in the word.
struct Symbol {
  std::int32_t id;
  std::uint32_t length;
};

// Pairs of ids to rank and product, in an open-addressed table.
class Merges {
 public:
  struct Merge {
    std::uint32_t rank = kNone;
    std::int32_t product = 0;
  };
  static constexpr std::uint32_t kNone = 0xffffffff;

  explicit Merges(std::size_t count);
  // Of equal pairs the last counts, as with `tokenizers`.
  void add(std::int32_t left, std::int32_t right, Merge merge);

  Merge find(std::int32_t left, std::int32_t right) const {
    const std::uint64_t key = key_of(left, right);
    for (std::size_t at = hash(key);; at = (at + 1) & mask_) {
      if (slots_[at].key == key) return slots_[at].merge;
      if (slots_[at].key == kEmpty) return {};
    }
  }

  // Merges neighbours, lowest rank first, of equal ranks the leftmost, until none can be merged.
  void apply(std::vector<Symbol>& word) const;

 private:
  static constexpr std::uint64_t kEmpty = ~std::uint64_t{0};
  struct Slot {
    std::uint64_t key = kEmpty;
    Merge merge;
  };

  static std::uint64_t key_of(std::int32_t left, std::int32_t right) {
    return static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32 |
           static_cast<std::uint32_t>(right);
  }
  // The multiplier is drawn anew for each table, so that no file can choose pairs that collide.
  std::size_t hash(std::uint64_t key) const {
    return static_cast<std::size_t>(key * multiplier_ >> shift_);
  }
  void apply_short(std::vector<Symbol>& word) const;
  void apply_long(std::vector<Symbol>& word) const;

  std::vector<Slot> slots_;  // a power of two, at most half full
  std::size_t mask_;
  std::uint64_t multiplier_;  // odd
  int shift_;                 // the product's top bits are the place
};

}  // namespace gpumcp::gpu_runtime

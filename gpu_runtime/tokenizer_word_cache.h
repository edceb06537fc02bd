#pragma once

// One thread's memory of words that it tokenized lately: a table of fixed size in which a word
// displaces the one that stands at its place. Owned by its thread; nothing is shared. Each model
// has a key; a thread that changes models begins anew, and frees nothing until it ends.
#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>

namespace gpumcp::gpu_runtime {

class WordCache {
 public:
  static constexpr std::size_t kWordBytes = 27, kIds = 8;
  struct Entry {
    std::uint64_t model = 0;
    std::uint8_t length = 0, size = 0;
    std::array<char, kWordBytes> word{};
    std::array<std::int32_t, kIds> ids{};
  };

  // For a model when it is made; never 0, never given twice.
  static std::uint64_t new_key() {
    static std::atomic<std::uint64_t> last{0};
    return ++last;
  }

  static WordCache& of_thread(std::uint64_t model) {
    thread_local WordCache cache;
    cache.model_ = model;
    return cache;
  }

  const Entry* find(std::string_view word) {
    if (word.size() > kWordBytes) return nullptr;
    slot_ = hash(word) % kEntries;
    const Entry& entry = entries_[slot_];
    return entry.model == model_ && entry.length == word.size() &&
                   std::memcmp(entry.word.data(), word.data(), word.size()) == 0
               ? &entry
               : nullptr;
  }

  // Right after a find() of the same word that found nothing.
  void put(std::string_view word, std::span<const std::int32_t> ids) {
    if (word.size() > kWordBytes || ids.size() > kIds) return;
    Entry& entry = entries_[slot_];
    entry.model = model_;
    entry.length = static_cast<std::uint8_t>(word.size());
    entry.size = static_cast<std::uint8_t>(ids.size());
    std::ranges::copy(word, entry.word.begin());
    std::ranges::copy(ids, entry.ids.begin());
  }

 private:
  static constexpr std::size_t kEntries = 1 << 14;

  std::uint64_t hash(std::string_view word) const {
    std::uint64_t h = model_ + word.size();
    std::size_t at = 0;
    for (; at + 8 <= word.size(); at += 8) mix(h, word.data() + at, 8);
    if (at < word.size()) mix(h, word.data() + at, word.size() - at);
    return h ^ h >> 29;
  }
  static void mix(std::uint64_t& h, const char* from, std::size_t n) {
    std::uint64_t part = 0;
    std::memcpy(&part, from, n);
    h = (h ^ part) * 0x9e3779b97f4a7c15u;
    h ^= h >> 32;
  }

  std::unique_ptr<Entry[]> entries_ = std::make_unique<Entry[]>(kEntries);
  std::uint64_t model_ = 0;
  std::size_t slot_ = 0;
};

}  // namespace gpumcp::gpu_runtime

#pragma once

// A byte trie as a double array: finds the longest of many strings that a text begins with, one
// memory access a byte. Built once from (string, value) pairs; immutable then, so any thread may
// search. Building is linear in the keys' bytes, for hostile vocabularies too.
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace gpumcp::gpu_runtime {

class Trie {
 public:
  static constexpr std::int32_t kNone = -1;

  struct Match {
    std::int32_t value = kNone;
    std::uint32_t length = 0;  // bytes
  };

  Trie() : Trie(std::vector<std::pair<std::string_view, std::int32_t>>{}) {}
  // Values are 0 or more. Of equal keys the last counts; empty keys are left out.
  explicit Trie(std::vector<std::pair<std::string_view, std::int32_t>> entries);

  // The longest key that [begin, end) starts with; value kNone when there is none.
  Match longest_prefix(const char* begin, const char* end) const {
    Match best;
    std::uint32_t node = 0;
    for (const char* at = begin; at != end; ++at) {
      const std::uint32_t next = nodes_[node].base ^ static_cast<unsigned char>(*at);
      if (nodes_[next].parent != node) break;
      node = next;
      if (nodes_[node].value != kNone) {
        best = {nodes_[node].value, static_cast<std::uint32_t>(at + 1 - begin)};
      }
    }
    return best;
  }

  // Calls f(value, length) for each key that [begin, end) starts with, shortest first.
  template <class F>
  void for_each_prefix(const char* begin, const char* end, F&& f) const {
    std::uint32_t node = 0;
    for (const char* at = begin; at != end; ++at) {
      const std::uint32_t next = nodes_[node].base ^ static_cast<unsigned char>(*at);
      if (nodes_[next].parent != node) break;
      node = next;
      if (nodes_[node].value != kNone)
        f(nodes_[node].value, static_cast<std::uint32_t>(at + 1 - begin));
    }
  }

  // The value of exactly this key, or kNone.
  std::int32_t find(std::string_view key) const {
    const Match match = longest_prefix(key.data(), key.data() + key.size());
    return match.length == key.size() && !key.empty() ? match.value : kNone;
  }

 private:
  static constexpr std::uint32_t kFree = 0xffffffff;

  // A child of node n by byte b stands at base(n) ^ b and names n as its parent.
  struct Node {
    std::uint32_t base = 0;
    std::uint32_t parent = kFree;
    std::int32_t value = kNone;
  };

  std::uint32_t place(const unsigned char* labels, std::size_t n);
  void add_block();

  std::vector<Node> nodes_;  // a multiple of 256
  // Only while building: free nodes, of which the oldest are given up after a number of tries.
  std::vector<std::uint32_t> free_;
};

}  // namespace gpumcp::gpu_runtime

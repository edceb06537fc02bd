// What a fuzz target is: one function, LLVMFuzzerTestOneInput. With clang it is linked with
// -fsanitize=fuzzer; with any other compiler replay_main.cpp feeds it the corpus and mutations of
// it, so that it runs as a plain test.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

// A property that must hold for every input; checked in release builds too.
#define FUZZ_CHECK(condition)                                                            \
  do {                                                                                   \
    if (!(condition)) {                                                                  \
      std::fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                      \
    }                                                                                    \
  } while (false)

namespace fuzz {

// The input's lines, `count` of them: the last one is all that remains, newlines included; those
// that are not there are empty.
inline std::vector<std::string_view> lines(const uint8_t* data, size_t size, size_t count) {
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  std::vector<std::string_view> out;
  while (out.size() + 1 < count) {
    const size_t end = rest.find('\n');
    out.push_back(rest.substr(0, end));
    rest = end == rest.npos ? std::string_view() : rest.substr(end + 1);
  }
  out.push_back(rest);
  return out;
}

// Calls `f` with `bytes` in pieces of 1 to 16 bytes, whose sizes follow from `seed`.
template <class F>
void in_pieces(std::string_view bytes, uint32_t seed, F f) {
  while (!bytes.empty()) {
    seed = seed * 1664525u + 1013904223u;
    const auto piece = bytes.substr(0, 1 + (seed >> 24) % 16);
    bytes.remove_prefix(piece.size());
    if (!f(piece)) return;
  }
}

}  // namespace fuzz

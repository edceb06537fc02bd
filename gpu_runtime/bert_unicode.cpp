#include "gpu_runtime/bert_unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <iterator>
#include <memory>

#include "gpu_runtime/bert_unicode_tables.h"

namespace gpumcp::gpu_runtime::bert {
namespace {

constexpr std::uint32_t kPlane = 0x10000;

// Lower case that came to Unicode after utf8proc 2.8's Unicode 15: {first, last, step, distance}.
struct LowerRange {
  std::uint32_t first, last, step;
  std::int32_t distance;
};
constexpr LowerRange kNewLower[] = {
    {0x1c89, 0x1c89, 1, 1},
    {0xa7cb, 0xa7cb, 1, 0x264 - 0xa7cb},
    {0xa7cc, 0xa7cc, 1, 1},
    {0xa7ce, 0xa7ce, 1, 1},
    {0xa7d2, 0xa7d4, 2, 1},
    {0xa7da, 0xa7da, 1, 1},
    {0xa7dc, 0xa7dc, 1, 0x19b - 0xa7dc},
    {0x10d50, 0x10d65, 1, 0x20},
    {0x16ea0, 0x16eb8, 1, 27},
};

std::uint32_t lower_one(std::uint32_t c) {
  for (const LowerRange& range : kNewLower) {
    if (c >= range.first && c <= range.last && (c - range.first) % range.step == 0) {
      return c + static_cast<std::uint32_t>(range.distance);
    }
  }
  return static_cast<std::uint32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c)));
}

std::uint8_t cased_flag(std::uint32_t c) { return lower_one(c) != c ? kCased : 0; }

// The flags of the first plane, spread out: 64 KB, made in about a millisecond at the first use.
const std::uint8_t* plane() {
  static const auto table = [] {
    auto flags = std::make_unique<std::uint8_t[]>(kPlane);
    for (const BertFlagRange& range : kBertFlagRanges) {
      for (std::uint32_t c = range.first; c <= range.last && c < kPlane; ++c)
        flags[c] = range.flags;
    }
    for (std::uint32_t c = 0; c < kPlane; ++c) flags[c] |= cased_flag(c);
    return flags;
  }();
  return table.get();
}

}  // namespace

std::uint8_t flags_of(std::uint32_t c) {
  if (c < kPlane) return plane()[c];
  const auto* range =
      std::lower_bound(std::begin(kBertFlagRanges), std::end(kBertFlagRanges), c,
                       [](const BertFlagRange& r, std::uint32_t value) { return r.last < value; });
  const bool inside = range != std::end(kBertFlagRanges) && range->first <= c;
  return static_cast<std::uint8_t>((inside ? range->flags : 0) | cased_flag(c));
}

int decompose(std::uint32_t c, std::uint32_t (&to)[8]) {
  utf8proc_int32_t buffer[8];
  int last_class = 0;
  const auto n = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), buffer, 8,
                                         UTF8PROC_DECOMPOSE, &last_class);
  if (n < 1 || n > 8) {
    to[0] = c;
    return 1;
  }
  std::copy(buffer, buffer + n, to);
  return static_cast<int>(n);
}

int combining_class(std::uint32_t c) {
  return utf8proc_get_property(static_cast<utf8proc_int32_t>(c))->combining_class;
}

int lower_case(std::uint32_t c, std::uint32_t (&to)[2]) {
  to[0] = lower_one(c);
  to[1] = 0x307;
  return c == 0x130 ? 2 : 1;
}

}  // namespace gpumcp::gpu_runtime::bert

// Small pictures that results carry: a heat map, a scatter plot or a line as PNG. Colours say the
// numbers, since there is no font: the result's own words name axes and range. Pure functions.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "gpu_runtime/export.h"
#include "mcp/protocol.h"

namespace gpumcp::interfaces {

// 256 colours, a byte a pixel, row by row.
struct Raster {
  std::int64_t width = 0, height = 0;
  std::vector<std::uint8_t> pixels;
};

// Numbers of one sign go from white to dark blue, of both signs from blue over white to red;
// what is no finite number is grey. [rows, columns], each at most kMaxCells.
struct HeatMap {
  Raster raster;
  double low = 0, high = 0;  // what the ends of the colours stand for
  bool both_signs = false;
};
inline constexpr std::int64_t kMaxCells = 480;
GPUMCP_RUNTIME_API HeatMap draw_heat_map(std::span<const double> values, std::int64_t rows,
                                         std::int64_t columns);
GPUMCP_RUNTIME_API mcp::ContentBlock heat_map_image(const HeatMap& map);

// Points in the frame of their least and largest coordinates; groups (0, 1, …; empty: one) differ
// in colour. `joined`: a line from each to the next.
GPUMCP_RUNTIME_API mcp::ContentBlock scatter_image(std::span<const double> x,
                                                   std::span<const double> y,
                                                   std::span<const std::int64_t> groups,
                                                   bool joined);

}  // namespace gpumcp::interfaces

#include "interfaces/picture.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <stdexcept>

namespace gpumcp::interfaces {
namespace {

struct Colour {
  std::uint8_t red, green, blue;
};
using Palette = std::array<Colour, 256>;

constexpr std::uint8_t kNoNumber = 255;  // of a heat map's palette; values take 0 to 254
constexpr std::uint8_t kTop = 254;

Colour between(Colour a, Colour b, double t) {
  auto mix = [t](std::uint8_t x, std::uint8_t y) {
    return static_cast<std::uint8_t>(std::lround(x + (y - x) * t));
  };
  return {mix(a.red, b.red), mix(a.green, b.green), mix(a.blue, b.blue)};
}

constexpr Colour kWhite{255, 255, 255}, kBlue{8, 48, 107}, kRed{165, 0, 38}, kGrey{128, 128, 128};

Palette heat_palette(bool both_signs) {
  Palette out{};
  for (int i = 0; i <= kTop; ++i) {
    const double t = i / static_cast<double>(kTop);
    out[static_cast<std::size_t>(i)] = !both_signs ? between(kWhite, kBlue, t)
                                       : t < 0.5   ? between(kBlue, kWhite, 2 * t)
                                                   : between(kWhite, kRed, 2 * t - 1);
  }
  out[kNoNumber] = kGrey;
  return out;
}

// White, grey for the frame, then a colour for each group (they repeat after ten).
constexpr std::array<Colour, 12> kGroupColours{{{255, 255, 255},
                                                {200, 200, 200},
                                                {31, 119, 180},
                                                {255, 127, 14},
                                                {44, 160, 44},
                                                {214, 39, 40},
                                                {148, 103, 189},
                                                {140, 86, 75},
                                                {227, 119, 194},
                                                {127, 127, 127},
                                                {188, 189, 34},
                                                {23, 190, 207}}};

void append_be32(std::string& out, std::uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(value >> shift & 0xff);
}

void append_chunk(std::string& out, const std::string& type, const std::string& data) {
  append_be32(out, static_cast<std::uint32_t>(data.size()));
  const std::string body = type + data;
  out += body;
  append_be32(out,
              static_cast<std::uint32_t>(::crc32(0, reinterpret_cast<const Bytef*>(body.data()),
                                                 static_cast<uInt>(body.size()))));
}

// PNG, colour type 3 (a palette), no filter: the rows repeat, which deflate sees by itself.
std::string png(const Raster& raster, const Palette& palette) {
  std::string header, colours, rows;
  append_be32(header, static_cast<std::uint32_t>(raster.width));
  append_be32(header, static_cast<std::uint32_t>(raster.height));
  header += std::string("\x08\x03\x00\x00\x00", 5);
  for (const Colour& one : palette) {
    colours += static_cast<char>(one.red);
    colours += static_cast<char>(one.green);
    colours += static_cast<char>(one.blue);
  }
  for (std::int64_t y = 0; y < raster.height; ++y) {
    rows += '\0';
    rows.append(reinterpret_cast<const char*>(raster.pixels.data()) + y * raster.width,
                static_cast<std::size_t>(raster.width));
  }
  uLongf size = ::compressBound(static_cast<uLong>(rows.size()));
  std::string packed(size, '\0');
  if (::compress2(reinterpret_cast<Bytef*>(packed.data()), &size,
                  reinterpret_cast<const Bytef*>(rows.data()), static_cast<uLong>(rows.size()),
                  9) != Z_OK)
    throw std::bad_alloc();  // the only way in which it can fail here
  packed.resize(size);
  std::string out("\x89PNG\r\n\x1a\n", 8);
  append_chunk(out, "IHDR", header);
  append_chunk(out, "PLTE", colours);
  append_chunk(out, "IDAT", packed);
  append_chunk(out, "IEND", "");
  return out;
}

mcp::ContentBlock image(const Raster& raster, const Palette& palette) {
  return {mcp::ImageContent{mcp::base64_encode(png(raster, palette)), "image/png"}};
}

constexpr std::int64_t kSide = 320, kMargin = 10;

struct Axis {
  double low = std::numeric_limits<double>::infinity(), high = -low;
  explicit Axis(std::span<const double> values) {
    for (const double v : values) {
      if (!std::isfinite(v)) continue;
      low = std::min(low, v);
      high = std::max(high, v);
    }
    if (!(high > low)) high = low + 1;
  }
  // A place between the margins.
  std::int64_t place(double v) const {
    return kMargin + std::llround((v - low) / (high - low) * (kSide - 1 - 2 * kMargin));
  }
};

void dot(Raster& raster, std::int64_t x, std::int64_t y, std::int64_t radius, std::uint8_t colour) {
  for (std::int64_t dy = -radius; dy <= radius; ++dy) {
    for (std::int64_t dx = -radius; dx <= radius; ++dx) {
      const std::int64_t px = x + dx, py = y + dy;
      if (px < 0 || py < 0 || px >= raster.width || py >= raster.height) continue;
      raster.pixels[static_cast<std::size_t>(py * raster.width + px)] = colour;
    }
  }
}

}  // namespace

HeatMap draw_heat_map(std::span<const double> values, std::int64_t rows, std::int64_t columns) {
  if (rows < 1 || columns < 1 || rows > kMaxCells || columns > kMaxCells ||
      static_cast<std::int64_t>(values.size()) != rows * columns)
    throw std::invalid_argument("a heat map of " + std::to_string(rows) + " by " +
                                std::to_string(columns) + " cells");
  HeatMap map;
  double low = std::numeric_limits<double>::infinity(), high = -low;
  for (const double v : values) {
    if (!std::isfinite(v)) continue;
    low = std::min(low, v);
    high = std::max(high, v);
  }
  if (!(high >= low)) low = high = 0;
  map.both_signs = low < 0 && high > 0;
  if (map.both_signs) {
    high = std::max(-low, high);
    low = -high;
  }
  map.low = low;
  map.high = high;
  const std::int64_t cell = std::max<std::int64_t>(1, kSide / std::max(rows, columns));
  Raster& raster = map.raster;
  raster.width = columns * cell;
  raster.height = rows * cell;
  raster.pixels.resize(static_cast<std::size_t>(raster.width * raster.height));
  for (std::int64_t y = 0; y < raster.height; ++y) {
    for (std::int64_t x = 0; x < raster.width; ++x) {
      const double v = values[static_cast<std::size_t>(y / cell * columns + x / cell)];
      raster.pixels[static_cast<std::size_t>(y * raster.width + x)] =
          !std::isfinite(v) ? kNoNumber
          : high > low ? static_cast<std::uint8_t>(std::lround((v - low) / (high - low) * kTop))
                       : std::uint8_t{0};
    }
  }
  return map;
}

mcp::ContentBlock heat_map_image(const HeatMap& map) {
  return image(map.raster, heat_palette(map.both_signs));
}

mcp::ContentBlock scatter_image(std::span<const double> x, std::span<const double> y,
                                std::span<const std::int64_t> groups, bool joined) {
  Palette palette{};
  palette.fill(kWhite);
  std::copy(kGroupColours.begin(), kGroupColours.end(), palette.begin());
  Raster raster{.width = kSide, .height = kSide, .pixels = {}};
  raster.pixels.resize(static_cast<std::size_t>(kSide * kSide));
  for (std::int64_t i = 0; i < kSide; ++i) {
    for (const std::int64_t edge : {std::int64_t{0}, kSide - 1}) {
      raster.pixels[static_cast<std::size_t>(edge * kSide + i)] = 1;
      raster.pixels[static_cast<std::size_t>(i * kSide + edge)] = 1;
    }
  }
  const Axis across(x), up(y);
  for (std::size_t i = 0; i < std::min(x.size(), y.size()); ++i) {
    if (!std::isfinite(x[i]) || !std::isfinite(y[i])) continue;
    const std::int64_t group = i < groups.size() ? std::max<std::int64_t>(0, groups[i]) : 0;
    const auto colour = static_cast<std::uint8_t>(2 + group % 10);
    const std::int64_t px = across.place(x[i]), py = kSide - 1 - up.place(y[i]);
    dot(raster, px, py, joined ? 1 : 2, colour);
    if (!joined || i + 1 >= x.size() || !std::isfinite(x[i + 1]) || !std::isfinite(y[i + 1]))
      continue;
    const std::int64_t qx = across.place(x[i + 1]), qy = kSide - 1 - up.place(y[i + 1]);
    const std::int64_t steps = std::max(std::abs(qx - px), std::abs(qy - py));
    for (std::int64_t s = 1; s < steps; ++s)
      dot(raster, px + (qx - px) * s / steps, py + (qy - py) * s / steps, 0, colour);
  }
  return image(raster, palette);
}

}  // namespace gpumcp::interfaces

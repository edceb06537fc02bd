#include "gpu_runtime/npy.h"

// "\x93NUMPY", version, header length, a Python dict literal such as
// {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }, padded with spaces to 64 bytes, then
// data.
#include <fmt/format.h>

#include <bit>
#include <charconv>
#include <optional>
#include <utility>

#include "gpu_runtime/error.h"

namespace gpumcp::gpu_runtime {
namespace {

static_assert(std::endian::native == std::endian::little,
              "arrays are written as they lie in memory");

constexpr std::string_view kNpyMagic = "\x93NUMPY";
constexpr std::size_t kMaxNpyHeader = 65536;
constexpr std::size_t kMaxRank = 32;

[[noreturn]] void refuse(const std::string& origin, const std::string& why) {
  throw Error(ErrorCode::invalid_argument, fmt::format("{}: not a readable .npy: {}", origin, why));
}

std::optional<std::uint64_t> size_of(std::span<const std::int64_t> shape, std::size_t item) {
  std::uint64_t size = item;
  for (const std::int64_t n : shape) {
    if (n < 0 || __builtin_mul_overflow(size, static_cast<std::uint64_t>(n), &size)) return {};
  }
  return size;
}

// Reads the dict literal with the few forms that numpy writes.
class HeaderReader {
 public:
  HeaderReader(std::string_view text, const std::string& origin) : rest_(text), origin_(origin) {}

  bool try_take(char c) {
    skip_space();
    if (!rest_.starts_with(c)) return false;
    rest_.remove_prefix(1);
    return true;
  }

  void take(char c) {
    if (!try_take(c)) refuse(origin_, fmt::format("its header lacks '{}' where one must be", c));
  }

  std::string_view string() {
    skip_space();
    const char quote = rest_.empty() ? '\0' : rest_.front();
    const auto end = quote == '\'' || quote == '"' ? rest_.find(quote, 1) : rest_.npos;
    if (end == rest_.npos) refuse(origin_, "its header lacks a quoted string where one must be");
    const std::string_view value = rest_.substr(1, end - 1);
    rest_.remove_prefix(end + 1);
    return value;
  }

  bool boolean() {
    skip_space();
    for (const auto& [word, value] :
         {std::pair<std::string_view, bool>{"True", true}, {"False", false}}) {
      if (rest_.starts_with(word)) {
        rest_.remove_prefix(word.size());
        return value;
      }
    }
    refuse(origin_, "fortran_order is neither True nor False");
  }

  std::vector<std::int64_t> shape() {
    std::vector<std::int64_t> dimensions;
    take('(');
    while (!try_take(')')) {
      skip_space();
      std::int64_t n = 0;
      const auto [end, problem] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), n);
      if (problem != std::errc() || n < 0)
        refuse(origin_, "its shape has a dimension that is no size");
      rest_.remove_prefix(static_cast<std::size_t>(end - rest_.data()));
      dimensions.push_back(n);
      if (dimensions.size() > kMaxRank) refuse(origin_, "it has more than 32 dimensions");
      if (!try_take(',')) {
        take(')');
        break;
      }
    }
    return dimensions;
  }

  bool at_end() {
    skip_space();
    return rest_.empty();
  }

 private:
  void skip_space() {
    const auto begin = rest_.find_first_not_of(" \t\n");
    rest_.remove_prefix(begin == rest_.npos ? rest_.size() : begin);
  }

  std::string_view rest_;
  const std::string& origin_;
};

}  // namespace

std::string write_npy(Dtype dtype, std::span<const std::int64_t> shape,
                      std::span<const std::byte> data) {
  const std::string_view descr = facts(dtype).npy;
  if (descr.empty()) {
    throw Error(ErrorCode::invalid_argument,
                fmt::format(".npy has no dtype {}: convert to float32 first", to_string(dtype)));
  }
  const auto expected = size_of(shape, item_size(dtype));
  if (!expected || *expected != data.size()) {
    throw Error(
        ErrorCode::invalid_argument,
        fmt::format(".npy: the data are {} bytes, the shape ({}) of {} makes {}", data.size(),
                    fmt::join(shape, ", "), to_string(dtype), expected.value_or(0)));
  }
  std::string header = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}{}), }}",
                                   descr, fmt::join(shape, ", "), shape.size() == 1 ? "," : "");
  const std::size_t before = kNpyMagic.size() + 4;
  header.append(63 - (before + header.size()) % 64, ' ');
  header += '\n';
  if (header.size() > 65535) {
    throw Error(ErrorCode::invalid_argument, ".npy: too many dimensions");
  }

  std::string bytes;
  bytes.reserve(before + header.size() + data.size());
  bytes += kNpyMagic;
  bytes += '\x01';
  bytes += '\x00';
  bytes += static_cast<char>(header.size() & 0xff);
  bytes += static_cast<char>(header.size() >> 8);
  bytes += header;
  bytes.append(reinterpret_cast<const char*>(data.data()), data.size());
  return bytes;
}

std::string write_npy(std::span<const std::int64_t> shape, std::span<const float> values) {
  return write_npy(Dtype::f32, shape, std::as_bytes(values));
}

NpyView read_npy(std::string_view bytes, const std::string& origin) {
  if (!bytes.starts_with(kNpyMagic) || bytes.size() < kNpyMagic.size() + 4) {
    refuse(origin, "it does not begin with \\x93NUMPY");
  }
  const auto byte_at = [&](std::size_t i) { return static_cast<unsigned char>(bytes[i]); };
  const unsigned version = byte_at(6);
  const std::size_t length_bytes = version == 1 ? 2 : 4;
  if (version != 1 && version != 2) refuse(origin, fmt::format("version {} is unknown", version));
  if (bytes.size() < 8 + length_bytes) refuse(origin, "it ends within its header");
  std::size_t length = 0;
  for (std::size_t i = length_bytes; i-- > 0;) length = length << 8 | byte_at(8 + i);
  const std::size_t begin = 8 + length_bytes;
  if (length > kMaxNpyHeader) refuse(origin, fmt::format("its header claims {} bytes", length));
  if (length > bytes.size() - begin) refuse(origin, "it ends within its header");

  NpyView view;
  std::optional<Dtype> dtype;
  std::optional<bool> fortran_order;
  std::optional<std::vector<std::int64_t>> shape;
  HeaderReader header(bytes.substr(begin, length), origin);
  header.take('{');
  while (!header.try_take('}')) {
    const std::string_view key = header.string();
    header.take(':');
    if (key == "descr" && !dtype) {
      const std::string_view descr = header.string();
      dtype = dtype_from_npy(descr);
      if (!dtype) refuse(origin, fmt::format("the dtype '{}' is not read", descr.substr(0, 40)));
    } else if (key == "fortran_order" && !fortran_order) {
      fortran_order = header.boolean();
      if (*fortran_order) refuse(origin, "Fortran order is not read: save it with order 'C'");
    } else if (key == "shape" && !shape) {
      shape = header.shape();
    } else {
      refuse(origin, fmt::format("its header has '{}' twice or unasked", key.substr(0, 40)));
    }
    if (!header.try_take(',')) {
      header.take('}');
      break;
    }
  }
  if (!header.at_end() || !dtype || !fortran_order || !shape) {
    refuse(origin, "its header must be descr, fortran_order and shape, and nothing else");
  }
  const auto size = size_of(*shape, item_size(*dtype));
  const std::size_t available = bytes.size() - begin - length;
  if (!size) refuse(origin, "the product of its shape overflows");
  if (*size != available) {
    refuse(origin, fmt::format("{} bytes of data where its shape needs {}", available, *size));
  }
  view.dtype = *dtype;
  view.shape = std::move(*shape);
  view.data = std::as_bytes(std::span(bytes)).subspan(begin + length);
  return view;
}

}  // namespace gpumcp::gpu_runtime

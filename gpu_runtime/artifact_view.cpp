#include "gpu_runtime/artifact_view.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <limits>
#include <utility>

#include "gpu_runtime/error.h"
#include "gpu_runtime/json.h"
#include "gpu_runtime/npy.h"
#include "gpu_runtime/safetensors.h"

namespace gpumcp::gpu_runtime {
namespace {

constexpr std::size_t kMaxParts = 32;

[[noreturn]] void refuse(const std::string& why) { throw Error(ErrorCode::invalid_argument, why); }

std::string shown(std::string_view text) {
  return describe_json(Json(std::string(text.substr(0, 100))));
}

// Percent-decoded; a stray '%' is refused.
std::string decoded(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    unsigned value = 0;
    const char* begin = text.data() + i + 1;
    if (i + 2 >= text.size() || std::from_chars(begin, begin + 2, value, 16).ptr != begin + 2)
      refuse("an artifact's URI has a broken escape in " + shown(text));
    out += static_cast<char>(value);
    i += 2;
  }
  return out;
}

std::optional<std::int64_t> number(std::string_view text, std::string_view part) {
  if (text.empty()) return std::nullopt;
  std::int64_t value = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (problem != std::errc() || end != text.data() + text.size() ||
      value == std::numeric_limits<std::int64_t>::min()) {
    refuse("slice part " + shown(part) + " is none: begin:end, begin:end:step or an index");
  }
  return value;
}

SlicePart parse_part(std::string_view text) {
  SlicePart part;
  const std::size_t first = text.find(':');
  if (first == text.npos) {
    part.begin = number(text, text);
    if (!part.begin) refuse("slice part \"\" is none: write : for all of a dimension");
    part.is_index = true;
    return part;
  }
  const std::size_t second = text.find(':', first + 1);
  part.begin = number(text.substr(0, first), text);
  part.end =
      number(text.substr(first + 1, second == text.npos ? second : second - first - 1), text);
  if (second != text.npos) part.step = number(text.substr(second + 1), text).value_or(1);
  if (part.step < 1) refuse("slice part " + shown(text) + ": its step must be 1 or more");
  return part;
}

std::vector<SlicePart> parse_slice(std::string_view text) {
  std::vector<SlicePart> parts;
  for (;;) {
    const std::size_t comma = text.find(',');
    parts.push_back(parse_part(text.substr(0, comma)));
    if (parts.size() > kMaxParts) refuse("a slice has more than 32 parts");
    if (comma == text.npos) return parts;
    text.remove_prefix(comma + 1);
  }
}

// A part against a dimension: where it begins, how many it takes.
struct Range {
  std::int64_t begin = 0, count = 0, step = 1;
};

Range resolve(const SlicePart& part, std::int64_t size, std::size_t dimension) {
  auto from_end = [&](std::int64_t at) { return at < 0 ? at + size : at; };
  if (part.is_index) {
    const std::int64_t at = from_end(*part.begin);
    if (at < 0 || at >= size) {
      refuse(fmt::format("index {} is beyond dimension {}, which has {}", *part.begin, dimension,
                         size));
    }
    return {at, 1, 1};
  }
  const std::int64_t begin = std::clamp<std::int64_t>(from_end(part.begin.value_or(0)), 0, size);
  const std::int64_t end = std::clamp<std::int64_t>(from_end(part.end.value_or(size)), 0, size);
  const std::int64_t span = std::max<std::int64_t>(0, end - begin);
  return {begin, span / part.step + (span % part.step != 0 ? 1 : 0), part.step};
}

bool is_contiguous_head(std::span<const Range> ranges) {
  return ranges.empty() || (ranges.size() == 1 && ranges[0].step == 1);
}

// Copies what the ranges name, dimension by dimension; below the last range all is one piece.
void gather(const std::byte* from, std::span<const Range> ranges,
            std::span<const std::uint64_t> strides, std::string& out) {
  const Range& range = ranges.front();
  for (std::int64_t i = 0; i < range.count; ++i) {
    const std::byte* at =
        from + strides.front() * static_cast<std::uint64_t>(range.begin + i * range.step);
    if (ranges.size() == 1) {
      out.append(reinterpret_cast<const char*>(at), strides.front());
    } else {
      gather(at, ranges.subspan(1), strides.subspan(1), out);
    }
  }
}

Array npy_array(const std::shared_ptr<const Artifact>& artifact) {
  NpyView view = read_npy(artifact->bytes, artifact->uri);
  return {view.dtype, std::move(view.shape), view.data, artifact};
}

Array safetensors_array(const std::shared_ptr<const Artifact>& artifact, const std::string& name) {
  const auto bytes = std::as_bytes(std::span(artifact->bytes));
  const SafetensorsHeader header = parse_safetensors_header(bytes, bytes.size(), artifact->uri);
  const TensorInfo* found = nullptr;
  for (const TensorInfo& info : header.tensors) {
    if (info.name == name || (name.empty() && header.tensors.size() == 1)) found = &info;
  }
  if (found == nullptr) {
    std::vector<std::string> names;
    for (const TensorInfo& info : header.tensors) {
      if (names.size() < 20) names.push_back(shown(info.name));
    }
    refuse(fmt::format(
        "{}: {} (it holds {}): add ?tensor=NAME", artifact->uri,
        name.empty() ? "which of its tensors?" : "there is no tensor " + shown(name) + " in it",
        fmt::join(names, ", ")));
  }
  return {found->dtype, found->shape,
          bytes.subspan(header.data_begin + found->begin, found->nbytes), artifact};
}

std::string npy_of(const Array& array, const std::string& uri) {
  if (facts(array.dtype).npy.empty()) {
    refuse(fmt::format("{}: .npy has no dtype {}: ask for format=safetensors", uri,
                       to_string(array.dtype)));
  }
  return write_npy(array.dtype, array.shape, array.data);
}

}  // namespace

ArtifactQuery parse_artifact_uri(std::string_view id_or_uri) {
  ArtifactQuery query;
  const std::size_t mark = id_or_uri.find('?');
  query.id = ArtifactStore::id_of(id_or_uri.substr(0, mark));
  std::string_view rest = mark == id_or_uri.npos ? "" : id_or_uri.substr(mark + 1);
  while (!rest.empty()) {
    const std::size_t ampersand = rest.find('&');
    const std::string_view pair = rest.substr(0, ampersand);
    rest = ampersand == rest.npos ? "" : rest.substr(ampersand + 1);
    const std::size_t equals = pair.find('=');
    const std::string_view key = pair.substr(0, equals);
    const std::string value = equals == pair.npos ? "" : decoded(pair.substr(equals + 1));
    if (key == "format" && value == "npy") {
      query.format = ArtifactFormat::npy;
    } else if (key == "format" && value == "safetensors") {
      query.format = ArtifactFormat::safetensors;
    } else if (key == "format") {
      refuse("format " + shown(value) + " is none: npy or safetensors");
    } else if (key == "slice") {
      query.slice = parse_slice(value);
    } else if (key == "tensor" && !value.empty()) {
      query.tensor = value;
    } else {
      refuse("an artifact's URI takes format, slice and tensor behind '?', not " + shown(pair));
    }
  }
  return query;
}

Array slice_array(const Array& array, std::span<const SlicePart> slice) {
  if (slice.size() > array.shape.size()) {
    refuse(fmt::format("a slice of {} parts: the tensor has {} dimensions, ({})", slice.size(),
                       array.shape.size(), fmt::join(array.shape, ", ")));
  }
  std::vector<Range> ranges;
  std::vector<std::uint64_t> strides;  // in bytes
  Array out{.dtype = array.dtype, .owner = array.owner};
  std::uint64_t piece = item_size(array.dtype);
  for (std::size_t i = array.shape.size(); i-- > 0;) {
    strides.insert(strides.begin(), piece);
    piece *= static_cast<std::uint64_t>(array.shape[i]);
  }
  for (std::size_t i = 0; i < slice.size(); ++i) {
    ranges.push_back(resolve(slice[i], array.shape[i], i));
    if (!slice[i].is_index) out.shape.push_back(ranges.back().count);
  }
  out.shape.insert(out.shape.end(), array.shape.begin() + static_cast<std::ptrdiff_t>(slice.size()),
                   array.shape.end());
  if (is_contiguous_head(ranges)) {  // rows that lie side by side: no copy
    const Range rows = ranges.empty() ? Range{0, 1, 1} : ranges[0];
    const std::uint64_t row = ranges.empty() ? array.data.size() : strides[0];
    out.data = array.data.subspan(row * static_cast<std::uint64_t>(rows.begin),
                                  row * static_cast<std::uint64_t>(rows.count));
    return out;
  }
  auto bytes = std::make_shared<std::string>();
  if (!array.data.empty()) gather(array.data.data(), ranges, strides, *bytes);
  out.data = std::as_bytes(std::span(*bytes));
  out.owner = std::move(bytes);
  return out;
}

Array view_array(std::shared_ptr<const Artifact> artifact, const ArtifactQuery& query) {
  Array all;
  try {
    if (artifact->mime_type == kSafetensorsMime) {
      all = safetensors_array(artifact, query.tensor);
    } else {
      if (artifact->mime_type.starts_with("text/"))
        refuse(artifact->uri + " holds a text, no array: resources/read gives it");
      if (!query.tensor.empty()) refuse(artifact->uri + ": it holds one tensor, which has no name");
      all = npy_array(artifact);
    }
  } catch (const Error& error) {
    if (error.code() == ErrorCode::invalid_argument) throw;
    refuse(artifact->uri + " holds no array: " + error.what());
  }
  return slice_array(all, query.slice);
}

Array read_array(ArtifactStore& store, std::string_view id_or_uri, std::string_view reader) {
  const ArtifactQuery query = parse_artifact_uri(id_or_uri);
  return view_array(store.get(query.id, reader), query);
}

ArtifactBytes artifact_bytes(ArtifactStore& store, std::string_view id_or_uri,
                             std::string_view reader) {
  const ArtifactQuery query = parse_artifact_uri(id_or_uri);
  auto artifact = store.get(query.id, reader);
  const bool kept_as_safetensors = artifact->mime_type == kSafetensorsMime;
  const bool as_safetensors = query.format == ArtifactFormat::safetensors ||
                              (query.format == ArtifactFormat::as_kept && kept_as_safetensors);
  const bool as_kept = query.format == ArtifactFormat::as_kept ||
                       (as_safetensors == kept_as_safetensors &&
                        (as_safetensors || artifact->mime_type == kNpyMime));
  if (query.whole() && as_kept) return {artifact->bytes, artifact->mime_type};
  const Array array = view_array(artifact, query);
  if (!as_safetensors) return {npy_of(array, artifact->uri), std::string(kNpyMime)};
  const NamedArray named{query.tensor.empty() ? "tensor" : query.tensor, array.dtype, array.shape,
                         array.data};
  return {write_safetensors(std::span(&named, 1), {{"name", artifact->name}}),
          std::string(kSafetensorsMime)};
}

}  // namespace gpumcp::gpu_runtime

#include "gpu_runtime/safetensors.h"

// The format: 8 bytes header length (little-endian), a JSON object, then the data section. The JSON
// maps a name to {"dtype", "shape", "data_offsets": [begin, end)}, offsets counted in the data
// section, which the tensors must fill with neither gap nor overlap.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "gpu_runtime/error.h"
#include "gpu_runtime/json.h"

namespace gpumcp::gpu_runtime {
namespace {

constexpr std::size_t kMaxRank = 32;
constexpr std::uint64_t kMaxOffset = std::uint64_t{1} << 60;
constexpr JsonLimits kHeaderLimits{
    .max_bytes = kMaxSafetensorsHeader, .max_depth = 3, .max_values = 4'000'000};

[[noreturn]] void refuse(const std::string& origin, const std::string& why) {
  throw Error(ErrorCode::corrupt_checkpoint,
              fmt::format("{}: {}. Delete it and download it again.", origin, why));
}

// Names come from the file, so they are cut and escaped before they reach a message.
std::string quoted(const std::string& name) {
  return Json(name.substr(0, 80)).dump(-1, ' ', true, Json::error_handler_t::replace);
}

std::uint64_t read_le64(std::span<const std::byte> bytes) {
  std::uint64_t value = 0;
  for (int i = 7; i >= 0; --i) value = value << 8 | std::to_integer<std::uint64_t>(bytes[i]);
  return value;
}

std::uint64_t require_unsigned(const Json& value, std::uint64_t max, const std::string& origin,
                               const std::string& what) {
  if (!value.is_number_unsigned() || value.get<std::uint64_t>() > max) {
    refuse(origin, fmt::format("{} must be a whole number from 0 to {}, but is {}", what, max,
                               describe_json(value)));
  }
  return value.get<std::uint64_t>();
}

TensorInfo read_tensor(const std::string& name, const Json& entry, const std::string& origin) {
  const std::string who = fmt::format("tensor {}", quoted(name));
  if (!entry.is_object()) refuse(origin, who + " is not described by an object");
  for (const auto& [key, unused] : entry.items()) {
    if (key != "dtype" && key != "shape" && key != "data_offsets") {
      refuse(origin, fmt::format("{} has the unknown field {}", who, quoted(key)));
    }
  }
  for (const char* key : {"dtype", "shape", "data_offsets"}) {
    if (!entry.contains(key)) refuse(origin, fmt::format("{} lacks the field {}", who, key));
  }

  TensorInfo tensor;
  tensor.name = name;
  const Json& dtype = entry["dtype"];
  const auto known = dtype.is_string() ? dtype_from_safetensors(dtype.get_ref<const std::string&>())
                                       : std::nullopt;
  if (!known) refuse(origin, fmt::format("{} has the unknown dtype {}", who, describe_json(dtype)));
  tensor.dtype = *known;

  const Json& shape = entry["shape"];
  if (!shape.is_array()) refuse(origin, who + " has a shape that is no array");
  if (shape.size() > kMaxRank) {
    refuse(origin,
           fmt::format("{} has {} dimensions; at most {} are read", who, shape.size(), kMaxRank));
  }
  std::uint64_t product = item_size(tensor.dtype);
  for (const Json& dimension : shape) {
    const std::uint64_t n = require_unsigned(dimension, kMaxOffset, origin, who + ": a dimension");
    if (__builtin_mul_overflow(product, n, &product) || product > kMaxOffset) {
      refuse(origin, fmt::format("{}: the product of its shape overflows", who));
    }
    tensor.shape.push_back(static_cast<std::int64_t>(n));
  }

  const Json& offsets = entry["data_offsets"];
  if (!offsets.is_array() || offsets.size() != 2) {
    refuse(origin, who + ": data_offsets must be [begin, end]");
  }
  tensor.begin = require_unsigned(offsets[0], kMaxOffset, origin, who + ": data_offsets[0]");
  const std::uint64_t end =
      require_unsigned(offsets[1], kMaxOffset, origin, who + ": data_offsets[1]");
  if (end < tensor.begin) {
    refuse(origin, fmt::format("{} ends at {}, before it begins at {}", who, end, tensor.begin));
  }
  tensor.nbytes = end - tensor.begin;
  if (tensor.nbytes != product) {
    refuse(origin, fmt::format("{} takes {} bytes in the file, but its shape and dtype make {}",
                               who, tensor.nbytes, product));
  }
  return tensor;
}

std::map<std::string, std::string> read_metadata(const Json& entry, const std::string& origin) {
  if (!entry.is_object()) refuse(origin, "__metadata__ is not an object");
  std::map<std::string, std::string> metadata;
  for (const auto& [key, value] : entry.items()) {
    if (!value.is_string()) {
      refuse(origin,
             fmt::format("__metadata__ {} is {}, not a string", quoted(key), describe_json(value)));
    }
    metadata.emplace(key, value.get<std::string>());
  }
  return metadata;
}

// Sorts by place and checks that the tensors fill data_size bytes exactly.
void check_layout(std::vector<TensorInfo>& tensors, std::uint64_t data_size,
                  const std::string& origin) {
  std::ranges::sort(tensors, [](const TensorInfo& a, const TensorInfo& b) {
    return std::tuple(a.begin, a.nbytes) < std::tuple(b.begin, b.nbytes);
  });
  std::uint64_t end = 0;
  for (const TensorInfo& tensor : tensors) {
    if (tensor.begin < end) {
      refuse(origin,
             fmt::format("tensor {} begins at {}, inside the one before it, which ends at {}",
                         quoted(tensor.name), tensor.begin, end));
    }
    if (tensor.begin > end) {
      refuse(origin, fmt::format("{} bytes before tensor {} belong to no tensor",
                                 tensor.begin - end, quoted(tensor.name)));
    }
    end = tensor.begin + tensor.nbytes;
  }
  if (end > data_size) {
    refuse(
        origin,
        fmt::format("half downloaded: {} bytes are missing (the tensors need {}, the file has {})",
                    end - data_size, end, data_size));
  }
  if (end < data_size) {
    refuse(origin,
           fmt::format("{} bytes after the last tensor belong to no tensor", data_size - end));
  }
}

class FileDescriptor {
 public:
  explicit FileDescriptor(int fd) : fd_(fd) {}
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  ~FileDescriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

}  // namespace

SafetensorsHeader parse_safetensors_header(std::span<const std::byte> head, std::uint64_t file_size,
                                           const std::string& origin) {
  if (file_size < 8 || head.size() < 8) {
    refuse(origin,
           fmt::format("half downloaded: {} bytes are too few for a safetensors file", file_size));
  }
  const std::uint64_t length = read_le64(head);
  if (length > kMaxSafetensorsHeader) {
    refuse(origin, fmt::format("its header claims {} bytes, more than the limit of {}; this is no "
                               "safetensors file, or a hostile one",
                               length, kMaxSafetensorsHeader));
  }
  if (length > file_size - 8 || length > head.size() - 8) {
    refuse(origin, fmt::format("half downloaded: the header alone lacks {} bytes",
                               length - std::min<std::uint64_t>(file_size, head.size()) + 8));
  }
  const std::string_view text(reinterpret_cast<const char*>(head.data()) + 8, length);
  if (!text.starts_with('{')) refuse(origin, "its header does not begin with '{'");
  const Json header = parse_json(text, origin, kHeaderLimits);

  SafetensorsHeader result;
  result.data_begin = 8 + length;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") {
      result.metadata = read_metadata(entry, origin);
    } else {
      result.tensors.push_back(read_tensor(name, entry, origin));
    }
  }
  check_layout(result.tensors, file_size - result.data_begin, origin);
  return result;
}

std::shared_ptr<const SafetensorsFile> SafetensorsFile::open(const std::filesystem::path& path) {
  FileDescriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (fd.get() < 0) {
    throw Error(ErrorCode::not_found,
                fmt::format("{}: cannot be opened: {}", path.string(), std::strerror(errno)));
  }
  struct stat status{};
  if (::fstat(fd.get(), &status) != 0 || !S_ISREG(status.st_mode)) {
    throw Error(ErrorCode::corrupt_checkpoint,
                fmt::format("{}: not a regular file", path.string()));
  }

  std::shared_ptr<SafetensorsFile> file(new SafetensorsFile);
  file->path_ = path;
  file->file_size_ = static_cast<std::uint64_t>(status.st_size);
  if (file->file_size_ > 0) {
    void* mapping = ::mmap(nullptr, file->file_size_, PROT_READ, MAP_PRIVATE, fd.get(), 0);
    if (mapping == MAP_FAILED) {
      throw Error(ErrorCode::out_of_memory,
                  fmt::format("{}: {} bytes cannot be mapped: {}", path.string(), file->file_size_,
                              std::strerror(errno)));
    }
    file->mapping_ = static_cast<const std::byte*>(mapping);
  }
  file->header_ =
      parse_safetensors_header({file->mapping_, file->file_size_}, file->file_size_, path.string());
  for (const TensorInfo& tensor : file->header_.tensors) {
    file->by_name_.emplace(tensor.name, &tensor);
    file->nbytes_ += tensor.nbytes;
  }
  file->fd_ = fd.release();
  return file;
}

SafetensorsFile::~SafetensorsFile() {
  if (mapping_ != nullptr) ::munmap(const_cast<std::byte*>(mapping_), file_size_);
  if (fd_ >= 0) ::close(fd_);
}

void SafetensorsFile::read(std::uint64_t offset, std::span<std::byte> into) const {
  if (offset > nbytes_ || into.size() > nbytes_ - offset) {
    throw Error(ErrorCode::internal,
                fmt::format("{} bytes at {} are not in {}", into.size(), offset, path_.string()));
  }
  std::uint64_t at = header_.data_begin + offset;
  while (!into.empty()) {
    const ssize_t got = ::pread(fd_, into.data(), into.size(), static_cast<off_t>(at));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) {
      refuse(path_.string(),
             got < 0 ? fmt::format("cannot be read at {}: {}", at, std::strerror(errno))
                     : fmt::format("it ends at {}, though it was longer when it was opened", at));
    }
    into = into.subspan(static_cast<std::size_t>(got));
    at += static_cast<std::uint64_t>(got);
  }
}

const TensorInfo* SafetensorsFile::find(std::string_view name) const {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? nullptr : found->second;
}

std::span<const std::byte> SafetensorsFile::data(const TensorInfo& tensor) const {
  // A TensorInfo of another file must not read outside this one.
  if (tensor.begin > nbytes_ || tensor.nbytes > nbytes_ - tensor.begin) {
    throw Error(ErrorCode::internal,
                fmt::format("tensor {} is not one of {}", quoted(tensor.name), path_.string()));
  }
  return {mapping_ + header_.data_begin + tensor.begin, static_cast<std::size_t>(tensor.nbytes)};
}

std::string write_safetensors(std::span<const NamedArray> tensors,
                              const std::map<std::string, std::string>& metadata) {
  Json header = Json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::uint64_t end = 0;
  // The widest first, as the reference writer has it, so that each is aligned to its items.
  std::vector<const NamedArray*> order;
  for (const NamedArray& tensor : tensors) order.push_back(&tensor);
  std::ranges::stable_sort(order, [](const NamedArray* a, const NamedArray* b) {
    return item_size(a->dtype) > item_size(b->dtype);
  });
  for (const NamedArray* tensor : order) {
    std::uint64_t nbytes = item_size(tensor->dtype);
    bool fits = tensor->name != "__metadata__" && !header.contains(tensor->name);
    for (const std::int64_t n : tensor->shape) {
      fits =
          fits && n >= 0 && !__builtin_mul_overflow(nbytes, static_cast<std::uint64_t>(n), &nbytes);
    }
    if (!fits || nbytes != tensor->data.size()) {
      throw Error(ErrorCode::invalid_argument,
                  fmt::format("safetensors: {} is there twice, or its {} bytes are not what its "
                              "shape and dtype make",
                              quoted(tensor->name), tensor->data.size()));
    }
    header[tensor->name] = {{"dtype", facts(tensor->dtype).safetensors},
                            {"shape", tensor->shape},
                            {"data_offsets", {end, end + nbytes}}};
    end += nbytes;
  }
  std::string text = header.dump(-1, ' ', false, Json::error_handler_t::replace);
  text.append((8 - text.size() % 8) % 8, ' ');
  std::string bytes;
  bytes.reserve(8 + text.size() + end);
  for (int shift = 0; shift < 64; shift += 8)
    bytes += static_cast<char>(text.size() >> shift & 0xff);
  bytes += text;
  for (const NamedArray* tensor : order)
    bytes.append(reinterpret_cast<const char*>(tensor->data.data()), tensor->data.size());
  return bytes;
}

}  // namespace gpumcp::gpu_runtime

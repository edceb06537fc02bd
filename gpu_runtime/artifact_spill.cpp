#include "gpu_runtime/artifact_spill.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "gpu_runtime/error.h"
#include "gpu_runtime/json.h"

namespace gpumcp::gpu_runtime {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kMagic = "GPUMCPA1";
constexpr std::string_view kSuffix = ".artifact";
constexpr std::size_t kPreamble = kMagic.size() + 4;
constexpr std::size_t kMaxHeader = std::size_t{1} << 20;

[[noreturn]] void fail(const fs::path& path, std::string_view what) {
  throw Error(ErrorCode::internal,
              fmt::format("{}: {}: {}", path.string(), what, std::strerror(errno)));
}

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

void write_all(int fd, std::string_view bytes, const fs::path& path) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail(path, "cannot be written");
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
}

bool read_exactly(int fd, char* to, std::size_t n) {
  while (n > 0) {
    const ssize_t got = ::read(fd, to, n);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    to += got;
    n -= static_cast<std::size_t>(got);
  }
  return true;
}

fs::path file_of(const fs::path& folder, const std::string& id) {
  return folder / (id + std::string(kSuffix));
}

std::int64_t to_milliseconds(ArtifactTime time) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(time.time_since_epoch()).count();
}

ArtifactTime from_milliseconds(std::int64_t n) {
  constexpr std::int64_t kFar = 9'000'000'000'000;  // the year 2255; what nanoseconds still hold
  n = std::clamp(n, -kFar, kFar);
  return ArtifactTime(
      std::chrono::duration_cast<ArtifactTime::duration>(std::chrono::milliseconds(n)));
}

// Opens one of our files and reads its header; nullopt for anything else. What follows is at the
// descriptor's position, nbytes of it.
struct OpenSpill {
  Json header;
  std::uint64_t nbytes = 0;
};

std::optional<OpenSpill> read_header(int fd) {
  struct stat status{};
  if (fd < 0 || ::fstat(fd, &status) != 0 || !S_ISREG(status.st_mode) ||
      status.st_uid != ::geteuid()) {
    return {};
  }
  char preamble[kPreamble];
  if (!read_exactly(fd, preamble, sizeof preamble)) return {};
  if (std::string_view(preamble, kMagic.size()) != kMagic) return {};
  std::size_t length = 0;
  for (std::size_t i = kPreamble; i-- > kMagic.size();) {
    length = length << 8 | static_cast<unsigned char>(preamble[i]);
  }
  const auto file_size = static_cast<std::uint64_t>(status.st_size);
  if (length > kMaxHeader || kPreamble + length > file_size) return {};
  std::string text(length, '\0');
  if (!read_exactly(fd, text.data(), text.size())) return {};
  OpenSpill spill;
  spill.header = parse_json(text, "artifact", {.max_bytes = kMaxHeader, .max_depth = 3});
  spill.nbytes = file_size - kPreamble - length;
  return spill;
}

ArtifactTime expiry_of(const OpenSpill& spill) {
  return from_milliseconds(spill.header.at("expires_ms").get<std::int64_t>());
}

int open_for_reading(const fs::path& path) {
  return ::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
}

}  // namespace

void prepare_spill_folder(const fs::path& folder) {
  std::error_code ignored;
  if (!folder.parent_path().empty()) fs::create_directories(folder.parent_path(), ignored);
  if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) fail(folder, "cannot be made");
  struct stat status{};
  if (::lstat(folder.c_str(), &status) != 0) fail(folder, "cannot be looked at");
  if (!S_ISDIR(status.st_mode) || status.st_uid != ::geteuid() || (status.st_mode & 077) != 0) {
    throw Error(ErrorCode::internal,
                fmt::format("{}: must be a folder of this user with mode 0700; "
                            "remove it, or name another",
                            folder.string()));
  }
}

void write_spilled(const fs::path& folder, const SpilledArtifact& spilled) {
  const Artifact& artifact = *spilled.artifact;
  const std::string header = Json{
      {"id", artifact.id},
      {"expires_ms", to_milliseconds(spilled.expires)},
      {"created_ms", to_milliseconds(artifact.created)},
      {"shape", artifact.shape},
      {"dtype", artifact.dtype},
      {"name", artifact.name},
      {"description", artifact.description},
      {"owner", artifact.owner},
      {"made_by", artifact.made_by},
      {"mime_type",
       artifact.mime_type}}.dump(-1, ' ', true, Json::error_handler_t::replace);
  std::string head(kMagic);
  for (int shift = 0; shift < 32; shift += 8)
    head += static_cast<char>(header.size() >> shift & 0xff);
  head += header;

  const fs::path path = file_of(folder, artifact.id);
  const fs::path beside = path.string() + fmt::format(".{}", ::getpid());
  ::unlink(beside.c_str());  // what a crash of an earlier process with our number left
  {
    const Descriptor fd(
        ::open(beside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (fd.get() < 0) fail(beside, "cannot be made");
    try {
      write_all(fd.get(), head, beside);
      write_all(fd.get(), artifact.bytes, beside);
    } catch (...) {
      ::unlink(beside.c_str());
      throw;
    }
  }
  if (::rename(beside.c_str(), path.c_str()) != 0) {
    ::unlink(beside.c_str());
    fail(path, "cannot be written");
  }
}

std::vector<ArtifactInfo> list_spilled(const fs::path& folder, ArtifactTime now) {
  std::vector<ArtifactInfo> all;
  std::error_code problem;
  for (fs::directory_iterator it(folder, problem), end; !problem && it != end;
       it.increment(problem)) {
    if (it->path().extension() != kSuffix) continue;
    try {
      const Descriptor fd(open_for_reading(it->path()));
      const auto spill = read_header(fd.get());
      if (!spill || expiry_of(*spill) <= now) continue;
      const Json& header = spill->header;
      ArtifactInfo one;
      one.id = header.at("id").get<std::string>();
      if (it->path().stem() != one.id) continue;
      one.uri = ArtifactStore::uri_of(one.id);
      one.created = from_milliseconds(header.at("created_ms").get<std::int64_t>());
      one.expires = expiry_of(*spill);
      one.shape = header.at("shape").get<std::vector<std::int64_t>>();
      one.dtype = header.at("dtype").get<std::string>();
      one.name = header.at("name").get<std::string>();
      one.description = header.at("description").get<std::string>();
      one.owner = header.at("owner").get<std::string>();
      one.mime_type = header.at("mime_type").get<std::string>();
      one.made_by = header.at("made_by").get<std::string>();
      one.nbytes = spill->nbytes;
      all.push_back(std::move(one));
    } catch (const Error&) {  // a broken file counts as absent
    } catch (const Json::exception&) {
    }
  }
  return all;
}

std::optional<SpilledArtifact> read_spilled(const fs::path& folder, const std::string& id,
                                            ArtifactTime now) {
  try {
    const Descriptor fd(open_for_reading(file_of(folder, id)));
    const auto spill = read_header(fd.get());
    if (!spill || spill->header.at("id") != id) return {};
    const ArtifactTime expires = expiry_of(*spill);
    if (expires <= now) {
      remove_spilled(folder, id);
      return {};
    }
    auto artifact = std::make_shared<Artifact>();
    artifact->id = id;
    artifact->uri = ArtifactStore::uri_of(id);
    artifact->created = from_milliseconds(spill->header.at("created_ms").get<std::int64_t>());
    artifact->shape = spill->header.at("shape").get<std::vector<std::int64_t>>();
    artifact->dtype = spill->header.at("dtype").get<std::string>();
    artifact->name = spill->header.at("name").get<std::string>();
    artifact->description = spill->header.at("description").get<std::string>();
    artifact->owner = spill->header.at("owner").get<std::string>();
    artifact->mime_type = spill->header.at("mime_type").get<std::string>();
    artifact->made_by = spill->header.at("made_by").get<std::string>();
    artifact->bytes.resize(spill->nbytes);
    if (!read_exactly(fd.get(), artifact->bytes.data(), artifact->bytes.size())) return {};
    return SpilledArtifact{std::move(artifact), expires};
  } catch (const Error&) {
  } catch (const Json::exception&) {
  }
  return {};  // a broken file counts as absent
}

bool remove_spilled(const fs::path& folder, const std::string& id) {
  return ::unlink(file_of(folder, id).c_str()) == 0;
}

void remove_expired_spills(const fs::path& folder, ArtifactTime now) {
  std::error_code problem;
  for (fs::directory_iterator it(folder, problem), end; !problem && it != end;
       it.increment(problem)) {
    const fs::path& path = it->path();
    if (path.extension() != kSuffix) continue;
    bool keep = false;
    try {
      const Descriptor fd(open_for_reading(path));
      const auto spill = read_header(fd.get());
      keep = spill && expiry_of(*spill) > now;
    } catch (const Error&) {
    } catch (const Json::exception&) {
    }
    if (!keep) ::unlink(path.c_str());
  }
}

}  // namespace gpumcp::gpu_runtime

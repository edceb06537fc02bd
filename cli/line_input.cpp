#include "cli/line_input.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>

namespace gpumcp::cli {
namespace {

constexpr size_t kMaxLine = 64u << 20, kChunk = 1u << 18;

}  // namespace

LineInput::LineInput(const std::string& file, const Interrupt& interrupt)
    : name_(file == "-" ? "stdin" : file), interrupt_(interrupt) {
  fd_ = file == "-" ? 0 : ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  struct stat info {};
  if (fd_ < 0 || fstat(fd_, &info) != 0)
    throw std::invalid_argument(fmt::format("cannot read {}: {}", name_, std::strerror(errno)));
  if (S_ISDIR(info.st_mode)) throw std::invalid_argument(fmt::format("{} is a folder", name_));
  if (S_ISREG(info.st_mode)) total_ = static_cast<uint64_t>(info.st_size);
}

LineInput::~LineInput() {
  if (fd_ > 0) ::close(fd_);
}

bool LineInput::take_line(std::string& line) {
  size_t end = buffer_.find('\n', std::max(at_, searched_));
  searched_ = buffer_.size();
  if (end == buffer_.npos) {
    if (!ended_ || at_ == buffer_.size()) return false;
    end = buffer_.size();  // the last line has no end
  }
  line.assign(buffer_, at_, end - at_);
  bytes_read_ += line.size() + 1;
  if (line.ends_with('\r')) line.pop_back();
  at_ = searched_ = std::min(end + 1, buffer_.size());
  ++line_number_;
  return true;
}

LineInput::Got LineInput::next(std::string& line, bool wait) {
  while (!take_line(line)) {
    if (ended_) return Got::end;
    buffer_.erase(0, at_);
    at_ = 0;
    searched_ = buffer_.size();
    if (buffer_.size() > kMaxLine)
      throw std::invalid_argument(fmt::format("{}, line {}: is longer than {} MiB", name_,
                                              line_number_ + 1, kMaxLine >> 20));
    pollfd fds[2] = {{fd_, POLLIN, 0}, {interrupt_.fd(), POLLIN, 0}};
    if (poll(fds, 2, wait ? -1 : 0) < 0 && errno != EINTR)
      throw std::runtime_error(fmt::format("cannot read {}: {}", name_, std::strerror(errno)));
    if (fds[1].revents) return Got::nothing_now;
    if (!fds[0].revents) {
      if (wait) continue;
      return Got::nothing_now;
    }
    const size_t size = buffer_.size();
    buffer_.resize(size + kChunk);
    const ssize_t n = ::read(fd_, buffer_.data() + size, kChunk);
    buffer_.resize(size + static_cast<size_t>(std::max<ssize_t>(n, 0)));
    if (n == 0) ended_ = true;
    if (n < 0 && errno != EINTR && errno != EAGAIN)
      throw std::runtime_error(fmt::format("cannot read {}: {}", name_, std::strerror(errno)));
  }
  return Got::line;
}

}  // namespace gpumcp::cli

// Child::Reader: buffered reading of what a child says: lines, and blocks of known length. One
// thread; the descriptor is its caller's.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <string>

#include "interfaces/python/child.h"

namespace gpumcp::python {

struct Child::Reader {
  int fd;
  std::string buffer = {};
  size_t at = 0;

  bool fill() {
    if (at > 0) {
      buffer.erase(0, at);
      at = 0;
    }
    const size_t old = buffer.size();
    buffer.resize(old + 65536);
    ssize_t n = 0;
    while ((n = ::read(fd, buffer.data() + old, 65536)) < 0 && errno == EINTR) {
    }
    buffer.resize(old + static_cast<size_t>(std::max<ssize_t>(n, 0)));
    return n > 0;
  }
  std::optional<std::string> line() {
    size_t seen = at;
    while (true) {
      if (const size_t end = buffer.find('\n', seen); end != buffer.npos) {
        std::string out = buffer.substr(at, end - at);
        at = end + 1;
        return out;
      }
      seen = buffer.size() - at;  // where fill() leaves it
      if (!fill()) return std::nullopt;
    }
  }
  std::optional<std::string> block(size_t size) {
    std::string out = buffer.substr(at, size);
    at += out.size();
    const size_t have = out.size();
    out.resize(size);
    for (size_t got = have; got < size;) {
      const ssize_t n = ::read(fd, out.data() + got, size - got);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return std::nullopt;
      got += static_cast<size_t>(n);
    }
    return out;
  }
};

}  // namespace gpumcp::python

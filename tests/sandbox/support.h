// A folder of the test's own as XDG_RUNTIME_DIR, removed at the end.
#pragma once

#include <doctest/doctest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>

namespace gpumcp::sandbox {

class TemporaryRuntime {
 public:
  TemporaryRuntime() {
    char name[] = "/tmp/gpumcp-test-XXXXXX";
    REQUIRE(mkdtemp(name) != nullptr);
    path_ = name;
    setenv("XDG_RUNTIME_DIR", name, 1);
  }
  ~TemporaryRuntime() {
    unsetenv("XDG_RUNTIME_DIR");
    std::filesystem::permissions(path_, std::filesystem::perms::owner_all);
    std::filesystem::remove_all(path_);
  }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace gpumcp::sandbox

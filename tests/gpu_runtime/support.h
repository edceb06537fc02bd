#pragma once

// What several tests of gpu_runtime share: the message of an expected Error, folders that vanish,
// files.
#include <doctest/doctest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include "gpu_runtime/error.h"

namespace gpumcp::gpu_runtime {

inline bool contains(std::string_view text, std::string_view part) {
  const bool found = text.find(part) != text.npos;
  if (!found) MESSAGE("not in \"", std::string(text), "\": \"", std::string(part), "\"");
  return found;
}

// The message of the Error that f throws; fails the test when it throws none or one of another
// code.
template <class F>
std::string message_of(ErrorCode code, F&& f) {
  try {
    f();
  } catch (const Error& error) {
    CHECK_MESSAGE(error.code() == code, "code is ", std::string(to_string(error.code())), ": ",
                  std::string(error.what()));
    return error.what();
  }
  FAIL_CHECK("no Error was thrown");
  return {};
}

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "gpumcp-test-XXXXXX").string();
    REQUIRE(mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(std::string_view name) const { return path_ / name; }

  // Writes a file, making the folders on its way.
  std::filesystem::path write(std::string_view name, std::string_view bytes) const {
    const std::filesystem::path file = path_ / name;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file, std::ios::binary) << bytes;
    return file;
  }

 private:
  std::filesystem::path path_;
};

}  // namespace gpumcp::gpu_runtime

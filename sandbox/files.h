// Small files, read whole. Any thread.
#pragma once

#include <filesystem>
#include <string>

namespace gpumcp::sandbox {

// All of the file's bytes; none if it cannot be opened.
std::string read_file(const std::filesystem::path& path);

}  // namespace gpumcp::sandbox

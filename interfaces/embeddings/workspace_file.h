// Files that a result leaves in the caller's workspace. Free functions, thread-safe.
#pragma once

#include <filesystem>
#include <string_view>

namespace gpumcp::interfaces {

// Writes a new file STEM-RANDOM.EXTENSION (mode 0600) directly in `folder`, which is made (0700) if
// only it is missing and not its parent, and returns the file's absolute path. The name is always
// new, so no file and no link that lies there already is opened, followed or replaced. Throws
// ToolError with the folder and the system's reason; a file that could not be written in full is
// removed.
std::filesystem::path write_new_file(const std::filesystem::path& folder, std::string_view stem,
                                     std::string_view extension, std::string_view bytes);

}  // namespace gpumcp::interfaces

#include "sandbox/files.h"

#include <fstream>
#include <iterator>

namespace gpumcp::sandbox {

std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string((std::istreambuf_iterator<char>(file)), {});
}

}  // namespace gpumcp::sandbox

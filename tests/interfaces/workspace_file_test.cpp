#include "interfaces/embeddings/workspace_file.h"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <fstream>
#include <set>

#include "mcp/context.h"

using gpumcp::interfaces::write_new_file;
namespace fs = std::filesystem;

namespace {

struct Folder {
  Folder() {
    std::string name = (fs::temp_directory_path() / "gpumcp-workspace-XXXXXX").string();
    REQUIRE(mkdtemp(name.data()));
    path = fs::canonical(name);
  }
  ~Folder() { fs::remove_all(path); }
  fs::path path;
};

}  // namespace

TEST_CASE("write_new_file() makes a new file each time, only its owner's") {
  Folder folder;
  std::set<fs::path> paths;
  for (int i = 0; i < 20; ++i)
    paths.insert(write_new_file(folder.path, "embedding", "npy", std::string("a\0b", 3)));
  CHECK(paths.size() == 20);
  for (const fs::path& path : paths) {
    CHECK(path.parent_path() == folder.path);
    struct stat status{};
    REQUIRE(lstat(path.c_str(), &status) == 0);
    CHECK(S_ISREG(status.st_mode));
    CHECK((status.st_mode & 07777) == 0600);
    CHECK(status.st_size == 3);
  }
}

TEST_CASE("write_new_file() gives the real path of a workspace that is reached by a link") {
  Folder folder;
  fs::create_directory(folder.path / "real");
  fs::create_directory_symlink(folder.path / "real", folder.path / "link");
  CHECK(write_new_file(folder.path / "link", "x", "npy", "a").parent_path() ==
        folder.path / "real");
}

TEST_CASE("write_new_file() makes a workspace whose parent is there, for its owner alone") {
  Folder folder;
  write_new_file(folder.path / "new", "x", "npy", "a");
  struct stat status{};
  REQUIRE(stat((folder.path / "new").c_str(), &status) == 0);
  CHECK((status.st_mode & 07777) == 0700);
}

TEST_CASE("write_new_file() names the folder that is missing or no folder") {
  Folder folder;
  std::ofstream(folder.path / "file") << "a";
  for (const char* name : {"missing/deeper", "file"}) {
    CHECK_THROWS_WITH_AS(write_new_file(folder.path / name, "x", "npy", "a"),
                         doctest::Contains((folder.path / name).c_str()), gpumcp::mcp::ToolError);
  }
}

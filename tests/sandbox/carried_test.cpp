#include "sandbox/carried.h"

#include <cstdlib>
#include <fstream>

#include "tests/sandbox/support.h"

namespace gpumcp::sandbox {
namespace {

namespace fs = std::filesystem;

void write(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path) << text;
}

std::string read(const fs::path& path) {
  std::ifstream file(path);
  return std::string((std::istreambuf_iterator<char>(file)), {});
}

// An interface of two files, packed for a worker elsewhere.
struct Carried {
  TemporaryRuntime runtime;
  fs::path here = runtime.path() / "here";
  std::string line;

  Carried() {
    setenv("GPUMCP_CACHE", (runtime.path() / "cache").c_str(), 1);
    setenv("GPUMCP_TEST_SECRET", "a secret", 1);
    write(here / "interface.py", "main");
    write(here / "inner/helpers.py", "helpers");
    SandboxConfig config;
    config.interfaces = {here / "interface.py"};
    config.provider = "ssh:gpu";
    config.secrets = {"GPUMCP_TEST_SECRET"};
    Manifest manifest{.name = "interface", .library = here / "interface.py"};
    manifest.dependencies = {here / "inner/helpers.py", here / "interface.py"};
    line = pack_config(config, {manifest});
    unsetenv("GPUMCP_TEST_SECRET");
  }
  ~Carried() {
    unsetenv("GPUMCP_CACHE");
    unsetenv("GPUMCP_TEST_SECRET");
  }
};

TEST_CASE("files that are not there are written to the cache, and secrets set") {
  Carried carried;
  fs::remove_all(carried.here);
  const SandboxConfig config = unpack_config(carried.line);
  REQUIRE(config.interfaces.size() == 1);
  CHECK(config.provider == "local");
  const fs::path main = config.interfaces[0];
  CHECK(main.string().starts_with((carried.runtime.path() / "cache/carried").string()));
  CHECK(read(main) == "main");
  CHECK(read(main.parent_path() / "inner/helpers.py") == "helpers");
  REQUIRE(std::getenv("GPUMCP_TEST_SECRET") != nullptr);
  CHECK(std::string(std::getenv("GPUMCP_TEST_SECRET")) == "a secret");
}

TEST_CASE("files that are the same there are used where they are") {
  Carried carried;
  CHECK(unpack_config(carried.line).interfaces[0] == carried.here / "interface.py");
  write(carried.here / "inner/helpers.py", "other");
  CHECK(unpack_config(carried.line).interfaces[0] != carried.here / "interface.py");
}

TEST_CASE("an author's library goes along with its manifest, one of gpumcp's own does not") {
  Carried carried;
  write(carried.here / "mine.so", "machine code");
  Manifest manifest{.name = "mine", .library = carried.here / "mine.so"};
  manifest.tools.push_back({.name = "f", .description = "F.", .inputSchema = {{"type", "object"}}});
  const std::string line = pack_config({}, {manifest});
  CHECK(unpack_config(line).interfaces[0] == carried.here / "mine.so");
  fs::remove_all(carried.here);
  const fs::path there = unpack_config(line).interfaces[0];
  CHECK(there.string().starts_with((carried.runtime.path() / "cache/carried").string()));
  CHECK(read(there) == "machine code");
  CHECK(mcp::parse_json(read(fs::path(there).replace_extension(".json")))->at("name") == "mine");
  const auto own = program_path().parent_path().parent_path() / "lib/gpumcp/interfaces/x.so";
  CHECK(pack_config({}, {{.name = "x", .library = own}}).find("bytes") == std::string::npos);
}

TEST_CASE("a carried file cannot leave its folder, and a broken line is refused") {
  Carried carried;
  mcp::Json json = *mcp::parse_json(carried.line);
  for (const char* name : {"../escape.py", "/etc/escape.py", "a/../../escape.py"}) {
    CAPTURE(name);
    mcp::Json bad = json;
    bad["interfaces"][0]["files"][name] = "eA==";
    CHECK_THROWS_AS(unpack_config(mcp::to_text(bad)), std::invalid_argument);
  }
  CHECK_THROWS_AS(unpack_config("{}"), std::invalid_argument);
  CHECK_THROWS_AS(unpack_config("not json"), std::invalid_argument);
}

}  // namespace
}  // namespace gpumcp::sandbox

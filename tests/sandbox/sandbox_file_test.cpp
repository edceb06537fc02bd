#include "sandbox/sandbox_file.h"

#include <fstream>

#include "tests/sandbox/support.h"

namespace gpumcp::sandbox {
namespace {

struct File {
  TemporaryRuntime folder;
  std::filesystem::path path = folder.path() / "gpumcp.toml";

  mcp::Result<SandboxFile> read(const std::string& text) {
    std::ofstream(path) << text;
    return SandboxFile::read(path);
  }
  std::string error(const std::string& text) {
    auto read_file = read(text);
    REQUIRE_FALSE(read_file);
    return read_file.error().message;
  }
};

TEST_CASE("a file says all that the command line does") {
  File file;
  auto config = file.read(R"(
[sandbox]
name = "gpu"
provider = "slurm:--partition=a"
gpu = "a100"
gpu_count = 2
idle = 2.5
python_packages = ["torch", "transformers"]
env = { A = "b" }
workspace = "work"

[[model]]
name = "org/model"
path = "models/m"

[[model]]
name = "org/other"

[[interface]]
file = "interface.py"
name = "tools"

[[interface]]
file = "embeddings"
)");
  REQUIRE(config);
  CHECK(config->name == "gpu");
  CHECK(config->provider == "slurm:--partition=a");
  CHECK(config->gpu_count == 2);
  CHECK(config->idle == "2.5");
  CHECK(config->python_packages.size() == 2);
  CHECK(config->env.at("A") == "b");
  CHECK(config->workspace == (file.folder.path() / "work").string());
  CHECK(config->models ==
        std::vector<std::string>{"org/model=" + (file.folder.path() / "models/m").string(),
                                 "org/other"});
  REQUIRE(config->interfaces.size() == 2);
  CHECK(config->interfaces[0].name == "tools");
  CHECK(config->interfaces[0].file == (file.folder.path() / "interface.py").string());
  CHECK(config->interfaces[1].name == "embeddings");
  CHECK(config->interfaces[1].file == "embeddings");
  CHECK_FALSE(config->device);
}

TEST_CASE("an error names the line and what was expected") {
  File file;
  CHECK(file.error("[sandbox]\nidel = 3\n")
            .starts_with("gpumcp.toml:2: unknown key \"idel\"; known here: "));
  CHECK(file.error("[sandbox]\n\ngpu_count = -1\n")
            .starts_with("gpumcp.toml:3: gpu_count: expected a whole number"));
  CHECK(file.error("[sandbox]\npython_packages = \"torch\"\n")
            .starts_with("gpumcp.toml:2: python_packages: expected a list"));
  CHECK(file.error("[interface]\nfile = \"x.py\"\n").find("write [[interface]]") !=
        std::string::npos);
  CHECK(file.error("[[interface]]\nname = \"x\"\n").find("\"file\" is missing") !=
        std::string::npos);
  CHECK(file.error("[[interface]]\nfile = \"a/x.py\"\n[[interface]]\nfile = \"b/x.py\"\n")
            .find("two interfaces are named \"x\"") != std::string::npos);
  CHECK(file.error("[sandbox\n").starts_with("gpumcp.toml:1: "));
  CHECK(SandboxFile::read(file.folder.path() / "none.toml").error().message.find("none.toml") !=
        std::string::npos);
}

}  // namespace
}  // namespace gpumcp::sandbox

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
model_idle = 30
warm_idle = "never"
call_timeout = 0.5
load_timeout = "never"
start_timeout = 90
device_memory = 1000000
host_memory = "20G"
python_packages = ["torch", "transformers"]
env = { A = "b" }
workspace = "work"
isolate = true
read = ["data"]
write = ["/results"]

[[model]]
name = "org/model"
path = "models/m"
hidden = true
pin = true
dtype = "bfloat16"

[[model]]
name = "org/other"
idle = "never"

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
  REQUIRE(config->models.size() == 2);
  CHECK(config->models[0].name == "org/model");
  CHECK(config->models[0].path == file.folder.path() / "models/m");
  CHECK(config->models[0].hidden);
  CHECK(config->models[0].dtype == "bfloat16");
  CHECK(config->models[1].name == "org/other");
  CHECK(config->models[1].path.empty());
  CHECK(config->model_idle == std::vector<std::string>{"30", "org/other=never"});
  CHECK(config->pin == std::vector<std::string>{"org/model"});
  CHECK(config->host_memory == "20G");
  CHECK(config->device_memory == "1000000");
  CHECK(config->warm_idle == "never");
  CHECK(config->call_timeout == "0.5");
  CHECK(config->load_timeout == "never");
  CHECK(config->start_timeout == "90");
  REQUIRE(config->interfaces.size() == 2);
  CHECK(config->interfaces[0].name == "tools");
  CHECK(config->interfaces[0].file == (file.folder.path() / "interface.py").string());
  CHECK(config->interfaces[1].name == "embeddings");
  CHECK(config->interfaces[1].file == "embeddings");
  CHECK_FALSE(config->device);
  CHECK(config->isolate == "auto");
  CHECK(config->read_folders == std::vector{(file.folder.path() / "data").string()});
  CHECK(config->write_folders == std::vector<std::string>{"/results"});
  CHECK_FALSE(config->network);
}

TEST_CASE("an adapter is checked where it is written down") {
  File file;
  const std::string text = "[[model]]\nname = \"me/tuned\"\nadapter = \"a\"\n";
  const auto folder = file.folder.path() / "a";
  std::filesystem::create_directory(folder);
  CHECK(file.error(text).starts_with("gpumcp.toml:1: model me/tuned: adapter"));
  CHECK(file.error(text).find("there is no adapter_config.json") != std::string::npos);
  std::ofstream(folder / "adapter_model.safetensors") << "x";
  auto config = [&](const char* json) { std::ofstream(folder / "adapter_config.json") << json; };
  config("[]");
  CHECK(file.error(text).find("is no JSON object") != std::string::npos);
  config(R"({"peft_type": "IA3"})");
  CHECK(file.error(text).find(R"(of the kind "IA3")") != std::string::npos);
  config(R"({"peft_type": "LORA"})");
  CHECK(file.error(text).find("names the base model") != std::string::npos);
  CHECK(file.read(text + "base = \"org/model\"\n")->models[0].base == "org/model");
  config(R"({"peft_type": "LORA", "base_model_name_or_path": "org/model"})");
  CHECK(file.read(text)->models[0].adapter == folder);
  CHECK(file.error("[[model]]\nname = \"a\"\nbase = \"b\"\n").find("goes with an adapter") !=
        std::string::npos);
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
  CHECK(file.error("[sandbox]\nidle = -1\n").starts_with("gpumcp.toml:2: idle: expected seconds"));
  CHECK(file.error("[sandbox]\ncall_timeout = \"soon\"\n")
            .starts_with("gpumcp.toml:2: call_timeout: expected seconds"));
  CHECK(file.error("[sandbox]\nhost_memory = \"20 apples\"\n")
            .starts_with("gpumcp.toml:2: host_memory: expected a size"));
  CHECK(file.error("[[model]]\nname = \"a\"\nhidden = \"yes\"\n")
            .starts_with("gpumcp.toml:3: hidden: expected true or false"));
  CHECK(file.error("[[model]]\nname = \"a\"\ndtype = \"int3\"\n")
            .find("dtype int3: expected float32") != std::string::npos);
  CHECK(file.error("[[model]]\nname = \"a\"\n[[model]]\nname = \"a\"\n")
            .starts_with("gpumcp.toml:3: model a: it is listed twice"));
  CHECK(file.error("[sandbox]\nisolate = \"jail\"\n")
            .starts_with("gpumcp.toml:2: isolate \"jail\": expected auto, bubblewrap"));
  CHECK(file.error("[sandbox\n").starts_with("gpumcp.toml:1: "));
  CHECK(SandboxFile::read(file.folder.path() / "none.toml").error().message.find("none.toml") !=
        std::string::npos);
}

}  // namespace
}  // namespace gpumcp::sandbox

// gpumcp new: a folder with an interface to start from, in Python or C++, and the gpumcp.toml that
// serves it. Writes over nothing.
#include <fmt/format.h>

#include <fstream>

#include "cli/command.h"

namespace gpumcp::cli {
namespace fs = std::filesystem;
namespace {

struct NewOptions {
  std::string name, folder;
  std::string model = "sentence-transformers/all-MiniLM-L6-v2";
  bool cpp = false;
};

constexpr const char* kPython =
    R"("""What agents may call. `expose` and `get_model_path` are there by themselves; nothing else in this file is reachable."""

# Code up here runs once, when the worker loads the file. Models that packages load go here:
#   from transformers import AutoModel
#   model = AutoModel.from_pretrained(get_model_path("@MODEL@"), device_map="auto")


@expose
def word_lengths(text: str, longest: int = 3) -> dict:
    """Count the letters of a text's words.

    Args:
        text: The text.
        longest: How many words to return, the longest first.
    """
    words = sorted(dict.fromkeys(text.split()), key=len, reverse=True)
    return {"words": {word: len(word) for word in words[:longest]}, "count": len(words)}
)";

constexpr const char* kCpp = R"(// What agents may call.
#include <gpumcp/interface.h>
using namespace gpumcp;

struct Embedding {
  std::string text;
  std::vector<float> preview;
};
GPUMCP_DESCRIBE(Embedding, text, preview)

GPUMCP_INTERFACE(@NAME@, interface) {
  auto model_path = interface.get_model_path("@MODEL@");
  auto model = AutoModel::from_pretrained(model_path);  // a handle: weights load at the first call
  auto tokenizer = AutoTokenizer::from_pretrained(model_path);

  interface.expose(
      "get_embedding", "Get text embedding from model.",
      [=](const std::string& text) -> Embedding {
        auto outputs = model(tokenizer(text).to(model.device()), {.output_hidden_states = true});
        auto embedding = outputs.hidden_states.back().mean(1).squeeze();
        return {text, to_vector(embedding.slice(0, 0, 10))};
      },
      arg("text", "The text to embed."));
}
)";

constexpr const char* kToml = R"(# gpumcp serve --config gpumcp.toml
[sandbox]
name = "@NAME@"
idle = 60                      # seconds after the last call until the worker, and the GPU, are let go
# provider = "ssh:HOST"        # or slurm, or a command
# python_packages = ["torch", "transformers", "accelerate"]

# [[model]]
# name = "@MODEL@"
# path = "models/..."          # without it, it is looked up by name

[[interface]]
file = "@FILE@"
name = "@NAME@"
)";

std::string filled(std::string text, const NewOptions& o, const std::string& file) {
  for (const auto& [mark, value] : {std::pair<std::string, std::string>{"@NAME@", o.name},
                                    {"@MODEL@", o.model},
                                    {"@FILE@", file}}) {
    for (size_t at = text.find(mark); at != text.npos; at = text.find(mark, at + value.size()))
      text.replace(at, mark.size(), value);
  }
  return text;
}

int run_new(const NewOptions& o) {
  const std::string_view letters = "abcdefghijklmnopqrstuvwxyz0123456789_";
  if (o.name.empty() || o.name.size() > 40 || o.name.find_first_not_of(letters) != o.name.npos ||
      (o.name[0] >= '0' && o.name[0] <= '9') || o.name[0] == '_')
    throw std::invalid_argument(fmt::format(
        "{}: a name is made of a-z, 0-9 and _, begins with a letter and has 40 at most", o.name));
  const fs::path folder = o.folder.empty() ? fs::path(o.name) : fs::path(o.folder);
  const std::string source = o.cpp ? "interface.cpp" : "interface.py";
  const std::string served = o.cpp ? o.name + ".so" : source;
  const std::pair<std::string, std::string> files[] = {
      {source, filled(o.cpp ? kCpp : kPython, o, served)},
      {"gpumcp.toml", filled(kToml, o, served)}};
  for (const auto& [name, text] : files) {
    if (fs::exists(folder / name))
      throw std::runtime_error(
          fmt::format("{} is there already; nothing was written", (folder / name).string()));
  }
  std::error_code error;
  fs::create_directories(folder, error);
  for (const auto& [name, text] : files) {
    std::ofstream file(folder / name, std::ios::binary);
    file << text;
    file.close();
    if (!file) throw std::runtime_error(fmt::format("cannot write {}", (folder / name).string()));
    fmt::print("{}\n", (folder / name).string());
  }
  const std::string path = folder.string();
  if (o.cpp) fmt::print(stderr, "next: gpumcp build {0}/{1} --out {0}/{2}\n", path, source, served);
  fmt::print(
      stderr,
      "{0}gpumcp call {1} --config {2}/gpumcp.toml\n      gpumcp serve --config {2}/gpumcp.toml\n",
      o.cpp ? "      " : "next: ",
      o.cpp ? "get_embedding text='hello world'" : "word_lengths text='hello big world'", path);
  return kOk;
}

}  // namespace

Command new_command() {
  return {
      "new", "write an interface to start from, and the gpumcp.toml that serves it",
      "  gpumcp new my_tools               my_tools/interface.py\n"
      "  gpumcp new my_tools --cpp         my_tools/interface.cpp, for gpumcp build",
      [](CLI::App& app, const std::vector<std::string>&) {
        auto options = std::make_shared<NewOptions>();
        app.add_option("NAME", options->name, "the interface's name")->required();
        app.add_option("--out", options->folder, "the folder; by default its name")
            ->type_name("DIR");
        app.add_option("--model", options->model, "the model that it names")->capture_default_str();
        app.add_flag("--cpp", options->cpp, "in C++ instead of Python");
        return [options] { return run_new(*options); };
      }};
}

}  // namespace gpumcp::cli

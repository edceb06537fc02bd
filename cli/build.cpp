// gpumcp build: compiles a C++ interface against this gpumcp's headers and libraries, as
// gpumcp_add_interface does in CMake, and makes its manifest. What it compiles and links with was
// written down when gpumcp was built (lib/gpumcp/build.json), and is found relative to it.
#include <fmt/format.h>

#include <cstdlib>
#include <fstream>

#include "cli/command.h"
#include "mcp/spawn.h"
#include "sandbox/files.h"
#include "sandbox/manifest.h"

namespace gpumcp::cli {
namespace fs = std::filesystem;
namespace {

struct BuildOptions {
  std::vector<std::string> sources, flags;
  std::string out, compiler;
  bool no_torch = false, verbose = false;
};

mcp::Json build_settings() {
  const fs::path file =
      sandbox::program_path().parent_path().parent_path() / "lib/gpumcp/build.json";
  auto json = mcp::parse_json(sandbox::read_file(file));
  if (!json || !json->is_object())
    throw std::runtime_error(
        fmt::format("{} is missing or broken: build and install gpumcp again", file.string()));
  return *json;
}

// "{prefix}" stands for the folder that bin/ and lib/ lie in.
std::vector<std::string> words_of(const mcp::Json& settings, const char* key) {
  const std::string prefix = sandbox::program_path().parent_path().parent_path().string();
  std::vector<std::string> out;
  for (const mcp::Json& one : settings.value(key, mcp::Json::array())) {
    std::string word = one.get<std::string>();
    if (const size_t at = word.find("{prefix}"); at != word.npos) word.replace(at, 8, prefix);
    if (!word.empty()) out.push_back(std::move(word));
  }
  return out;
}

// The program's own words go to the terminal; they are what the author needs to see.
int run_program(const std::vector<std::string>& command) {
  const auto pid = mcp::spawn(command);
  if (!pid) {
    fmt::print(stderr, "gpumcp build: {}\n", pid.error().message);
    return 127;
  }
  return mcp::exit_code(mcp::reap(*pid));
}

int run_build(const BuildOptions& o) {
  const mcp::Json settings = build_settings();
  for (const std::string& source : o.sources) {
    if (!fs::exists(source)) throw std::invalid_argument(fmt::format("there is no {}", source));
  }
  const fs::path first = o.sources.front();
  fs::path out =
      o.out.empty() ? first.parent_path() / (first.stem().string() + ".so") : fs::path(o.out);
  if (fs::is_directory(out)) out /= first.stem().string() + ".so";
  if (out.extension() != ".so") out += ".so";
  const bool torch = !o.no_torch && settings.value("torch", false);
  if (!o.no_torch && !torch)
    fmt::print(stderr, "this gpumcp was built without libtorch: as with --no-torch\n");

  const char* environment = std::getenv("CXX");
  std::vector<std::string> command = {!o.compiler.empty() ? o.compiler
                                      : environment && *environment
                                          ? environment
                                          : settings.value("compiler", "c++")};
  auto add = [&](const std::vector<std::string>& words) {
    command.insert(command.end(), words.begin(), words.end());
  };
  add({"-std=c++20", "-O2", "-fPIC", "-shared", "-fvisibility=hidden", "-pthread"});
  add(words_of(settings, torch ? "includes" : "base_includes"));
  if (!torch) command.push_back("-DGPUMCP_NO_TORCH=1");
  add(o.flags);
  add(o.sources);
  add({"-o", out.string() + ".new"});
  add(words_of(settings, torch ? "libraries" : "base_libraries"));
  if (o.verbose) fmt::print(stderr, "{}\n", fmt::join(command, " "));
  fmt::print(stderr, "compiling {}\n", fmt::join(o.sources, ", "));
  if (const int code = run_program(command); code != 0) {
    fs::remove(out.string() + ".new");
    fmt::print(stderr, "gpumcp build: {} ended with exit code {}\n", command.front(), code);
    return kFailed;
  }
  fs::rename(out.string() + ".new", out);  // a worker may have the old one open
  fs::path manifest = out;
  manifest.replace_extension(".json");
  if (run_program({sandbox::program_path().string(), "manifest", fs::absolute(out).string(),
                   "--out", fs::absolute(manifest).string()}) != 0)
    return kFailed;
  fmt::print("{}\n{}\n", out.string(), manifest.string());
  fmt::print(stderr, "try it: gpumcp tools {0}, gpumcp serve {0}\n",
             out.has_parent_path() ? out.string() : "./" + out.string());
  return kOk;
}

}  // namespace

Command build_command() {
  return {"build", "compile a C++ interface, and make its manifest",
          "  gpumcp build interface.cpp                      interface.so and interface.json "
          "beside it\n"
          "  gpumcp build tools.cpp more.cpp --out tools.so\n"
          "  gpumcp build interface.cpp --no-torch           an interface without models\n"
          "  gpumcp build interface.cpp --flag=-lz --verbose",
          [](CLI::App& app, const std::vector<std::string>&) {
            auto options = std::make_shared<BuildOptions>();
            app.add_option("FILE", options->sources, "C++ sources")->required();
            app.add_option("--out", options->out, "the library to make, or its folder")
                ->type_name("FILE|DIR");
            app.add_option("--compiler", options->compiler,
                           "instead of $CXX, or what gpumcp was built with");
            app.add_option("--flag", options->flags, "one more for the compiler; repeatable");
            app.add_flag("--no-torch", options->no_torch, "without models and libtorch");
            app.add_flag("--verbose", options->verbose, "print the compiler's command line");
            return [options] { return run_build(*options); };
          }};
}

}  // namespace gpumcp::cli

// gpumcp manifest: an interface's tools as JSON, for fronts and builds.
#include "sandbox/manifest.h"

#include <fmt/format.h>

#include <fstream>

#include "cli/command.h"

namespace gpumcp::cli {

Command manifest_command() {
  return {"manifest", "print an interface's tools as JSON; opens the library, loads no model",
          "  gpumcp manifest embeddings\n"
          "  gpumcp manifest ./my_tools.so --out my_tools.json",
          [](CLI::App& app, const std::vector<std::string>&) {
            auto interface = std::make_shared<std::string>();
            auto out = std::make_shared<std::string>();
            app.add_option("INTERFACE", *interface, "a built-in name or an .so file")->required();
            app.add_option("--out", *out, "write there instead of stdout")->type_name("FILE");
            return [interface, out]() -> int {
              auto library = sandbox::find_interface(*interface);
              if (!library) throw std::invalid_argument(library.error().message);
              auto manifest = sandbox::make_manifest(*library);
              if (!manifest) throw std::runtime_error(manifest.error().message);
              const std::string text = manifest->to_json().dump(2) + "\n";
              if (out->empty()) {
                fmt::print("{}", text);
                return kOk;
              }
              std::ofstream file(*out, std::ios::trunc);
              file << text;
              file.close();
              if (!file) throw std::runtime_error(fmt::format("cannot write {}", *out));
              return kOk;
            };
          }};
}

}  // namespace gpumcp::cli

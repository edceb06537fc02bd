// Runs the official JSON-Schema-Test-Suite: all required files of draft2020-12, and the optional
// ones that are not in kLeftOut. Usage: json_schema_suite [FOLDER], which holds tests/ and
// remotes/; default: where `scripts/fetch json-schema-suite` puts it.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <set>
#include <string>

#include "mcp/json_schema.h"

namespace fs = std::filesystem;
using namespace gpumcp::mcp;

namespace {

// Optional files, each with the reason why it is not run.
const std::map<std::string, std::string> kLeftOut{
    {"cross-draft.json", "refers to a schema of 2019-09: only 2020-12 is spoken"},
    {"format/duration.json", "the format is never asserted"},
    {"format/hostname.json", "the format is never asserted (it wants IDNA tables)"},
    {"format/idn-email.json", "the format is never asserted"},
    {"format/idn-hostname.json", "the format is never asserted (it wants IDNA tables)"},
    {"format/iri.json", "the format is never asserted"},
    {"format/iri-reference.json", "the format is never asserted"},
    {"format/relative-json-pointer.json", "the format is never asserted"},
    {"format/uri-template.json", "the format is never asserted"},
};

Json read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string text(std::istreambuf_iterator<char>(file), {});
  auto value = parse_json(text);
  if (!file || !value) {
    std::cerr << path << ": " << (file ? value.error().message : "cannot be read") << "\n";
    std::exit(1);
  }
  return std::move(*value);
}

// What the suite's remotes are called: http://localhost:1234/ and the path below remotes/.
std::map<std::string, Json> read_remotes(const fs::path& folder) {
  std::map<std::string, Json> out;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.path().extension() == ".json")
      out["http://localhost:1234/" + fs::relative(entry.path(), folder).generic_string()] =
          read(entry.path());
  }
  return out;
}

struct Count {
  size_t held = 0, failed = 0;
};

void run_file(const fs::path& path, const std::string& name, JsonSchemaOptions options,
              const JsonSchema& meta, Count& count) {
  options.assert_formats = name.starts_with("format/");
  for (const Json& group : read(path)) {
    auto told = [&](const std::string& what) {
      ++count.failed;
      std::cerr << name << ": " << group.at("description") << ": " << what << "\n";
    };
    const auto schema = JsonSchema::compile(group.at("schema"), options);
    if (!schema) {
      told("does not compile: " + schema.error().message);
      continue;
    }
    if (auto sound = meta.validate(group.at("schema"), "schema"); !sound)
      told("the meta-schema refuses it: " + sound.error().message);
    for (const Json& test : group.at("tests")) {
      const Json& data = test.at("data");
      const auto issues = schema->issues(data);
      if (issues.empty() == test.at("valid") && schema->accepts(data) == issues.empty())
        ++count.held;
      else
        told(to_text(test.at("description")) + " should be " +
             (test.at("valid") ? "valid, but: " + issues[0].message : "refused"));
      for (const SchemaIssue& issue : issues) {
        if (issue.message.find('\n') != std::string::npos || issue.message.size() < 5)
          told("no one-line message: " + issue.message);
      }
    }
  }
}

fs::path default_folder() {
  const char* cache = std::getenv("GPUMCP_CACHE");
  const char* home = std::getenv("HOME");
  const fs::path base = cache ? fs::path(cache) : fs::path(home ? home : "/tmp") / ".cache/gpumcp";
  return base / "json-schema-suite-" GPUMCP_SCHEMA_SUITE;
}

}  // namespace

int main(int argc, char** argv) {
  const fs::path folder = argc > 1 ? fs::path(argv[1]) : default_folder();
  const fs::path tests = folder / "tests/draft2020-12";
  if (!fs::is_directory(tests)) {
    std::cerr << "the JSON-Schema-Test-Suite is not in " << folder.string()
              << ": run scripts/fetch json-schema-suite\n";
    return 1;
  }
  const JsonSchemaOptions options{.documents = read_remotes(folder / "remotes")};
  const auto meta =
      JsonSchema::compile({{"$ref", std::string(kJsonSchemaDialect)}}, {.assert_formats = false});
  if (!meta) {
    std::cerr << meta.error().message << "\n";
    return 1;
  }
  Count required, optional;
  std::set<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(tests)) files.insert(entry.path());
  size_t left_out = 0;
  for (const fs::path& file : files) {
    if (file.extension() != ".json") continue;
    const std::string name = fs::relative(file, tests).generic_string();
    constexpr std::string_view kOptional = "optional/";
    if (!name.starts_with(kOptional)) {
      run_file(file, name, options, *meta, required);
    } else if (kLeftOut.contains(name.substr(kOptional.size()))) {
      ++left_out;
    } else {
      run_file(file, name.substr(kOptional.size()), options, *meta, optional);
    }
  }
  std::cout << "required: " << required.held << " held, " << required.failed
            << " failed; optional: " << optional.held << " held, " << optional.failed << " failed, "
            << left_out << " files left out\n";
  // Fewer tests than the suite is known to have would mean that a folder was not found.
  return required.failed || optional.failed || required.held < 1000 || left_out != kLeftOut.size();
}

#include "gpu_runtime/model_store.h"

#include <doctest/doctest.h>

#include <chrono>
#include <filesystem>
#include <map>
#include <string>

#include "tests/gpu_runtime/support.h"

using namespace gpumcp::gpu_runtime;
namespace fs = std::filesystem;

namespace {

// A store whose every place lies in one temporary folder.
struct Places {
  TemporaryFolder root;
  ModelStoreOptions options{.overrides = {},
                            .models = root / "models",
                            .cache = root / "cache",
                            .hugging_face = root / "hf"};

  void put(const std::string& folder) const { root.write(folder + "/config.json", "{}"); }
  fs::path found(const std::string& name) const { return ModelStore(options).find(name).folder; }
};

}  // namespace

TEST_CASE("the places are searched in the documented order") {
  Places places;
  const std::string snapshot = "hf/hub/models--org--name/snapshots/abc";
  places.put(snapshot);
  CHECK(places.found("org/name") == places.root / snapshot);
  places.put("cache/models/org--name");
  CHECK(places.found("org/name") == places.root / "cache/models/org--name");
  places.put("models/org/name");
  CHECK(places.found("org/name") == places.root / "models/org/name");
  places.put("elsewhere");
  places.options.overrides["org/name"] = places.root / "elsewhere";
  CHECK(places.found("org/name") == places.root / "elsewhere");
}

TEST_CASE(
    "a half downloaded folder gives way to a whole one further on, and is named when there is "
    "none") {
  Places places;
  fs::create_directories(places.root / "cache/models/org--name");
  const ModelPath broken = ModelStore(places.options).find("org/name");
  CHECK(broken.found());
  const std::string message = message_of(ErrorCode::not_found, [&] { broken.require(); });
  CHECK(contains(message, "half downloaded: config.json is missing"));
  CHECK(contains(message, "gpumcp pull org/name"));
  places.put("hf/hub/models--org--name/snapshots/abc");
  CHECK(places.found("org/name") == places.root / "hf/hub/models--org--name/snapshots/abc");
}

TEST_CASE("of several snapshots refs/main's is taken, else the newest") {
  Places places;
  const std::string repository = "hf/hub/models--org--name/";
  places.put(repository + "snapshots/aaa");
  places.put(repository + "snapshots/bbb");
  places.put(repository + "snapshots/ccc");
  const auto now = fs::file_time_type::clock::now();
  fs::last_write_time(places.root / (repository + "snapshots/aaa"), now - std::chrono::hours(2));
  fs::last_write_time(places.root / (repository + "snapshots/bbb"), now);
  fs::last_write_time(places.root / (repository + "snapshots/ccc"), now - std::chrono::hours(1));
  CHECK(places.found("org/name").filename() == "bbb");
  places.root.write(repository + "refs/main", "ccc\n");
  CHECK(places.found("org/name").filename() == "ccc");
  places.root.write(repository + "refs/main", "../../../../elsewhere");
  places.put("elsewhere");
  CHECK(places.found("org/name").filename() == "bbb");
}

TEST_CASE("a model that is nowhere: every place and the pull line") {
  Places places;
  const ModelPath model = ModelStore(places.options).find("org/name");
  CHECK_FALSE(model.found());
  const std::string message = message_of(ErrorCode::not_found, [&] { model.require(); });
  CHECK(contains(message, (places.root / "models/org/name").string()));
  CHECK(contains(message, (places.root / "cache/models/org--name").string()));
  CHECK(contains(message, (places.root / "hf/hub/models--org--name").string()));
  CHECK(contains(message, "gpumcp pull org/name"));
}

TEST_CASE("a name can never lead out of the store") {
  const Places places;
  for (const std::string& name :
       {std::string(),        std::string(".."),    std::string("../x"),    std::string("a/../b"),
        std::string("/etc"),  std::string("a/b/c"), std::string("a/"),      std::string("/a"),
        std::string("a\\b"),  std::string("a b"),   std::string("-rf"),     std::string(".hidden"),
        std::string("a..b"),  std::string("a--b"),  std::string("a\0b", 3), std::string("ä"),
        std::string(97, 'x'), std::string("~/x"),   std::string("$HOME"),   std::string("a/.")}) {
    CAPTURE(name);
    message_of(ErrorCode::invalid_argument, [&] { ModelStore(places.options).find(name); });
    message_of(ErrorCode::invalid_argument, [&] { ModelStore(places.options).pull_folder(name); });
  }
  for (const char* name :
       {"gpt2", "google/gemma-2-9b", "sentence-transformers/all-MiniLM-L6-v2", "a.b/c_d-e"}) {
    CHECK_NOTHROW(check_model_name(name));
  }
}

TEST_CASE("the environment decides the places, and empty variables count as unset") {
  const auto from = [](std::map<std::string, std::string> variables) {
    return ModelStoreOptions::from_environment(
        [=](const std::string& name) -> std::optional<std::string> {
          const auto found = variables.find(name);
          return found == variables.end() ? std::nullopt : std::optional(found->second);
        });
  };
  const auto plain = from({{"HOME", "/home/me"}, {"GPUMCP_CACHE", ""}, {"GPUMCP_MODELS", ""}});
  CHECK(plain.models.empty());
  CHECK(plain.cache == "/home/me/.cache/gpumcp");
  CHECK(plain.hugging_face == "/home/me/.cache/huggingface");
  const auto set =
      from({{"HOME", "/h"}, {"GPUMCP_CACHE", "/c"}, {"GPUMCP_MODELS", "/m"}, {"HF_HOME", "/f"}});
  CHECK(set.models == "/m");
  CHECK(set.cache == "/c");
  CHECK(set.hugging_face == "/f");
}

TEST_CASE("a path is taken as a folder, without looking at the store") {
  const TemporaryFolder folder;
  CHECK(ModelPath(folder.path()).folder == folder.path());
  CHECK_FALSE(ModelPath((folder / "none").string()).found());
  message_of(ErrorCode::not_found, [&] { ModelPath(folder / "none").require(); });
  CHECK(contains(message_of(ErrorCode::not_found, [&] { ModelPath(folder.path()).require(); }),
                 "config.json is missing"));
  folder.write("config.json", "{}");
  CHECK(ModelPath(folder.path()).require() == folder.path());
  message_of(ErrorCode::invalid_argument, [] { ModelPath("no such name!"); });
  message_of(ErrorCode::invalid_argument, [] { ModelPath(static_cast<const char*>(nullptr)); });
}

TEST_CASE("list() gives each model once, by name") {
  Places places;
  places.put("hf/hub/models--org--name/snapshots/abc");
  places.put("cache/models/org--name");
  places.put("cache/models/gpt2");
  places.put("models/other/one");
  places.put("elsewhere");
  places.root.write("cache/models/file.txt", "");
  fs::create_directories(places.root / "hf/hub/datasets--org--data/snapshots/abc");
  places.options.overrides["mine"] = places.root / "elsewhere";
  std::string names;
  for (const ModelPath& model : ModelStore(places.options).list()) names += model.name + " ";
  CHECK(names == "gpt2 mine org/name other/one ");
}

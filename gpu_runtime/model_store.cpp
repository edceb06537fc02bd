#include "gpu_runtime/model_store.h"

#include <fmt/format.h>
#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <set>
#include <system_error>
#include <utility>

#include "gpu_runtime/error.h"
#include "gpu_runtime/json.h"

namespace gpumcp::gpu_runtime {
namespace {

namespace fs = std::filesystem;

bool is_folder(const fs::path& path) {
  std::error_code ignored;
  return !path.empty() && fs::is_directory(path, ignored);
}

// A module that was saved or compiled into one file (model_loader.h).
bool is_module_file(const fs::path& path) {
  std::error_code ignored;
  const std::string extension = path.extension().string();
  return (extension == ".pt2" || extension == ".pt" || extension == ".pth" || extension == ".ts") &&
         fs::is_regular_file(path, ignored);
}

bool has_config(const fs::path& folder) {
  std::error_code ignored;
  return fs::exists(folder / "config.json", ignored);
}

bool is_model_name(std::string_view name) {
  try {
    check_model_name(name);
    return true;
  } catch (const Error&) {
    return false;
  }
}

// "org/name" -> "org--name", the way both stores name folders.
std::string folder_name(std::string_view name) {
  std::string folder(name);
  if (const auto slash = folder.find('/'); slash != folder.npos) folder.replace(slash, 1, "--");
  return folder;
}

std::string name_of_folder(std::string folder) {
  if (const auto dashes = folder.find("--"); dashes != folder.npos) folder.replace(dashes, 2, "/");
  return folder;
}

// The folders in a folder, in a fixed order; none when it cannot be read.
std::vector<fs::path> folders_in(const fs::path& parent) {
  std::vector<fs::path> folders;
  std::error_code problem;
  for (fs::directory_iterator it(parent, problem), end; !problem && it != end;
       it.increment(problem)) {
    if (is_folder(it->path())) folders.push_back(it->path());
  }
  std::ranges::sort(folders);
  return folders;
}

// refs/main's snapshot, else the newest.
fs::path pick_snapshot(const fs::path& repository) {
  std::error_code ignored;
  const fs::path ref = repository / "refs" / "main";
  if (fs::is_regular_file(ref, ignored)) {
    std::string commit;
    try {
      commit = read_text_file(ref, 4096);
    } catch (const Error&) {  // unreadable: as if it were not there
    }
    while (!commit.empty() && (commit.back() == '\n' || commit.back() == ' ')) commit.pop_back();
    const bool plain = !commit.empty() && commit.size() <= 64 &&
                       commit.find_first_not_of("0123456789abcdef") == commit.npos;
    if (plain && is_folder(repository / "snapshots" / commit))
      return repository / "snapshots" / commit;
  }
  fs::path newest;
  fs::file_time_type newest_time{};
  for (const fs::path& snapshot : folders_in(repository / "snapshots")) {
    const fs::file_time_type time = fs::last_write_time(snapshot, ignored);
    if (newest.empty() || time > newest_time) {
      newest = snapshot;
      newest_time = time;
    }
  }
  return newest;
}

bool is_written_as_path(const std::string& text) {
  return text == "." || text == ".." || text.starts_with('/') || text.starts_with("./") ||
         text.starts_with("../");
}

}  // namespace

void check_model_name(std::string_view name) {
  const auto refuse = [&](std::string_view why) {
    throw Error(
        ErrorCode::invalid_argument,
        fmt::format("{} is no model name: {}. A name is NAME or ORG/NAME, as on Hugging Face; a "
                    "folder is written with its path (./NAME or /…/NAME).",
                    describe_json(Json(std::string(name))), why));
  };
  if (name.empty()) refuse("it is empty");
  const auto slash = name.find('/');
  const std::string_view organisation =
      slash == name.npos ? std::string_view("x") : name.substr(0, slash);
  const std::string_view last = slash == name.npos ? name : name.substr(slash + 1);
  for (const std::string_view part : {organisation, last}) {
    if (part.empty()) refuse("a part of it is empty");
    if (part.size() > 96) refuse("a part of it is longer than 96 characters");
    const bool plain = std::ranges::all_of(part, [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
             c == '.' || c == '_' || c == '-';
    });
    if (!plain) refuse("it may hold letters, digits, '.', '_', '-' and one '/'");
    if (std::string_view(".-").find(part.front()) != std::string_view::npos ||
        std::string_view(".-").find(part.back()) != std::string_view::npos) {
      refuse("a part of it begins or ends with '.' or '-'");
    }
    if (part.find("..") != part.npos || part.find("--") != part.npos)
      refuse("it holds '..' or '--'");
  }
}

ModelPath::ModelPath(const fs::path& folder_or_name) : ModelPath(folder_or_name.string()) {}

ModelPath::ModelPath(const char* folder_or_name)
    : ModelPath(std::string(folder_or_name == nullptr ? "" : folder_or_name)) {}

ModelPath::ModelPath(const std::string& folder_or_name) {
  if (is_written_as_path(folder_or_name) || is_module_file(folder_or_name) ||
      (is_folder(folder_or_name) && has_config(folder_or_name))) {
    name = folder_or_name;
    searched = {folder_or_name};
    if (is_folder(folder_or_name) || is_module_file(folder_or_name)) folder = folder_or_name;
    return;
  }
  *this = ModelStore().find(folder_or_name);
}

const fs::path& ModelPath::require() const {
  if (!found()) {
    const std::string remedy = is_model_name(name)
                                   ? fmt::format(
                                         "Get it with: gpumcp pull {} (or hf download {}), or say "
                                         "where it lies: --model {}=FOLDER",
                                         name, name, name)
                                   : "Check the path.";
    throw Error(ErrorCode::not_found,
                fmt::format("the model {} is not on this machine. Looked at: {}. {}", name,
                            fmt::join(searched, ", "), remedy));
  }
  if (!is_module_file(folder) && !has_config(folder)) {
    throw Error(ErrorCode::not_found,
                fmt::format("the model {} is half downloaded: config.json is missing in {}. {}",
                            name, folder.string(),
                            is_model_name(name)
                                ? fmt::format("Get it again with: gpumcp pull {} (or hf download "
                                              "{}), or check the folder of --model {}=FOLDER",
                                              name, name, name)
                                : "Is it a model folder?"));
  }
  return folder;
}

ModelStoreOptions ModelStoreOptions::from_environment(const GetEnv& get_env) {
  // An empty variable counts as unset, as in the shell's ${X:-…}.
  const auto value = [&](const std::string& name) {
    const auto text = get_env(name);
    return text && !text->empty() ? fs::path(*text) : fs::path();
  };
  ModelStoreOptions options;
  fs::path home = value("HOME");
  if (home.empty()) {
    const passwd* user = getpwuid(getuid());
    home = user != nullptr && user->pw_dir != nullptr ? fs::path(user->pw_dir) : fs::path("/");
  }
  options.models = value("GPUMCP_MODELS");
  options.cache = value("GPUMCP_CACHE");
  if (options.cache.empty()) options.cache = home / ".cache" / "gpumcp";
  options.hugging_face = value("HF_HOME");
  if (options.hugging_face.empty()) options.hugging_face = home / ".cache" / "huggingface";
  return options;
}

ModelStoreOptions ModelStoreOptions::from_process() {
  return from_environment([](const std::string& name) -> std::optional<std::string> {
    const char* value = std::getenv(name.c_str());
    return value == nullptr ? std::nullopt : std::optional<std::string>(value);
  });
}

ModelStore::ModelStore(ModelStoreOptions options) : options_(std::move(options)) {}

ModelStore::ModelStore(std::map<std::string, fs::path> overrides)
    : options_(ModelStoreOptions::from_process()) {
  options_.overrides = std::move(overrides);
}

ModelPath ModelStore::find(std::string_view name) const {
  ModelPath result;
  result.name = name;
  // An override is the caller's word: it is taken even when broken, and its name may be anything.
  if (const auto override = options_.overrides.find(result.name);
      override != options_.overrides.end()) {
    result.searched.push_back(override->second.string());
    if (is_folder(override->second)) result.folder = override->second;
    return result;
  }
  check_model_name(name);

  // The first whole folder wins; failing that, the first that is there at all.
  const auto look = [&](const fs::path& place, const fs::path& candidate) {
    result.searched.push_back(place.string());
    if (!is_folder(candidate)) return false;
    if (result.folder.empty() || has_config(candidate)) result.folder = candidate;
    return has_config(candidate);
  };
  if (!options_.models.empty()) {
    const fs::path folder = options_.models / result.name;
    if (look(folder, folder)) return result;
  }
  if (const fs::path folder = pull_folder(name); look(folder, folder)) return result;
  const fs::path repository = options_.hugging_face / "hub" / ("models--" + folder_name(name));
  look(repository, pick_snapshot(repository));
  return result;
}

fs::path ModelStore::pull_folder(std::string_view name) const {
  check_model_name(name);
  return options_.cache / "models" / folder_name(name);
}

std::vector<ModelPath> ModelStore::list() const {
  std::set<std::string> names;
  for (const auto& [name, folder] : options_.overrides) names.insert(name);
  if (!options_.models.empty()) {
    for (const fs::path& folder : folders_in(options_.models)) {
      const std::string name = folder.filename().string();
      if (has_config(folder)) {
        names.insert(name);
        continue;
      }
      for (const fs::path& inner : folders_in(folder)) {
        if (has_config(inner)) names.insert(name + "/" + inner.filename().string());
      }
    }
  }
  for (const fs::path& folder : folders_in(options_.cache / "models")) {
    names.insert(name_of_folder(folder.filename().string()));
  }
  for (const fs::path& folder : folders_in(options_.hugging_face / "hub")) {
    const std::string name = folder.filename().string();
    if (name.starts_with("models--")) names.insert(name_of_folder(name.substr(8)));
  }
  std::vector<ModelPath> models;
  for (const std::string& name : names) {
    if (!options_.overrides.contains(name) && !is_model_name(name)) continue;
    ModelPath model = find(name);
    if (model.found()) models.push_back(std::move(model));
  }
  return models;
}

}  // namespace gpumcp::gpu_runtime

#include "sandbox/carried.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <stdexcept>

#include "sandbox/files.h"

namespace gpumcp::sandbox {
namespace fs = std::filesystem;
using mcp::Json;
namespace {

// A path that stays below the folder that it is put into.
fs::path safe_relative(const std::string& text) {
  const fs::path path = fs::path(text).lexically_normal();
  if (path.empty() || path.is_absolute() || *path.begin() == "..")
    throw std::invalid_argument(fmt::format("a carried file is named \"{}\"", text));
  return path;
}

void write_file(const fs::path& path, const std::string& bytes) {
  fs::create_directories(path.parent_path());
  const fs::path fresh = fmt::format("{}.{}", path.string(), getpid());
  {
    std::ofstream file(fresh, std::ios::binary | std::ios::trunc);
    file << bytes;
    file.close();
    if (!file) throw std::runtime_error(fmt::format("cannot write {}", path.string()));
  }
  fs::rename(fresh, path);
}

// The interface's path here: where it was, if all its files are there, else in the cache.
fs::path place(const Json& interface) {
  const fs::path folder = interface.at("folder").get<std::string>();
  const Json& files = interface.at("files");
  bool same = true;
  uint64_t hash = hash_bytes(folder.string());
  for (auto& [name, data] : files.items()) {
    const auto bytes = mcp::base64_decode(data.get<std::string>());
    if (!bytes) throw std::invalid_argument("a carried file is no base64");
    hash = hash_bytes(*bytes, hash_bytes(name, hash));
    same = same && read_file(folder / safe_relative(name)) == *bytes;
  }
  const fs::path main = safe_relative(interface.at("main").get<std::string>());
  if (same) return folder / main;
  const fs::path to = cache_folder() / "carried" / fmt::format("{:016x}", hash);
  for (auto& [name, data] : files.items())
    write_file(to / safe_relative(name), *mcp::base64_decode(data.get<std::string>()));
  return fs::canonical(to / main);
}

// An author's library: where it was, if it is the same there, else in the cache, with its manifest.
fs::path place_library(const Json& one, const fs::path& library) {
  const auto bytes = mcp::base64_decode(one.at("bytes").get<std::string>());
  if (!bytes) throw std::invalid_argument("a carried library is no base64");
  if (read_file(library) == *bytes) return library;
  const fs::path name = safe_relative(library.filename().string());
  const fs::path to =
      cache_folder() / "carried" / fmt::format("{:016x}", hash_bytes(*bytes)) / name;
  write_file(to, *bytes);
  write_file(fs::path(to).replace_extension(".json"), mcp::to_text(one.at("manifest")));
  return fs::canonical(to);
}

}  // namespace

std::string pack_config(const SandboxConfig& config, const std::vector<Manifest>& manifests,
                        Json callback) {
  Json interfaces = Json::array(), secrets = Json::object();
  for (const Manifest& manifest : manifests) {
    if (manifest.dependencies.empty()) {
      Json one = {{"library", manifest.library.string()},
                  {"name", manifest.library.stem().string()}};
      // The same build has its own of those that come with gpumcp; an author's goes along.
      if (!is_built_in(manifest.library)) {
        one["bytes"] = mcp::base64_encode(read_file(manifest.library));
        one["manifest"] = manifest.to_json();
      }
      interfaces.push_back(std::move(one));
      continue;
    }
    const fs::path folder = manifest.library.parent_path();
    Json files = Json::object();
    for (auto& path : manifest.dependencies)
      files[path.lexically_relative(folder).string()] = mcp::base64_encode(read_file(path));
    interfaces.push_back({{"folder", folder.string()},
                          {"main", manifest.library.filename().string()},
                          {"files", std::move(files)}});
  }
  for (auto& name : config.secrets) {
    if (const char* value = std::getenv(name.c_str())) secrets[name] = value;
  }
  Json json = config.to_json();
  json["key"] = config.key();
  json["provider"] = "local";
  Json all = {{"config", std::move(json)},
              {"interfaces", std::move(interfaces)},
              {"secrets", std::move(secrets)}};
  if (!callback.is_null()) all["callback"] = std::move(callback);
  return mcp::to_text(all);
}

SandboxConfig unpack_config(std::string_view line) try {
  auto json = mcp::parse_json(line);
  if (!json)
    throw std::invalid_argument(
        fmt::format("its configuration is no JSON: {}", json.error().message));
  for (auto& [name, value] : json->at("secrets").items())
    setenv(name.c_str(), value.get<std::string>().c_str(), 1);
  SandboxConfig config = SandboxConfig::from_json(json->at("config"));
  config.interfaces.clear();
  config.dependencies.clear();
  for (const Json& one : json->at("interfaces")) {
    if (one.contains("files")) {
      config.interfaces.push_back(place(one));
      continue;
    }
    std::error_code ignored;
    const fs::path library = one.at("library").get<std::string>();
    if (one.contains("bytes")) {
      config.interfaces.push_back(place_library(one, library));
    } else if (fs::is_regular_file(library, ignored)) {
      config.interfaces.push_back(library);
    } else {
      auto found = find_interface(one.at("name").get<std::string>());
      if (!found)
        throw std::runtime_error(
            fmt::format("{} is not on this machine: {}", library.string(), found.error().message));
      config.interfaces.push_back(*found);
    }
  }
  return config;
} catch (const Json::exception& e) {
  throw std::invalid_argument(fmt::format("its configuration is broken: {}", e.what()));
}

}  // namespace gpumcp::sandbox

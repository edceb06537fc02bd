// Hub: a Hugging Face hub over its HTTP API, for gpumcp pull: which files a model has, and one file
// after another, resumed where it broke off. What it says is foreign: names and sizes are checked,
// contents by their hashes. Owned by one thread; the interrupt ends a download.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "cli/interrupt.h"

namespace gpumcp::cli {

struct HubFile {
  std::string path;  // in the repository; at most one folder deep, never leads out of it
  uint64_t size = 0;
  std::string sha256;     // of a file in large file storage
  std::string blob_sha1;  // git's id of another one: sha1("blob SIZE\0" + contents)
};

struct HubModel {
  std::string revision;  // the commit
  std::vector<HubFile> files;
};

struct HubOptions {
  std::string endpoint = "https://huggingface.co";
  std::string token;  // empty: none
  // $HF_ENDPOINT, $HF_TOKEN, $HF_HOME/token.
  static HubOptions from_environment();
};

class Hub {
 public:
  // Throws std::invalid_argument for an endpoint that is no http(s) URL.
  Hub(HubOptions options, const Interrupt& interrupt);

  // Throws ShellExit: the hub cannot be reached, knows no such model, or wants a token.
  HubModel model(const std::string& name, const std::string& revision);
  // Brings a file to `to`, by way of `to`.part, which the next try goes on with. `progress` gets
  // the file's bytes that are there. Throws ShellExit; what arrived stays for the next time, unless
  // its hash is wrong.
  void download(const std::string& name, const std::string& revision, const HubFile& file,
                const std::filesystem::path& to, const std::function<void(uint64_t)>& progress);

  const HubOptions& options() const { return options_; }

 private:
  struct Attempt;
  Attempt fetch_once(std::string url, const HubFile& file, const std::filesystem::path& part,
                     const std::function<void(uint64_t)>& progress);
  void wait(double seconds) const;

  const HubOptions options_;
  const Interrupt& interrupt_;
};

// Of a model's files those that gpumcp reads: safetensors, JSON, vocab.txt, merges.txt, at the root
// or in a module's folder (1_Pooling/). Empty weights: there are no safetensors.
std::vector<HubFile> wanted_files(const std::vector<HubFile>& all);

}  // namespace gpumcp::cli

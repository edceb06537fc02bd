#pragma once

// LoRA adapters: small products that are added to a base model's linear layers, as PEFT writes them
// into a folder (adapter_config.json, adapter_model.safetensors). One base serves several at once:
// each row of a batch names its own in its RowTaps (taps.h), and what one row asks for changes no
// bit of another's.
//
//   row.taps = std::make_shared<RowTaps>(RowTaps{.adapter = LoraAdapter::open(folder, "tone")});
//
// A LoraAdapter is the folder, read and checked, in host memory; immutable, shared between threads.
// A PlacedAdapter is the same where a base model is, fitted to its layers; made by the model's
// owner thread, which keeps it while the model is loaded.
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "gpu_runtime/export.h"

namespace gpumcp::gpu_runtime {

// What is added to the output of one of the base's modules: up * (down * input).
struct LoraModule {
  std::string path;     // "model.layers.3.self_attn.q_proj", as the base's class calls it
  at::Tensor down, up;  // float32 [r, in], [out, r]; up has the adapter's scale in it
};

class GPUMCP_RUNTIME_API LoraAdapter {
 public:
  // Error(not_found) for a folder that is none, Error(unsupported) for what is no plain LoRA of
  // linear layers (other methods, DoRA, modules_to_save, embeddings, biases: named), and
  // Error(corrupt_checkpoint) for files that are broken or contradict one another.
  static std::shared_ptr<const LoraAdapter> open(const std::filesystem::path& folder,
                                                 std::string name = "");
  // The base model that adapter_config.json names; "" where it names none.
  static std::string read_base(const std::filesystem::path& folder);

  const std::string& name() const { return name_; }
  const std::filesystem::path& folder() const { return folder_; }
  const std::vector<LoraModule>& modules() const { return modules_; }
  std::uint64_t nbytes() const { return nbytes_; }

 private:
  LoraAdapter() = default;
  std::string name_;
  std::filesystem::path folder_;
  std::vector<LoraModule> modules_;
  std::uint64_t nbytes_ = 0;
};

// The linear layers of a decoder's block that adapters may change; several modules share a product.
enum class LinearSite : std::uint8_t { query_key_value, attention_output, up, down };
inline constexpr std::size_t kLinearSites = 4;

// What an architecture calls them: a module's path ends with `layers`, the layer's number, a dot
// and one of the suffixes; its output is columns [begin, begin + out) of the site's.
struct AdapterTarget {
  std::string_view suffix;
  LinearSite site = LinearSite::down;
  std::int64_t in = 0, begin = 0, out = 0;
};
struct AdapterFacts {
  std::string_view layers = "layers.";
  std::vector<AdapterTarget> targets;  // empty: the architecture takes no adapters
};

class PlacedAdapter {
 public:
  // Error(invalid_argument) for a module that the base does not have or that has another shape.
  PlacedAdapter(std::shared_ptr<const LoraAdapter> adapter, const AdapterFacts& facts,
                std::int64_t num_layers, c10::Device device, at::ScalarType dtype);

  // Adds to y, [tokens, …], what the adapter makes of the site's input x, [tokens, in].
  void add(LinearSite site, std::int64_t layer, const at::Tensor& x, const at::Tensor& y) const;
  std::uint64_t nbytes() const { return nbytes_; }

 private:
  struct Part {
    at::Tensor down, up;
    std::int64_t begin = 0, out = 0;
  };
  std::shared_ptr<const LoraAdapter> adapter_;
  std::vector<std::vector<Part>> parts_;  // layer * kLinearSites + site
  std::uint64_t nbytes_ = 0;
};

}  // namespace gpumcp::gpu_runtime

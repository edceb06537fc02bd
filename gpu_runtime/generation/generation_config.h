#pragma once

// How a text is continued, under the names that transformers gives these settings.
// GenerationOptions is what a caller asks for; GenerationConfig is what holds after the model's own
// generation_config.json has filled the gaps. Values. Needs no torch.
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "gpu_runtime/export.h"

namespace gpumcp::gpu_runtime {

struct RowTaps;  // taps.h

// Everything may be left out: then the model's generation_config.json says, else the default below.
struct GenerationOptions {
  std::optional<std::int64_t> max_new_tokens;
  std::optional<bool> do_sample;  // left out: true if temperature was given and is above 0
  std::optional<double> temperature;
  std::optional<std::int64_t> top_k;
  std::optional<double> top_p, min_p, repetition_penalty;
  std::optional<std::uint64_t> seed;  // left out: a new one each time; results name it
  std::vector<std::string> stop;      // ends before the first of these; it is not in the text
  std::optional<std::vector<std::int32_t>> eos_token_id;
  bool skip_special_tokens = true;  // in the text; the ids have them
  // What is read and changed in the layers, of every text of the call.
  std::shared_ptr<const RowTaps> taps = nullptr;
};

struct GPUMCP_RUNTIME_API GenerationConfig {
  std::int64_t max_new_tokens = 256;
  bool do_sample = false;         // false: always the likeliest token
  double temperature = 1;         // 0: as do_sample = false
  std::int64_t top_k = 50;        // samples from the k likeliest only; 0: from all
  double top_p = 1;               // … from the likeliest that make up this much probability
  double min_p = 0;               // … from those at least this fraction as likely as the likeliest
  double repetition_penalty = 1;  // divides the scores of tokens that are there already
  std::vector<std::int32_t> eos_token_id;  // any of these ends the text

  // What the folder says: generation_config.json, for eos_token_id else config.json. A folder that
  // has neither key gets the defaults. Keys of other methods (beams, contrastive search) are not
  // read.
  static GenerationConfig from_pretrained(const std::filesystem::path& folder);

  // With the options in their places. Error(invalid_argument) names the one that is out of range.
  GenerationConfig with(const GenerationOptions& options) const;

  bool greedy() const { return !do_sample || temperature == 0; }
};

// The most that a call may ask for in one stop string (bytes) and in number.
inline constexpr std::size_t kMaxStopString = 1024, kMaxStopStrings = 16;

}  // namespace gpumcp::gpu_runtime

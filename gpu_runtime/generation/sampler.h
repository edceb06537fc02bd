#pragma once

// Chooses the next token of one sequence from the scores of all tokens, as transformers' processors
// do it in their order: repetition penalty, temperature, top_k, top_p, min_p. Each sequence has its
// own, with its own generator, so that its tokens do not depend on what else is in a batch: the
// same seed and scores give the same tokens, on every machine. Owned by one thread. Needs no torch.
#include <cstdint>
#include <span>
#include <vector>

#include "gpu_runtime/export.h"
#include "gpu_runtime/generation/generation_config.h"

namespace gpumcp::gpu_runtime {

class GPUMCP_RUNTIME_API Sampler {
 public:
  // `prompt` counts for the repetition penalty, as in transformers.
  Sampler(const GenerationConfig& config, std::uint64_t seed, std::span<const std::int32_t> prompt);

  // True where only the index of the largest score matters: a device can then find it itself.
  bool only_needs_argmax() const { return greedy_ && penalty_ == 1; }

  // The chosen token, which counts as seen from now on. Changes `scores`. Error(internal) for
  // scores that are no numbers.
  std::int32_t next(std::span<float> scores);

 private:
  std::int32_t sample(std::span<float> scores);
  double uniform();  // in [0, 1)
  void see(std::int32_t token);

  const bool greedy_;
  const double temperature_, top_p_, min_p_, penalty_;
  const std::size_t top_k_;
  std::uint64_t state_;             // of splitmix64
  std::vector<std::int32_t> seen_;  // each once; empty where there is no penalty
  std::vector<bool> is_seen_;
  struct Candidate {
    float score;
    std::int32_t token;
  };
  std::vector<Candidate> candidates_;  // kept for its memory
};

// The first index of the largest score; Error(internal) where one is NaN.
GPUMCP_RUNTIME_API std::int32_t argmax(std::span<const float> scores);

}  // namespace gpumcp::gpu_runtime

#pragma once

// Prompts to texts: what AutoModelForCausalLM::generate() does. It resolves the options against the
// model's generation_config.json, gives each sequence its stream of text, and runs them on the
// model's queue. Free function, callable from any thread.
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "gpu_runtime/export.h"
#include "gpu_runtime/generation/generation_config.h"
#include "gpu_runtime/generation/generation_queue.h"

namespace gpumcp::gpu_runtime {

class ResidentModel;

// One continued text.
struct Generation {
  std::string text;                  // without the prompt, and without the stop string
  std::vector<std::int32_t> tokens;  // without the prompt, with the token that ended it
  FinishReason reason = FinishReason::length;
  std::string stop_string;  // the one that came
  std::int64_t prompt_tokens = 0;
  std::uint64_t seed = 0;  // that it was sampled with; the same one gives the same text again
  double first_token_ms = 0;
  std::vector<at::Tensor> captures;  // of options.taps; the last token is never fed, so never read
};

// A piece of text of the sequence with this index; pieces of one sequence, put together, are its
// text.
struct TextPiece {
  std::size_t sequence = 0;
  std::string_view text;
  std::size_t tokens = 0;  // of the sequence so far
};
using OnText = std::function<void(const TextPiece&)>;

// Sequences of one call sample with seed, seed + 1, ….
GPUMCP_RUNTIME_API std::vector<Generation> generate_texts(
    ResidentModel& model, std::vector<std::vector<std::int32_t>> prompts,
    const GenerationOptions& options, const OnText& on_text = nullptr);

}  // namespace gpumcp::gpu_runtime

#include "gpu_runtime/generation/generate.h"

#include <random>

#include "gpu_runtime/error.h"
#include "gpu_runtime/generation/text_stream.h"
#include "gpu_runtime/resident_model.h"

namespace gpumcp::gpu_runtime {
namespace {

// JSON numbers carry 53 bits exactly, so a seed that we choose has no more: a caller can send it
// back.
std::uint64_t random_seed() {
  std::random_device device;
  const std::uint64_t bits = (std::uint64_t{device()} << 32) | device();
  return bits & ((std::uint64_t{1} << 53) - 1);
}

}  // namespace

std::vector<Generation> generate_texts(ResidentModel& model,
                                       std::vector<std::vector<std::int32_t>> prompts,
                                       const GenerationOptions& options, const OnText& on_text) {
  if (prompts.empty()) throw Error(ErrorCode::invalid_argument, "a model needs at least one text");
  const GenerationConfig config = model.generation_config().with(options);
  const std::uint64_t seed = options.seed ? *options.seed : random_seed();
  // A stream is the owner thread's while its sequence runs, and this thread's after. Shared, since
  // the owner thread may still be at a token when this call has been cancelled.
  std::vector<std::shared_ptr<TextStream>> streams;
  std::vector<GenerationRequest> requests;
  std::vector<Generation> out(prompts.size());
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    auto stream =
        std::make_shared<TextStream>(model.tokenizer(), options.skip_special_tokens, options.stop);
    out[i].prompt_tokens = static_cast<std::int64_t>(prompts[i].size());
    out[i].seed = seed + i;
    requests.push_back({.prompt = std::move(prompts[i]),
                        .config = config,
                        .seed = seed + i,
                        .taps = options.taps,
                        .accept = [stream](std::int32_t token) -> AcceptedToken {
                          std::string text = stream->push(token);
                          return {std::move(text), !stream->stopped()};
                        }});
    streams.push_back(std::move(stream));
  }
  std::vector<std::size_t> counts(out.size());
  auto take = [&](std::size_t sequence, const std::string& text) {
    if (text.empty()) return;
    out[sequence].text += text;
    if (on_text) on_text({sequence, text, counts[sequence]});
  };
  GenerationResult result = model.generate(std::move(requests), [&](const GenerationEvent& event) {
    ++counts[event.sequence];
    take(event.sequence, event.text);
  });
  for (std::size_t i = 0; i < out.size(); ++i) {
    take(i, streams[i]->finish());
    out[i].tokens = std::move(result.sequences[i].tokens);
    out[i].reason = result.sequences[i].reason;
    out[i].captures = std::move(result.sequences[i].captures);
    out[i].stop_string = streams[i]->stop_string();
    out[i].first_token_ms = result.first_token_ms;
  }
  return out;
}

}  // namespace gpumcp::gpu_runtime

// generate and chat: text that goes on from a prompt, or answers messages; streamed as progress.
#include <algorithm>

#include "gpu_runtime/call_scope.h"
#include "gpu_runtime/runtime.h"
#include "interfaces/chat_message.h"
#include "interfaces/language_model/language_model.h"
#include "interfaces/result_size.h"

namespace gpumcp::interfaces {
namespace {

struct GeneratedText {
  std::string text, finish_reason;
  std::optional<std::string> stop_string;
  std::optional<std::vector<std::string>> texts;
  int64_t prompt_tokens, new_tokens;
  std::optional<int64_t> seed;
  std::optional<std::string> full_text;
};
GPUMCP_DESCRIBE_DOC(
    GeneratedText, (text, "What the model wrote, without the prompt and the stop string."),
    (finish_reason,
     "eos: the model ended it; length: max_new_tokens; stop: a stop string came; context: the "
     "model's context is full."),
    (stop_string, "The stop string that came."), (texts, "With n above 1: all texts."),
    (prompt_tokens, "Tokens of the prompt."), (new_tokens, "Tokens that were generated, in all."),
    (seed, "With sampling: the seed that gives the same text again."),
    (full_text,
     "Where the texts here are too long and end with …: the URI of all of them in full. Read it "
     "with resources/read, or give output \"inline\"."))

constexpr int64_t kMaxTexts = 8;
constexpr std::string_view kBetweenTexts = "\n\n----- text ";

struct Sampling {
  int64_t max_new_tokens;
  std::optional<double> temperature;
  std::optional<int64_t> top_k;
  std::optional<double> top_p, min_p, repetition_penalty;
  std::optional<int64_t> seed;
  std::vector<std::string> stop;
  int64_t n;
  std::vector<SteeringInput> steering;
  std::string adapter, output;

  gpu_runtime::GenerationOptions options() const {
    gpu_runtime::GenerationOptions out;
    out.max_new_tokens = max_new_tokens;
    out.temperature = temperature;
    out.top_k = top_k;
    out.top_p = top_p;
    out.min_p = min_p;
    out.repetition_penalty = repetition_penalty;
    if (seed) out.seed = static_cast<uint64_t>(*seed);
    out.stop = stop;
    return out;
  }
};

// A generated module (gpumcp expose) asks so for all of its calls.
bool wants_inline(const Context& context) {
  const auto it = context.call()._meta.find("gpumcp/output");
  return it != context.call()._meta.end() && *it == "inline";
}

// All of the texts as one artifact, which people and agents read as it stands.
std::string keep_texts(const GeneratedText& value) {
  std::string all = value.text;
  if (value.texts) {
    all.clear();
    for (size_t i = 0; i < value.texts->size(); ++i) {
      if (i > 0) all += std::string(kBetweenTexts) + std::to_string(i) + " -----\n\n";
      all += (*value.texts)[i];
    }
  }
  const std::string caller = gpu_runtime::CallScope::current_limits().caller;
  return gpu_runtime::Runtime::current()
      .artifacts()
      .put({.bytes = std::move(all),
            .name = "text",
            .description = "generated text",
            .mime_type = "text/plain",
            .made_by = caller})
      .uri;
}

void cut(std::string& text, size_t max_bytes) {
  std::string shorter = cut_text(text, text.size(), max_bytes);
  if (shorter.size() < text.size()) text = shorter + "…";
}

// What is too long for a result keeps the texts' beginnings, and all of them behind a URI.
mcp::WithContent<GeneratedText> settle(GeneratedText value, const std::string& output) {
  if (output == "inline" || json_size(value) <= kResultBytes) return {std::move(value)};
  const GeneratedText whole = value;
  value.full_text = keep_texts(whole);
  for (size_t limit = kResultBytes; limit > 0; limit = limit * 9 / 10) {
    value.text = whole.text;
    cut(value.text, limit);
    value.texts = whole.texts;
    for (size_t i = 0; value.texts && i < value.texts->size(); ++i) cut((*value.texts)[i], limit);
    if (value.stop_string) *value.stop_string = cut_text(*value.stop_string, 100, 100);
    if (json_size(value) <= kResultBytes) break;
  }
  mcp::ContentBlock link{
      mcp::ResourceLink{.uri = *value.full_text, .name = "text.txt", .mimeType = "text/plain"}};
  return {std::move(value), {std::move(link)}};
}

mcp::WithContent<GeneratedText> run(const LanguageModel& lm,
                                    const gpu_runtime::BatchEncoding& prompt,
                                    const Sampling& sampling, Context& context) {
  gpu_runtime::GenerationOptions options = sampling.options();
  options.taps = lm.taps(sampling.steering, sampling.adapter,
                         static_cast<int64_t>(prompt.rows().at(0).ids.size()));
  const auto n = static_cast<size_t>(sampling.n);
  const gpu_runtime::BatchEncoding inputs(
      std::vector<gpu_runtime::Encoding>(n, prompt.rows().at(0)));
  std::vector<size_t> tokens(n);
  double shown = 0;
  const auto total = static_cast<double>(sampling.max_new_tokens * sampling.n);
  const auto texts = lm.model.generate(inputs, options, [&](const gpu_runtime::TextPiece& piece) {
    tokens[piece.sequence] = piece.tokens;
    double done = 0;
    for (const size_t count : tokens) done += static_cast<double>(count);
    // What is only certain after the last token comes with no new token; the result has it.
    if (done <= shown) return;
    shown = done;
    // Several texts at once would be a muddle; of them only the count is told.
    context.progress(done, total, n == 1 ? piece.text : std::string_view());
  });
  GeneratedText out{.text = texts[0].text,
                    .finish_reason = std::string(to_string(texts[0].reason)),
                    .prompt_tokens = texts[0].prompt_tokens,
                    .new_tokens = 0};
  if (!texts[0].stop_string.empty()) out.stop_string = texts[0].stop_string;
  if (!lm.model.generation_config().with(options).greedy())
    out.seed = static_cast<int64_t>(texts[0].seed);
  if (n > 1) out.texts.emplace();
  for (const auto& one : texts) {
    out.new_tokens += static_cast<int64_t>(one.tokens.size());
    if (out.texts) out.texts->push_back(one.text);
  }
  return settle(std::move(out), wants_inline(context) ? "inline" : sampling.output);
}

// Both tools take the same settings behind their first argument.
template <class F>
void expose_sampling(Interface& interface, const LanguageModel& lm, mcp::Tool tool, F function,
                     mcp::Arg first) {
  interface.expose(
      std::move(tool), std::move(function), std::move(first),
      arg("max_new_tokens", "Stop after so many tokens; about four characters each.", 128)
          .minimum(1)
          .maximum(100'000),
      arg("temperature",
          "0: always the likeliest token; around 1: varied. Left out: as the model's files say.")
          .minimum(0)
          .maximum(100),
      arg("top_k", "Sample from the k likeliest tokens only; 0: from all.").minimum(0),
      arg("top_p", "Sample from the likeliest tokens that make up this probability.")
          .minimum(0)
          .maximum(1),
      arg("min_p", "Sample from tokens at least this fraction as likely as the likeliest.")
          .minimum(0)
          .maximum(1),
      arg("repetition_penalty", "Above 1: say less again; 1: no change.").minimum(0),
      arg("seed", "The same seed gives the same text.").minimum(0).maximum(9007199254740991.0),
      arg("stop", "Stop before any of these strings.", std::vector<std::string>()).max_items(16),
      arg("n", "So many texts, each with a seed of its own.", 1).minimum(1).maximum(kMaxTexts),
      steering_arg(), adapter_arg(lm.adapters),
      arg("output",
          "What becomes of texts too long for 1 KB: \"ref\" gives their beginnings and a URI of "
          "the whole, \"inline\" gives all of them in the result.",
          "ref")
          .one_of({"ref", "inline"}));
}

}  // namespace

void expose_generate(Interface& interface, const LanguageModel& lm) {
  expose_sampling(
      interface, lm,
      {.name = "generate",
       .description =
           "Generate text that goes on from a prompt, with the language model " + lm.name +
           ". The prompt is taken as it stands; for questions and instructions use chat. "
           "Text streams as progress; the result has all of it.",
       .annotations = model_tool("Generate text")},
      [lm](const std::string& prompt, int64_t max_new_tokens, std::optional<double> temperature,
           std::optional<int64_t> top_k, std::optional<double> top_p, std::optional<double> min_p,
           std::optional<double> repetition_penalty, std::optional<int64_t> seed,
           const std::vector<std::string>& stop, int64_t n,
           const std::vector<SteeringInput>& steering, const std::string& adapter,
           const std::string& output, Context& context) {
        return run(lm, lm.encode(prompt, true),
                   {max_new_tokens, temperature, top_k, top_p, min_p, repetition_penalty, seed,
                    stop, n, steering, adapter, output},
                   context);
      },
      arg("prompt", "The text to go on from.").min_length(1));
  expose_sampling(
      interface, lm,
      {.name = "chat",
       .description =
           "Answer a conversation with the language model " + lm.name +
           ", by its own chat template. A last message of the assistant is gone on with. "
           "Text streams as progress; the result has all of it.",
       .annotations = model_tool("Chat")},
      [lm](const std::vector<Message>& messages, int64_t max_new_tokens,
           std::optional<double> temperature, std::optional<int64_t> top_k,
           std::optional<double> top_p, std::optional<double> min_p,
           std::optional<double> repetition_penalty, std::optional<int64_t> seed,
           const std::vector<std::string>& stop, int64_t n,
           const std::vector<SteeringInput>& steering, const std::string& adapter,
           const std::string& output, Context& context) {
        const std::string text = render_chat(lm.tokenizer, messages);
        return run(lm, lm.encode(text, false),
                   {max_new_tokens, temperature, top_k, top_p, min_p, repetition_penalty, seed,
                    stop, n, steering, adapter, output},
                   context);
      },
      arg("messages", "The conversation so far, oldest first.").min_items(1).max_items(1000));
}

}  // namespace gpumcp::interfaces

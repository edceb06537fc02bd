// Generated text against transformers: every architecture on the random models, and the real
// SmolLM2, one text at a time and many together.
#include <doctest/doctest.h>

#include <future>

#include "gpu_runtime/auto_model.h"
#include "gpu_runtime/call_scope.h"
#include "gpu_runtime/tensors.h"
#include "smollm2.h"
#include "tiny_models.h"

using namespace gpumcp::gpu_runtime;

namespace {

using Tokens = std::vector<std::int32_t>;

GenerationRequest request(Tokens prompt, const GenerationConfig& config) {
  return {.prompt = std::move(prompt), .config = config};
}

AutoModelForCausalLM smollm2() {
  return AutoModelForCausalLM::from_pretrained(smollm2_folder(), {}, &cpu_runtime());
}

struct GoldenText {
  Tokens prompt, greedy;
  std::string text;
};

std::vector<GoldenText> golden_generations() {
  std::vector<GoldenText> all;
  for (const Json& line : golden_lines("smollm2/generations.jsonl"))
    all.push_back({line.at("ids").get<Tokens>(), line.at("greedy").get<Tokens>(),
                   line.at("text").get<std::string>()});
  return all;
}

BatchEncoding encoding(std::vector<Tokens> prompts) {
  std::vector<Encoding> rows(prompts.size());
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i].ids = std::move(prompts[i]);
  return BatchEncoding(std::move(rows));
}

}  // namespace

TEST_CASE("every architecture's greedy tokens are transformers'") {
  for (const std::string& name : kTinyDecoders) {
    CAPTURE(name);
    const Json expected = tiny_expected(name);
    const auto wanted = expected.at("greedy").get<Tokens>();
    auto model = cpu_runtime().model(tiny_folder(name));
    GenerationConfig config = model->generation_config();
    config.max_new_tokens = static_cast<std::int64_t>(wanted.size());
    const Tokens prompt = expected.at("short").get<Tokens>();
    const GenerationResult alone = model->generate({request(prompt, config)}, nullptr);
    CHECK(alone.sequences[0].tokens == wanted);
    // With others of other lengths beside it, which began earlier or later.
    const Tokens whole = expected.at("ids").get<Tokens>();
    std::vector<GenerationRequest> many;
    for (std::size_t length : {7, 30, 1, 12}) {
      many.push_back(
          request({whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length)}, config));
      many.push_back(request(prompt, config));
    }
    const GenerationResult together = model->generate(many, nullptr);
    for (std::size_t i = 1; i < many.size(); i += 2) CHECK(together.sequences[i].tokens == wanted);
    CHECK(together.batch_size > 1);
  }
}

TEST_CASE("a prompt in chunks gives what it gives whole") {
  // 40 tokens through windows of 8, in chunks of 64 (whole) and one token at a time.
  for (const std::string& name : kTinyDecoders) {
    CAPTURE(name);
    const TokenRow row = tiny_row(name);
    auto folder = cpu_runtime().options().loader({.folder = tiny_folder(name)});
    c10::InferenceMode inference;
    DecodeModel& model = *folder->decoder();
    auto whole = model.make_cache(64), single = model.make_cache(64);
    const DecodeRow all{row.ids, whole.get(), true};
    const std::vector<float> wanted = to_vector(model.decode({&all, 1}));
    std::vector<float> got;
    for (std::size_t i = 0; i < row.ids.size(); ++i) {
      const DecodeRow one{{&row.ids[i], 1}, single.get(), true};
      got = to_vector(model.decode({&one, 1}));
    }
    CHECK(max_difference(got.data(), wanted.data(), wanted.size()) <= 1e-4f);
  }
}

TEST_CASE("SmolLM2's last hidden states and scores are transformers'") {
  auto model = smollm2();
  const GoldenRows hidden = golden_rows("smollm2/last_hidden.npy"),
                   scores = golden_rows("smollm2/last_logits.npy");
  const auto texts = golden_generations();
  REQUIRE(texts.size() == 20);
  float most_hidden = 0, most_scores = 0;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const CausalLMOutputs out = model({{texts[i].prompt, {}}}, {.output_hidden_states = true});
    const std::vector<float> state = to_vector(out.hidden_states.back().select(1, -1));
    REQUIRE(state.size() == hidden.dims);
    most_hidden = std::max(most_hidden, max_difference(state.data(), hidden[i], hidden.dims));
    const std::vector<float> every = to_vector(out.logits.select(1, -1).slice(1, 0, 49152, 768));
    REQUIRE(every.size() == scores.dims);
    most_scores = std::max(most_scores, max_difference(every.data(), scores[i], scores.dims));
  }
  MESSAGE("hidden states differ by ", most_hidden, ", scores by ", most_scores);
  // The states reach 100 and the scores 30, so this is about float32's last two bits.
  CHECK(most_hidden <= 5e-4f);
  CHECK(most_scores <= 5e-4f);
}

TEST_CASE("SmolLM2's greedy texts are transformers', alone and all together") {
  auto model = smollm2();
  const auto texts = golden_generations();
  std::vector<Tokens> prompts;
  for (const GoldenText& golden : texts) {
    const auto alone = model.generate(encoding({golden.prompt}), {.max_new_tokens = 48});
    CHECK(alone[0].tokens == golden.greedy);
    CHECK(alone[0].text == golden.text);
    CHECK(alone[0].reason ==
          (golden.greedy.back() == 2 ? FinishReason::eos : FinishReason::length));
    prompts.push_back(golden.prompt);
  }
  const auto together = model.generate(encoding(prompts), {.max_new_tokens = 48});
  for (std::size_t i = 0; i < texts.size(); ++i) {
    CHECK(together[i].tokens == texts[i].greedy);
    CHECK(together[i].text == texts[i].text);
  }
}

TEST_CASE("texts of many callers at once are what each gets alone, sampled ones too") {
  auto model = smollm2();
  const auto texts = golden_generations();
  auto options = [](std::size_t i) {
    return GenerationOptions{.max_new_tokens = 24,
                             .temperature = 0.7 + 0.1 * static_cast<double>(i),
                             .top_k = i % 2 == 0 ? 0 : 40,
                             .top_p = 0.95,
                             .seed = 100 + i};
  };
  std::vector<Generation> alone(6);
  for (std::size_t i = 0; i < alone.size(); ++i)
    alone[i] = model.generate(encoding({texts[i].prompt}), options(i))[0];
  std::vector<std::future<Generation>> futures;
  for (std::size_t i = 0; i < alone.size(); ++i) {
    futures.push_back(std::async(std::launch::async, [&, i] {
      return model.generate(encoding({texts[i].prompt}), options(i))[0];
    }));
  }
  for (std::size_t i = 0; i < alone.size(); ++i) {
    const Generation got = futures[i].get();
    CHECK(got.tokens == alone[i].tokens);
    CHECK(got.seed == 100 + i);
  }
  CHECK(alone[0].tokens != alone[1].tokens);
}

TEST_CASE("text streams in whole characters, and its pieces make the text") {
  auto model = smollm2();
  const GoldenText golden = golden_generations()[18];  // has é, 日本語 and an emoji
  std::string streamed;
  std::size_t pieces = 0;
  const auto out = model.generate(encoding({golden.prompt}), {.max_new_tokens = 48},
                                  [&](const TextPiece& piece) {
                                    CHECK(piece.text.find("\xef\xbf\xbd") == std::string::npos);
                                    streamed += piece.text;
                                    ++pieces;
                                  });
  CHECK(streamed == golden.text);
  CHECK(out[0].text == golden.text);
  CHECK(pieces > 10);
}

TEST_CASE("a stop string ends a text before it and never shows") {
  auto model = smollm2();
  const std::string prompt = "The capital of France is";  // " Paris.\n\nThe answer is: 2018…"
  std::string streamed;
  const Generation out =
      model.generate(prompt, {.max_new_tokens = 48, .do_sample = false, .stop = {"answer is"}},
                     [&](const TextPiece& piece) { streamed += piece.text; });
  CHECK(out.text == " Paris.\n\nThe ");
  CHECK(streamed == out.text);
  CHECK(out.reason == FinishReason::stop);
  CHECK(out.stop_string == "answer is");
  CHECK(out.tokens.size() < 10);
}

TEST_CASE("a seed is reported, and gives the same text again") {
  auto model = smollm2();
  const Generation first =
      model.generate("Once upon a time", {.max_new_tokens = 16, .temperature = 1.2});
  const Generation again = model.generate(
      "Once upon a time", {.max_new_tokens = 16, .temperature = 1.2, .seed = first.seed});
  CHECK(first.tokens == again.tokens);
  const Generation other = model.generate(
      "Once upon a time", {.max_new_tokens = 16, .temperature = 1.2, .seed = first.seed + 1});
  CHECK(other.tokens != first.tokens);
}

TEST_CASE("what a generation costs is in the call's usage, and its limits hold") {
  auto model = smollm2();
  CallScope scope;
  model.generate("Hello", {.max_new_tokens = 5, .do_sample = false});
  CHECK(scope.usage().tokens == 6);
  CHECK(scope.usage().gpu_ms > 0);
  CHECK(scope.usage().batch_size == 1);
  std::stop_source stop;
  CallScope cancelled({.stop = stop.get_token()});
  int pieces = 0;
  CHECK(contains(message_of(ErrorCode::cancelled,
                            [&] {
                              model.generate("Hello", {.max_new_tokens = 8000},
                                             [&](const TextPiece&) {
                                               if (++pieces == 3) stop.request_stop();
                                             });
                            }),
                 "cancelled"));
  CHECK(pieces < 20);
}

TEST_CASE("a prompt longer than the model's context is refused with both numbers") {
  auto model = smollm2();
  std::string words;
  for (int i = 0; i < 8200; ++i) words += " word";
  const std::string said = message_of(ErrorCode::invalid_argument, [&] { model.generate(words); });
  CHECK(contains(said, "a prompt of 8200 tokens"));
  CHECK(contains(said, "at most 8192"));
}

TEST_CASE("an encoder generates nothing and says so") {
  auto model = cpu_runtime().model(tiny_folder("bert"));
  CHECK(contains(message_of(ErrorCode::unsupported,
                            [&] { model->generate({request({5}, GenerationConfig())}, nullptr); }),
                 "generates no text"));
}

TEST_CASE("keys and values count with their model while its texts are generated") {
  Runtime runtime({.device = "cpu", .num_threads = 1, .model_idle = std::nullopt});
  const auto model = runtime.model(tiny_folder("llama"), {});
  auto bytes = [&] { return runtime.status()["models"][0]["cache_bytes"].get<std::int64_t>(); };
  auto used = [&] { return runtime.residency().used(c10::kCPU); };
  std::vector<std::int64_t> seen;
  std::uint64_t most = 0;
  GenerationRequest one{.prompt = {1, 5, 9}, .config = {.max_new_tokens = 4}};
  one.accept = [&](std::int32_t) {  // on the owner thread, while the text runs
    seen.push_back(bytes());
    most = std::max(most, used());
    return AcceptedToken{};
  };
  model->generate({one}, nullptr);
  // 7 tokens of 2 layers, 2 heads of 8 numbers, for keys and for values, in float32.
  constexpr std::int64_t kBytes = 7 * 2 * 2 * 8 * 2 * 4;
  CHECK(seen == std::vector<std::int64_t>(4, kBytes));
  model->run({{{1}, {}}}, {.last_hidden_state = true});  // behind it the text has left
  CHECK(bytes() == 0);
  CHECK(most == used() + kBytes);
}

// Continuous batching over a model that computes nothing: who is in which step, and how each call
// ends.
#include "gpu_runtime/generation/generation_queue.h"

#include <doctest/doctest.h>

#include <future>
#include <numeric>

#include "fake_decoder.h"
#include "fake_model.h"
#include "gpu_runtime/model_executor.h"
#include "support.h"

using namespace gpumcp::gpu_runtime;

namespace {

using Tokens = std::vector<std::int32_t>;

GenerationRequest request(Tokens prompt, std::int64_t most = 4) {
  GenerationRequest out;
  out.prompt = std::move(prompt);
  out.config.max_new_tokens = most;
  return out;
}

Tokens count_up(std::int32_t first, std::size_t length) {
  Tokens out(length);
  std::iota(out.begin(), out.end(), first);
  return out;
}

struct Rig {
  std::shared_ptr<Steps> steps = std::make_shared<Steps>();
  std::unique_ptr<ModelExecutor> executor;

  explicit Rig(GenerationQueueOptions options = {}, DecodeFacts facts = {}) {
    if (facts.max_length == 0) facts.max_length = 1000;
    if (facts.bytes_per_token == 0) facts.bytes_per_token = 1;
    executor = std::make_unique<ModelExecutor>(
        [s = steps, facts](const StillWanted&) { return std::make_unique<FakeDecoder>(s, facts); },
        ModelExecutorOptions{.name = "fake", .num_threads = 1, .generation = options});
  }
  GenerationQueue& queue() { return executor->generations(); }
  GenerationResult run(GenerationRequest one) { return queue().run({std::move(one)}, {}); }
  std::future<GenerationResult> call(std::vector<GenerationRequest> requests,
                                     CallLimits limits = {}) {
    return std::async(std::launch::async, [this, requests = std::move(requests), limits]() mutable {
      return queue().run(std::move(requests), limits);
    });
  }
  // A call that is known to wait while the model is held in a step.
  std::future<GenerationResult> queued(std::vector<GenerationRequest> requests,
                                       CallLimits limits = {}) {
    const std::size_t before = queue().stats().waiting;
    auto future = call(std::move(requests), limits);
    wait_until([&] { return queue().stats().waiting > before; });
    return future;
  }
  // A call whose first step is being held.
  std::future<GenerationResult> held(std::vector<GenerationRequest> requests,
                                     CallLimits limits = {}) {
    steps->permit(0);
    auto future = call(std::move(requests), limits);
    steps->wait_until_held();
    return future;
  }
};

template <class F>
std::string error_of(F& future, ErrorCode code) {
  return message_of(code, [&] { future.get(); });
}

}  // namespace

TEST_CASE("a text goes on to max_new_tokens") {
  Rig rig;
  const GenerationResult result = rig.run(request({10, 11, 12}, 3));
  REQUIRE(result.sequences.size() == 1);
  CHECK(result.sequences[0].tokens == Tokens{13, 14, 15});
  CHECK(result.sequences[0].reason == FinishReason::length);
  CHECK(result.tokens == 6);
  CHECK(result.batch_size == 1);
  CHECK(rig.steps->all() == std::vector<Step>{{{10, 11, 12}}, {{13}}, {{14}}});
}

TEST_CASE("an end token ends a text and is its last token") {
  Rig rig;
  GenerationRequest one = request({10}, 50);
  one.config.eos_token_id = {70, 12, 13};
  const GenerationResult result = rig.run(one);
  CHECK(result.sequences[0].tokens == Tokens{11, 12});
  CHECK(result.sequences[0].reason == FinishReason::eos);
}

TEST_CASE("accept() sees each token and can end the text") {
  Rig rig;
  GenerationRequest one = request({10}, 50);
  Tokens seen;
  one.accept = [&](std::int32_t token) {
    seen.push_back(token);
    return AcceptedToken{.text = std::to_string(token), .go_on = token != 13};
  };
  std::string text;
  const GenerationResult result =
      rig.queue().run({one}, {}, [&](const GenerationEvent& event) { text += event.text + " "; });
  CHECK(result.sequences[0].reason == FinishReason::stop);
  CHECK(seen == Tokens{11, 12, 13});
  CHECK(text == "11 12 13 ");
}

TEST_CASE("calls join and leave between steps") {
  Rig rig;
  auto a = rig.held({request({10}, 5)});
  auto b = rig.queued({request({20}, 2)});
  rig.steps->run(1);
  rig.steps->run(1);  // b's prompt, beside a's second token
  auto c = rig.queued({request({30}, 1)});
  rig.steps->permit(-1);
  CHECK(a.get().sequences[0].tokens == count_up(11, 5));
  CHECK(b.get().sequences[0].tokens == count_up(21, 2));
  CHECK(c.get().sequences[0].tokens == Tokens{31});
  CHECK(rig.steps->all() ==
        std::vector<Step>{{{10}}, {{11}, {20}}, {{12}, {21}}, {{13}, {30}}, {{14}}});
}

TEST_CASE("a long prompt goes in chunks, between the steps of others") {
  Rig rig({}, {.prefill_chunk = 4});
  auto a = rig.held({request({10}, 6)});
  auto b = rig.queued({request(count_up(40, 10), 1)});
  rig.steps->permit(-1);
  a.get();
  b.get();
  CHECK(rig.steps->all() == std::vector<Step>{{{10}},
                                              {{11}, count_up(40, 4)},
                                              {{12}, count_up(44, 4)},
                                              {{13}, count_up(48, 2)},
                                              {{14}},
                                              {{15}}});
}

TEST_CASE("prompts take turns, and are cut at the same places alone and together") {
  Rig rig({}, {.prefill_chunk = 4});
  auto a = rig.held({request({10}, 8)});
  auto b = rig.queued({request(count_up(30, 6), 1)}), c = rig.queued({request(count_up(50, 6), 1)});
  rig.steps->permit(-1);
  a.get(), b.get(), c.get();
  std::vector<Tokens> of_b, of_c, prompts;
  for (const Step& step : rig.steps->all()) {
    CHECK(step.size() <= 3);
    for (const Tokens& row : step) {
      if (row[0] >= 30 && row[0] < 50) of_b.push_back(row);
      if (row[0] >= 50) of_c.push_back(row);
      if (row[0] >= 30) prompts.push_back(row);
    }
  }
  CHECK(of_b == std::vector<Tokens>{count_up(30, 4), count_up(34, 2)});
  CHECK(of_c == std::vector<Tokens>{count_up(50, 4), count_up(54, 2)});
  CHECK(prompts[0][0] != prompts[1][0] - 4);  // the second chunk is the other's first
}

TEST_CASE("cancelling ends a text between two steps, and the others go on") {
  Rig rig;
  std::stop_source stop;
  auto a = rig.held({request({10}, 100)}, {.stop = stop.get_token()});
  auto b = rig.queued({request({20}, 4)});
  rig.steps->run(2);
  stop.request_stop();
  CHECK(contains(error_of(a, ErrorCode::cancelled), "cancelled"));
  rig.steps->permit(-1);
  CHECK(b.get().sequences[0].tokens == count_up(21, 4));
  // The step that was being held when a left is its last.
  const auto steps = rig.steps->all();
  REQUIRE(steps.size() == 5);
  CHECK(steps[2] == Step{{12}, {21}});
  CHECK(steps[3] == Step{{22}});
  wait_until([&] { return rig.queue().stats().running == 0; });
  CHECK(rig.queue().stats().dropped == 1);
}

TEST_CASE("a call that is cancelled while it waits never joins") {
  Rig rig;
  std::stop_source stop;
  auto a = rig.held({request({10}, 2)});
  auto b = rig.queued({request({20}, 4)}, {.stop = stop.get_token()});
  stop.request_stop();
  error_of(b, ErrorCode::cancelled);
  rig.steps->permit(-1);
  a.get();
  CHECK(rig.steps->all() == std::vector<Step>{{{10}}, {{11}}});
  CHECK(rig.queue().stats().waiting == 0);
}

TEST_CASE("a deadline ends a text in its middle") {
  Rig rig;
  auto a = rig.held({request({10}, 100)}, {.deadline = std::chrono::steady_clock::now() +
                                                       std::chrono::milliseconds(500)});
  CHECK(contains(error_of(a, ErrorCode::deadline), "model fake"));
  rig.steps->permit(-1);
  wait_until([&] { return !rig.queue().has_work(); });
  CHECK(rig.steps->all().size() == 1);
}

TEST_CASE("what on_event throws ends the call and reaches the caller") {
  Rig rig;
  CHECK_THROWS_WITH(rig.queue().run({request({10}, 100'000)}, {},
                                    [](const GenerationEvent& event) {
                                      if (event.token == 12) throw std::runtime_error("enough");
                                    }),
                    "enough");
  wait_until([&] { return !rig.queue().has_work(); });
  CHECK(rig.run(request({20}, 1)).sequences[0].tokens == Tokens{21});
}

TEST_CASE("too many waiting texts are refused at once, with a hint when to come again") {
  Rig rig({.max_running = 1, .max_waiting = 2});
  auto a = rig.held({request({10}, 2)});
  auto b = rig.queued({request({20}, 1), request({30}, 1)});
  const std::string said = message_of(ErrorCode::overloaded, [&] { rig.run(request({40}, 1)); });
  CHECK(contains(said, "model fake is busy: 1 texts are being generated and 2 wait"));
  CHECK(contains(said, "try again in about"));
  rig.steps->permit(-1);
  a.get(), b.get();
  CHECK(rig.queue().stats().refused == 1);
}

TEST_CASE("a call of many texts lets a call of one in") {
  Rig rig({.max_running = 2});
  auto a = rig.held({request({10}, 1)});
  std::vector<GenerationRequest> many(6, request({20}, 1));
  auto b = rig.queued(many), c = rig.queued({request({30}, 1)});
  rig.steps->permit(-1);
  a.get(), b.get(), c.get();
  const auto steps = rig.steps->all();
  CHECK(steps[1] == Step{{30}, {20}});  // one of each; prompts take turns
  CHECK(steps.size() == 5);             // 1, then two a step, the last one alone
}

TEST_CASE("a text that breaks the model fails alone") {
  Rig rig;
  auto a = rig.held({request({10}, 4)});
  auto b = rig.queued({request({kBreaks}, 4)}), c = rig.queued({request({20}, 4)});
  rig.steps->permit(-1);
  CHECK(contains(error_of(b, ErrorCode::internal), "a broken row"));
  CHECK(a.get().sequences[0].tokens == count_up(11, 4));
  CHECK(c.get().sequences[0].tokens == count_up(21, 4));
}

TEST_CASE("a lost device fails all texts of the step at once") {
  Rig rig;
  auto a = rig.held({request({10}, 4)});
  auto b = rig.queued({request({kDeviceFails}, 4)});
  rig.steps->permit(-1);
  CHECK(contains(error_of(b, ErrorCode::device_lost), "unspecified launch failure"));
  CHECK(contains(error_of(a, ErrorCode::device_lost), "call again"));
}

TEST_CASE("scores that are no numbers fail their text alone, and say so") {
  Rig rig;
  auto a = rig.held({request({10}, 3)});
  auto b = rig.queued({request({kNotANumber}, 4)});
  rig.steps->permit(-1);
  CHECK(contains(error_of(b, ErrorCode::internal), "no finite numbers"));
  CHECK(a.get().sequences[0].tokens == count_up(11, 3));
}

TEST_CASE("a text waits for memory, and one that is larger than all of it runs alone") {
  Rig rig({.cache_bytes = 10});
  auto a = rig.held({request({10}, 5)});
  auto b = rig.queued({request({20}, 3)}), c = rig.queued({request({30}, 49)});
  rig.steps->permit(-1);
  a.get(), b.get(), c.get();
  const auto steps = rig.steps->all();
  CHECK(steps[1] == Step{{11}, {20}});  // 6 + 4 bytes
  for (const Step& step : steps) {
    for (const Tokens& row : step) {
      if (row[0] >= 30) CHECK(step.size() == 1);
    }
  }
}

TEST_CASE(
    "caches count while their texts run, and a text waits where there is no room for its own") {
  std::mutex mutex;
  std::vector<std::int64_t> held;
  Rig rig({.hold_memory = [&](std::int64_t bytes) {
    std::scoped_lock lock(mutex);
    if (bytes > 10) return false;
    held.push_back(bytes);
    return true;
  }});
  auto first = rig.held({request({1, 2}, 4)});     // 6 bytes
  auto second = rig.queued({request({3, 4}, 4)});  // 6 more: waits for the first
  rig.steps->permit(-1);
  first.get();
  second.get();
  const auto alone = rig.steps->all();
  CHECK(std::ranges::all_of(alone, [](const Step& step) { return step.size() == 1; }));
  rig.executor.reset();  // answers come a moment before their memory is given back
  CHECK(*std::ranges::max_element(held) == 6);
  CHECK(held.back() == 0);
}

TEST_CASE("a text whose cache can never fit is refused with what it needs, and others go on") {
  Rig rig({.hold_memory = [](std::int64_t bytes) { return bytes <= 10; },
           .explain_memory = [] { return std::string("cpu holds 5 B"); }});
  const std::string said = message_of(ErrorCode::out_of_memory, [&] { rig.run(request({1}, 99)); });
  CHECK(contains(said, "100 tokens"));
  CHECK(contains(said, "cpu holds 5 B"));
  CHECK(rig.run(request({1}, 4)).sequences[0].tokens.size() == 4);
}

TEST_CASE("a prompt that fills the context is refused with the numbers; an answer is cut to fit") {
  Rig rig({}, {.max_length = 8});
  CHECK(contains(
      message_of(ErrorCode::invalid_argument, [&] { rig.run(request(count_up(1, 8), 1)); }),
      "a prompt of 8 tokens: model fake takes at most 8"));
  const GenerationResult cut = rig.run(request(count_up(1, 5), 100));
  CHECK(cut.sequences[0].tokens == Tokens{6, 7, 8});
  CHECK(cut.sequences[0].reason == FinishReason::context);
  CHECK(rig.run(request(count_up(1, 5), 3)).sequences[0].reason == FinishReason::length);
}

TEST_CASE("a model without a head says that it generates nothing") {
  auto recorder = std::make_shared<Recorder>();
  ModelExecutor executor([&](const StillWanted&) { return std::make_unique<FakeModel>(recorder); },
                         {.name = "fake", .num_threads = 1});
  CHECK(contains(message_of(ErrorCode::unsupported,
                            [&] { executor.generations().run({request({1}, 1)}, {}); }),
                 "generates no text"));
}

TEST_CASE("a failed load is the error of texts too, of those that come later as well") {
  ModelExecutor executor(
      [](const StillWanted&) -> std::unique_ptr<BatchModel> {
        throw Error(ErrorCode::corrupt_checkpoint, "broken file");
      },
      {.name = "fake", .num_threads = 1});
  for (int i = 0; i < 2; ++i) {
    CHECK(contains(message_of(ErrorCode::corrupt_checkpoint,
                              [&] { executor.generations().run({request({1}, 1)}, {}); }),
                   "broken file"));
  }
}

TEST_CASE("stopping the executor ends texts in their middle") {
  constexpr std::int64_t kEndless = std::int64_t{1} << 40;
  Rig rig({}, {.max_length = kEndless});
  auto a = rig.held({request({10}, kEndless / 4)});
  auto b = rig.queued({request({20}, kEndless / 4)});
  std::thread stopper([&] { rig.executor.reset(); });
  rig.steps->permit(-1);
  error_of(a, ErrorCode::cancelled);
  error_of(b, ErrorCode::cancelled);
  stopper.join();
}

TEST_CASE("batches and generations share the owner thread") {
  Rig rig;
  auto a = rig.held({request({10}, 3)});
  auto scored =
      std::async(std::launch::async, [&] { return rig.executor->run({row_of(1)}, Want{}); });
  wait_until([&] { return rig.executor->stats().waiting_calls == 1; });
  rig.steps->run(1);  // the batch ran before the second step
  CHECK(scored.get().batch_size == 1);
  rig.steps->permit(-1);
  a.get();
}

TEST_CASE("many callers at once all get their own texts") {
  Rig rig({.max_running = 5}, {.prefill_chunk = 3});
  std::vector<std::future<GenerationResult>> futures;
  for (std::int32_t i = 0; i < 40; ++i)
    futures.push_back(
        rig.call({request(count_up(i, 1 + static_cast<std::size_t>(i) % 7), 1 + i % 5)}));
  for (std::int32_t i = 0; i < 40; ++i) {
    CHECK(futures[static_cast<std::size_t>(i)].get().sequences[0].tokens ==
          count_up(i + 1 + i % 7, static_cast<std::size_t>(1 + i % 5)));
  }
  wait_until([&] { return !rig.queue().has_work(); });
  CHECK(rig.queue().stats().running == 0);
}

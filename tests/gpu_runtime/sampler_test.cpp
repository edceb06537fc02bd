// What each setting leaves to choose from, that a seed decides, and that frequencies are the
// probabilities.
#include "gpu_runtime/generation/sampler.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "support.h"

using namespace gpumcp::gpu_runtime;

namespace {

using Scores = std::vector<float>;

GenerationConfig sampling() {
  GenerationConfig config;
  config.do_sample = true;
  config.top_k = 0;
  return config;
}

// How often each token is chosen from the same scores.
std::map<std::int32_t, int> choices(const GenerationConfig& config, const Scores& scores,
                                    int times = 20'000) {
  std::map<std::int32_t, int> counts;
  GenerationConfig plain = config;
  Sampler sampler(plain, 7, {});
  for (int i = 0; i < times; ++i) {
    Scores copy = scores;
    ++counts[sampler.next(copy)];
  }
  return counts;
}

std::set<std::int32_t> chosen(const GenerationConfig& config, const Scores& scores) {
  std::set<std::int32_t> tokens;
  for (const auto& [token, count] : choices(config, scores)) tokens.insert(token);
  return tokens;
}

// Scores with these probabilities.
Scores log_of(const std::vector<double>& probabilities) {
  Scores scores;
  for (const double p : probabilities) scores.push_back(static_cast<float>(std::log(p)));
  return scores;
}

}  // namespace

TEST_CASE("greedy takes the first of the largest, whatever the vocabulary's size") {
  for (const std::size_t size : {1u, 5u, 16u, 17u, 100u, 1003u}) {
    for (const std::size_t at : {std::size_t{0}, size / 2, size - 1}) {
      Scores scores(size, -3.0f);
      scores[at] = -1.0f;
      scores[size - 1] = -1.0f;
      CHECK(Sampler(GenerationConfig(), 0, {}).next(scores) == static_cast<std::int32_t>(at));
    }
  }
}

TEST_CASE("a temperature of 0 is greedy") {
  GenerationConfig config = sampling();
  config.temperature = 0;
  CHECK(chosen(config, {1, 5, 4.99f}) == std::set<std::int32_t>{1});
}

TEST_CASE("scores that are no numbers are refused") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  for (const Scores& bad : {Scores{1, nan, 2}, Scores(40, nan), Scores{1, infinity},
                            Scores{-infinity, -infinity}, Scores{}}) {
    for (const GenerationConfig& config : {GenerationConfig(), sampling()}) {
      Scores scores = bad;
      CHECK(contains(message_of(ErrorCode::internal, [&] { Sampler(config, 0, {}).next(scores); }),
                     "no finite numbers"));
    }
  }
}

TEST_CASE("tokens come as often as their probabilities say") {
  const std::vector<double> probabilities{0.5, 0.3, 0.15, 0.05};
  const auto counts = choices(sampling(), log_of(probabilities));
  for (std::size_t i = 0; i < probabilities.size(); ++i) {
    CHECK(counts.at(static_cast<std::int32_t>(i)) / 20'000.0 ==
          doctest::Approx(probabilities[i]).epsilon(0.06));
  }
}

TEST_CASE("a temperature sharpens or flattens") {
  GenerationConfig config = sampling();
  config.temperature = 0.5;  // probabilities squared
  const auto counts = choices(config, log_of({0.8, 0.2}));
  CHECK(counts.at(0) / 20'000.0 == doctest::Approx(0.64 / 0.68).epsilon(0.02));
}

TEST_CASE("top_k keeps the k likeliest, and those that are as likely as the last of them") {
  GenerationConfig config = sampling();
  config.top_k = 2;
  CHECK(chosen(config, {1, 3, 2, 1.9f}) == std::set<std::int32_t>{1, 2});
  CHECK(chosen(config, {1, 3, 2, 2}) == std::set<std::int32_t>{1, 2, 3});
  config.top_k = 10;
  CHECK(chosen(config, {1, 3, 2, 2}).size() == 4);
}

TEST_CASE("top_p keeps the likeliest that reach the mass, with the one that crosses it") {
  GenerationConfig config = sampling();
  config.top_p = 0.6;
  CHECK(chosen(config, log_of({0.15, 0.5, 0.3, 0.05})) == std::set<std::int32_t>{1, 2});
  config.top_p = 0.45;
  CHECK(chosen(config, log_of({0.15, 0.5, 0.3, 0.05})) == std::set<std::int32_t>{1});
  config.top_p = 1e-9;
  CHECK(chosen(config, log_of({0.15, 0.5, 0.3, 0.05})) == std::set<std::int32_t>{1});
}

TEST_CASE("top_p over a large flat vocabulary keeps its share of it") {
  GenerationConfig config = sampling();
  config.top_p = 0.5;
  Scores scores(5000);
  for (std::size_t i = 0; i < scores.size(); ++i) scores[i] = static_cast<float>(i % 7) * 0.0001f;
  const auto tokens = chosen(config, scores);
  CHECK(tokens.size() > 2300);
  CHECK(tokens.size() <= 2500);
}

TEST_CASE("min_p keeps what is not too much less likely than the likeliest") {
  GenerationConfig config = sampling();
  config.min_p = 0.25;
  CHECK(chosen(config, log_of({0.5, 0.13, 0.12, 0.25})) == std::set<std::int32_t>{0, 1, 3});
  config.min_p = 1;
  CHECK(chosen(config, log_of({0.5, 0.13, 0.12, 0.25})) == std::set<std::int32_t>{0});
}

TEST_CASE("the repetition penalty lowers what the prompt has and what was chosen") {
  GenerationConfig config;
  config.repetition_penalty = 2;
  const std::vector<std::int32_t> prompt{1, 1, 700};
  Sampler sampler(config, 0, prompt);
  auto next = [&] {
    Scores scores{-1.0f, 3.0f, 2.0f, 1.9f};  // token 1 counts 1.5
    return sampler.next(scores);
  };
  CHECK(next() == 2);
  CHECK(next() == 3);  // 2 counts 1.0 now
  CHECK(next() == 1);  // and 3 0.95
  Scores negative{-1.0f, -0.6f};
  CHECK(Sampler(config, 0, prompt).next(negative) == 0);  // a negative score is multiplied
}

TEST_CASE("one seed gives the same tokens every time, on every machine") {
  const Scores scores = log_of({0.3, 0.25, 0.2, 0.15, 0.1});
  auto tokens = [&](std::uint64_t seed) {
    Sampler sampler(sampling(), seed, {});
    std::vector<std::int32_t> out;
    for (int i = 0; i < 12; ++i) {
      Scores copy = scores;
      out.push_back(sampler.next(copy));
    }
    return out;
  };
  CHECK(tokens(42) == tokens(42));
  CHECK(tokens(42) != tokens(43));
  CHECK(tokens(42) == std::vector<std::int32_t>{2, 0, 0, 1, 0, 3, 0, 3, 1, 2, 0, 1});
}

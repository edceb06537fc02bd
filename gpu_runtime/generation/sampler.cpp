#include "gpu_runtime/generation/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "gpu_runtime/error.h"

namespace gpumcp::gpu_runtime {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

}  // namespace

std::int32_t argmax(std::span<const float> scores) {
  // Eight at once, which a compiler turns into vector instructions; then the place of the largest.
  constexpr std::size_t kLanes = 16;
  float best[kLanes];
  std::fill(best, best + kLanes, kNever);
  bool odd = false;  // a NaN is not equal to itself
  std::size_t i = 0;
  for (; i + kLanes <= scores.size(); i += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      const float score = scores[i + lane];
      best[lane] = score > best[lane] ? score : best[lane];
      odd |= score != score;
    }
  }
  for (; i < scores.size(); ++i) {
    best[0] = std::max(best[0], scores[i]);
    odd |= scores[i] != scores[i];
  }
  const float largest = *std::max_element(best, best + kLanes);
  if (odd || !std::isfinite(largest)) {
    throw Error(
        ErrorCode::internal,
        "the model's scores of the next token are no finite numbers: its weights are broken, "
        "or it overflows in its dtype");
  }
  return static_cast<std::int32_t>(std::find(scores.begin(), scores.end(), largest) -
                                   scores.begin());
}

Sampler::Sampler(const GenerationConfig& config, std::uint64_t seed,
                 std::span<const std::int32_t> prompt)
    : greedy_(config.greedy()),
      temperature_(config.temperature),
      top_p_(config.top_p),
      min_p_(config.min_p),
      penalty_(config.repetition_penalty),
      top_k_(static_cast<std::size_t>(config.top_k)),
      state_(seed) {
  for (const std::int32_t token : prompt) see(token);
}

void Sampler::see(std::int32_t token) {
  if (penalty_ == 1 || token < 0) return;
  const auto at = static_cast<std::size_t>(token);
  if (at >= is_seen_.size()) is_seen_.resize(at + 1);
  if (is_seen_[at]) return;
  is_seen_[at] = true;
  seen_.push_back(token);
}

double Sampler::uniform() {
  std::uint64_t z = (state_ += 0x9E3779B97F4A7C15u);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return static_cast<double>((z ^ (z >> 31)) >> 11) * 0x1.0p-53;
}

std::int32_t Sampler::next(std::span<float> scores) {
  for (const std::int32_t token : seen_) {
    if (static_cast<std::size_t>(token) >= scores.size()) continue;
    float& score = scores[static_cast<std::size_t>(token)];
    const auto penalty = static_cast<float>(penalty_);
    score = score < 0 ? score * penalty : score / penalty;
  }
  const std::int32_t likeliest = argmax(scores);
  const std::int32_t chosen = greedy_ ? likeliest : sample(scores);
  see(chosen);
  return chosen;
}

std::int32_t Sampler::sample(std::span<float> scores) {
  const auto temperature = static_cast<float>(temperature_);
  float largest = kNever;
  for (float& score : scores) {
    score /= temperature;
    largest = std::max(largest, score);
  }
  auto weight = [&](float score) { return std::exp(static_cast<double>(score) - largest); };
  auto better = [](const Candidate& a, const Candidate& b) {
    return a.score > b.score || (a.score == b.score && a.token < b.token);
  };

  // top_k keeps every token that scores as the k-th does; min_p all above a bound. Both are bounds
  // on the score, so nobody else needs to be sorted.
  float bound = kNever;
  if (top_k_ > 0 && top_k_ < scores.size()) {
    std::vector<float> values(scores.begin(), scores.end());
    std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(top_k_ - 1),
                     values.end(), std::greater<>());
    bound = values[top_k_ - 1];
  }
  if (min_p_ > 0) {
    bound = std::max(bound, static_cast<float>(static_cast<double>(largest) + std::log(min_p_)));
    bound = std::min(bound, largest);  // the likeliest stays, whatever the rounding
  }
  candidates_.clear();
  double total = 0;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    if (scores[i] < bound || scores[i] == kNever) continue;
    candidates_.push_back({scores[i], static_cast<std::int32_t>(i)});
  }
  // In order of likelihood as far as top_p needs it, which is usually not far.
  std::size_t kept = candidates_.size();
  if (top_p_ < 1) {
    for (const Candidate& candidate : candidates_) total += weight(candidate.score);
    double mass = 0;
    std::size_t sorted = 0;
    kept = 0;
    while (kept < candidates_.size() && mass < top_p_ * total) {
      if (kept == sorted) {
        const std::size_t until =
            std::min(candidates_.size(), std::max<std::size_t>(64, 4 * sorted));
        std::partial_sort(candidates_.begin() + static_cast<std::ptrdiff_t>(sorted),
                          candidates_.begin() + static_cast<std::ptrdiff_t>(until),
                          candidates_.end(), better);
        sorted = until;
      }
      mass += weight(candidates_[kept++].score);
    }
  }
  candidates_.resize(std::max<std::size_t>(1, kept));
  total = 0;
  for (const Candidate& candidate : candidates_) total += weight(candidate.score);
  double left = uniform() * total;
  for (const Candidate& candidate : candidates_) {
    left -= weight(candidate.score);
    if (left < 0) return candidate.token;
  }
  return candidates_.back().token;  // rounding
}

}  // namespace gpumcp::gpu_runtime

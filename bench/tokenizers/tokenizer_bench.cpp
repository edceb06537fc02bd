// tokenizer_bench FOLDER SECONDS [BATCH]: how fast a Tokenizer encodes on one thread. Texts as JSON
// strings on stdin, one a line. Encodes them one by one (BATCH 1, the default) or in batches of so
// many, again and again for SECONDS; prints {"seconds_a_round", "tokens", "ids"} of the best round;
// "ids" is a checksum of all ids, which run.py compares with the other side's.
#include <time.h>

#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <span>
#include <string>
#include <vector>

#include "gpu_runtime/json.h"
#include "gpu_runtime/tokenizer.h"

using namespace gpumcp::gpu_runtime;

namespace {

// Of this process, in CPU time: other work on the machine does not count.
double now() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

struct Round {
  double seconds = 1e9;
  std::size_t tokens = 0;
  std::uint64_t checksum = 0;
};

Round run(const Tokenizer& tokenizer, const std::vector<std::string>& texts, std::size_t batch) {
  Round round;
  const auto count = [&](const Encoding& encoding) {
    round.tokens += encoding.size();
    for (const std::int32_t id : encoding.ids)
      round.checksum = (round.checksum * 31 + static_cast<std::uint64_t>(id)) % 1'000'000'007;
  };
  const double began = now();
  if (batch == 1) {
    for (const std::string& text : texts) count(tokenizer.encode(text));
  } else {
    for (std::size_t at = 0; at < texts.size(); at += batch) {
      const auto part = std::span(texts).subspan(at, std::min(batch, texts.size() - at));
      for (const Encoding& one : tokenizer.encode_batch(part)) count(one);
    }
  }
  round.seconds = now() - began;
  return round;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: tokenizer_bench FOLDER SECONDS [BATCH] < TEXTS.jsonl\n");
    return 1;
  }
  try {
    const double loading = now();
    const Tokenizer tokenizer = Tokenizer::from_pretrained(argv[1]);
    const double loaded = now() - loading;
    const double seconds = std::atof(argv[2]);
    const std::size_t batch = argc > 3 ? std::strtoul(argv[3], nullptr, 10) : 1;
    std::vector<std::string> texts;
    for (std::string line; std::getline(std::cin, line);)
      texts.push_back(Json::parse(line).get<std::string>());
    Round best;
    double passed = 0;
    for (int rounds = 0; rounds < 3 || passed < seconds; ++rounds) {
      const Round round = run(tokenizer, texts, std::max<std::size_t>(batch, 1));
      passed += round.seconds;
      if (round.seconds < best.seconds) best = round;
    }
    std::puts(Json{{"seconds_a_round", best.seconds},
                   {"tokens", best.tokens},
                   {"ids", best.checksum},
                   {"load_s", loaded}}
                  .dump()
                  .c_str());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}

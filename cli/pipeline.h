// run_in_order(): what a command sends to a worker in pieces, several at once, with the answers in
// order. Called by one thread; `work` runs on others.
#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <future>
#include <optional>

namespace gpumcp::cli {

// `next(may_wait)` gives the next piece; nothing: there is none now (it is asked again, allowed to
// wait, once no answer is outstanding); `ended()` tells whether there will be none. Up to `width`
// pieces are in work(). What any of the three throws comes out here, once all work() has returned.
template <class In, class Out>
void run_in_order(size_t width, const std::function<std::optional<In>(bool may_wait)>& next,
                  const std::function<bool()>& ended, const std::function<Out(In)>& work,
                  const std::function<void(Out)>& take) {
  std::deque<std::future<Out>> running;
  while (true) {
    while (running.size() < width && !ended()) {
      std::optional<In> in = next(running.empty());
      if (!in) break;
      running.push_back(std::async(std::launch::async, work, std::move(*in)));
    }
    if (running.empty()) {
      if (ended()) return;
      continue;
    }
    Out out = running.front().get();
    running.pop_front();
    take(std::move(out));
  }
}

}  // namespace gpumcp::cli

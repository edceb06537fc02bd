// Threads for tool handlers: as many as run at once, up to a limit; idle ones leave after some
// seconds. Thread-safe. Handlers block (on a GPU, on a file), so the pool grows instead of
// queueing; a bounded queue takes what comes beyond the limit, and then submit() refuses. stop()
// and destruction run what is queued, and join.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace gpumcp::mcp {

struct ThreadPoolOptions {
  size_t max_threads = 256;
  size_t max_queued = 1024;
  double idle_seconds = 10;
};

class ThreadPool {
 public:
  explicit ThreadPool(ThreadPoolOptions options = {});
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  // False: all threads are busy and the queue is full. A task must not throw.
  // Also false: stop() was called, or the system has no thread for it.
  bool submit(std::function<void()> task);
  void stop();  // not from a task
  size_t threads() const;
  // Fewer tasks than threads are allowed: the next one would run at once.
  bool has_room() const { return tasks_.load(std::memory_order_relaxed) < options_.max_threads; }

 private:
  void run();
  void join_finished(std::unique_lock<std::mutex>& lock);

  const ThreadPoolOptions options_;
  mutable std::mutex mutex_;
  std::condition_variable work_, left_;
  std::deque<std::function<void()>> queue_;
  std::vector<std::thread> finished_;  // threads that left and wait to be joined
  std::vector<std::thread> threads_;
  size_t idle_ = 0;
  std::atomic<size_t> tasks_ = 0;  // queued and running
  bool stopping_ = false;
};

}  // namespace gpumcp::mcp

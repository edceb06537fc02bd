#include "mcp/thread_pool.h"

#include <algorithm>
#include <chrono>
#include <system_error>
#include <utility>

namespace gpumcp::mcp {

ThreadPool::ThreadPool(ThreadPoolOptions options) : options_(options) {}

ThreadPool::~ThreadPool() { stop(); }

void ThreadPool::stop() {
  std::unique_lock lock(mutex_);
  stopping_ = true;
  work_.notify_all();
  left_.wait(lock, [&] { return threads_.empty(); });
  join_finished(lock);
}

bool ThreadPool::submit(std::function<void()> task) {
  std::unique_lock lock(mutex_);
  if (stopping_) return false;
  ++tasks_;
  if (queue_.size() >= idle_ && threads_.size() < options_.max_threads) {
    queue_.push_back(std::move(task));
    try {
      threads_.emplace_back([this] { run(); });
    } catch (const std::system_error&) {  // the system has no more threads: one that runs takes it,
                                          // if any does
      if (!threads_.empty() && queue_.size() <= idle_ + options_.max_queued) return true;
      queue_.pop_back();
      --tasks_;
      return false;
    }
    join_finished(lock);
    return true;
  }
  if (queue_.size() >= idle_ + options_.max_queued) {
    --tasks_;
    return false;
  }
  queue_.push_back(std::move(task));
  work_.notify_one();
  return true;
}

size_t ThreadPool::threads() const {
  std::scoped_lock lock(mutex_);
  return threads_.size();
}

void ThreadPool::run() {
  std::unique_lock lock(mutex_);
  const auto idle = std::chrono::duration<double>(options_.idle_seconds);
  while (true) {
    if (queue_.empty()) {
      if (stopping_) break;
      ++idle_;
      const bool woken = work_.wait_for(lock, idle, [&] { return stopping_ || !queue_.empty(); });
      --idle_;
      if (!woken) break;
      continue;
    }
    auto task = std::move(queue_.front());
    queue_.pop_front();
    lock.unlock();
    task();
    task = nullptr;
    --tasks_;
    lock.lock();
  }
  const auto self = std::find_if(threads_.begin(), threads_.end(), [](const std::thread& t) {
    return t.get_id() == std::this_thread::get_id();
  });
  // A thread's stack is kept until it is joined: each that leaves joins those that left before.
  std::vector<std::thread> before = std::exchange(finished_, {});
  finished_.push_back(std::move(*self));
  threads_.erase(self);
  left_.notify_all();
  lock.unlock();
  for (std::thread& thread : before) thread.join();
}

void ThreadPool::join_finished(std::unique_lock<std::mutex>& lock) {
  std::vector<std::thread> finished = std::move(finished_);
  finished_.clear();
  lock.unlock();
  for (std::thread& thread : finished) thread.join();
  lock.lock();
}

}  // namespace gpumcp::mcp

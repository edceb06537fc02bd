// The in-memory pair: two queues, each guarded by its own mutex.
#include <condition_variable>
#include <deque>
#include <mutex>

#include "mcp/transport.h"

namespace gpumcp::mcp {
namespace {

struct Queue {
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::string> messages;
  bool closed = false;

  void close() {
    std::scoped_lock lock(mutex);
    closed = true;
    changed.notify_all();
  }
};

class MemoryTransport final : public Transport {
 public:
  MemoryTransport(std::shared_ptr<Queue> in, std::shared_ptr<Queue> out)
      : in_(std::move(in)), out_(std::move(out)) {}
  ~MemoryTransport() override { close(); }

  Result<std::optional<std::string>> read() override {
    std::unique_lock lock(in_->mutex);
    in_->changed.wait(lock, [&] { return in_->closed || !in_->messages.empty(); });
    if (in_->messages.empty()) return std::optional<std::string>();
    std::string message = std::move(in_->messages.front());
    in_->messages.pop_front();
    return message;
  }

  Result<void> write(std::string_view message) override {
    std::scoped_lock lock(out_->mutex);
    if (out_->closed) return fail(ErrorCode::closed, "the peer closed the connection");
    out_->messages.emplace_back(message);
    out_->changed.notify_one();
    return {};
  }

  void close() noexcept override {
    in_->close();
    out_->close();
  }

 private:
  std::shared_ptr<Queue> in_, out_;
};

}  // namespace

std::pair<std::unique_ptr<Transport>, std::unique_ptr<Transport>> make_memory_transports() {
  auto a = std::make_shared<Queue>(), b = std::make_shared<Queue>();
  return {std::make_unique<MemoryTransport>(a, b), std::make_unique<MemoryTransport>(b, a)};
}

}  // namespace gpumcp::mcp

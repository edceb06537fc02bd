#include "gpu_runtime/weight_reader.h"

#include <ATen/ATen.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>

#include "gpu_runtime/device.h"
#include "gpu_runtime/device_mark.h"
#include "gpu_runtime/error.h"
#include "gpu_runtime/weights.h"

namespace gpumcp::gpu_runtime {
namespace {

constexpr std::size_t kPiece = std::size_t{4} << 20;          // that a thread reads at once
constexpr std::size_t kStagingPiece = std::size_t{16} << 20;  // of a pinned buffer

void require_wanted(const std::function<bool()>& wanted) {
  if (wanted && !wanted()) throw Error(ErrorCode::cancelled, "the call was cancelled");
}

// read(offset, part) for the pieces of `into`, by several threads where there are several pieces.
template <class Read>
void in_parallel(std::span<std::byte> into, int threads, Read&& read) {
  const std::size_t pieces = (into.size() + kPiece - 1) / kPiece;
  std::atomic<std::size_t> next{0};
  std::mutex mutex;
  std::exception_ptr error;
  auto work = [&] {
    try {
      for (std::size_t i; (i = next++) < pieces;) {
        const std::size_t begin = i * kPiece;
        read(begin, into.subspan(begin, std::min(kPiece, into.size() - begin)));
      }
    } catch (...) {
      next = pieces;
      const std::scoped_lock lock(mutex);
      if (!error) error = std::current_exception();
    }
  };
  {
    std::vector<std::jthread> others;
    const std::size_t count = std::min<std::size_t>(static_cast<std::size_t>(threads), pieces);
    for (std::size_t i = 1; i < count; ++i) others.emplace_back(work);
    work();
  }
  if (error) std::rethrow_exception(error);
}

std::span<std::byte> bytes_of(const at::Tensor& tensor) {
  return {static_cast<std::byte*>(tensor.mutable_data_ptr()), tensor.nbytes()};
}

}  // namespace

int read_threads(int requested) {
  return requested > 0 ? std::min(requested, 64) : std::clamp(2 * physical_cores(), 4, 16);
}

void read_bytes(const Checkpoint::Entry& entry, std::uint64_t offset, std::span<std::byte> into,
                int threads) {
  in_parallel(into, threads, [&](std::uint64_t begin, std::span<std::byte> part) {
    entry.file->read(entry.info->begin + offset + begin, part);
  });
}

std::shared_ptr<const HostWeights> HostWeights::read(const Checkpoint& checkpoint, bool pinned,
                                                     int threads, const StillWanted& wanted) {
  auto weights = std::make_shared<HostWeights>();
  for (const auto& file : checkpoint.files()) {
    at::Tensor bytes = at::empty({static_cast<std::int64_t>(file->nbytes())},
                                 at::TensorOptions(at::kByte).pinned_memory(pinned));
    in_parallel(bytes_of(bytes), read_threads(threads),
                [&](std::uint64_t begin, std::span<std::byte> part) {
                  require_wanted(wanted);
                  file->read(begin, part);
                });
    weights->nbytes_ += file->nbytes();
    weights->files_.emplace(file.get(), std::move(bytes));
  }
  return weights;
}

at::Tensor HostWeights::bytes(const Checkpoint::Entry& entry) const {
  const auto found = files_.find(entry.file.get());
  if (found == files_.end()) {
    throw Error(ErrorCode::internal, "tensor " + entry.info->name + " is of another checkpoint");
  }
  return found->second.narrow(0, static_cast<std::int64_t>(entry.info->begin),
                              static_cast<std::int64_t>(entry.info->nbytes));
}

struct StagingRing::Slot {
  at::Tensor buffer;
  std::optional<DeviceMark> copied;  // what was last copied from it
};

StagingRing::StagingRing(c10::Device device, std::size_t piece) : device_(device), piece_(piece) {
  for (int i = 0; i < 2; ++i) {
    Slot& slot = slots_.emplace_back();
    slot.buffer = at::empty({static_cast<std::int64_t>(piece)},
                            at::TensorOptions(at::kByte).pinned_memory(!device.is_cpu()));
  }
}

StagingRing::~StagingRing() =
    default;  // torch keeps pinned memory until what copies from it is done

void StagingRing::fill(const at::Tensor& destination, const Source& source) {
  const at::Tensor flat = destination.view({-1}).view(at::kByte);
  const auto size = static_cast<std::uint64_t>(flat.numel());
  for (std::uint64_t offset = 0; offset < size; offset += piece_) {
    Slot& slot = slots_[next_++ % slots_.size()];
    if (slot.copied) slot.copied->wait();
    const auto length = static_cast<std::int64_t>(std::min<std::uint64_t>(piece_, size - offset));
    source(offset, bytes_of(slot.buffer).first(static_cast<std::size_t>(length)));
    flat.narrow(0, static_cast<std::int64_t>(offset), length)
        .copy_(slot.buffer.narrow(0, 0, length), /*non_blocking=*/true);
    slot.copied.emplace(device_);
  }
}

WeightReader::WeightReader(c10::Device device, WeightSession& session)
    : device_(device), session_(session) {}

WeightReader::~WeightReader() = default;

at::Tensor WeightReader::read(const Checkpoint::Entry& entry, at::ScalarType dtype) {
  require_wanted(session_.wanted);
  const int threads = read_threads(session_.threads);
  at::Tensor tensor = at::empty(entry.info->shape,
                                at::TensorOptions(device_).dtype(torch_dtype(entry.info->dtype)));
  if (tensor.numel() > 0) {
    if (session_.host) {
      tensor.view({-1}).view(at::kByte).copy_(session_.host->bytes(entry), /*non_blocking=*/true);
    } else if (device_.is_cpu()) {
      read_bytes(entry, 0, bytes_of(tensor), threads);
    } else {
      if (!ring_) ring_.emplace(device_, kStagingPiece);
      ring_->fill(tensor, [&](std::uint64_t offset, std::span<std::byte> into) {
        read_bytes(entry, offset, into, threads);
      });
    }
  }
  tensor = tensor.to(dtype);
  session_.device_bytes += tensor.nbytes();
  return tensor;
}

struct LoadStream::State {
  explicit State(c10::Device device)
      : impl(device.type()), stream(impl.getStreamFromGlobalPool(device)), guard(stream) {}
  c10::impl::VirtualGuardImpl impl;
  c10::Stream stream;
  c10::StreamGuard guard;
};

LoadStream::LoadStream(c10::Device device) {
  if (!device.is_cpu()) state_ = std::make_unique<State>(device);
}

LoadStream::~LoadStream() = default;

void LoadStream::finish() {
  if (state_) state_->impl.synchronizeStream(state_->stream);
}

}  // namespace gpumcp::gpu_runtime

#include "gpu_runtime/device_mark.h"

#include <ATen/ATen.h>
#include <c10/core/impl/VirtualGuardImpl.h>

namespace gpumcp::gpu_runtime {

DeviceMark::DeviceMark(c10::Device device) {
  if (!device.is_cpu()) {
    event_.emplace(device.type(), c10::EventFlag::BACKEND_DEFAULT);  // the flag that keeps time
    event_->record(c10::impl::VirtualGuardImpl(device.type()).getStream(device));
  }
  time_ = std::chrono::steady_clock::now();
}

bool DeviceMark::passed() const { return !event_ || event_->query(); }

void DeviceMark::wait() const {
  if (event_) event_->synchronize();
}

double DeviceMark::ms_until(const DeviceMark& later) const {
  if (event_ && later.event_) return event_->elapsedTime(*later.event_);
  return std::chrono::duration<double, std::milli>(later.time_ - time_).count();
}

void* current_stream(c10::Device device) {
  if (device.is_cpu()) return nullptr;
  return c10::impl::VirtualGuardImpl(device.type()).getStream(device).native_handle();
}

at::Tensor copy_to_host(const at::Tensor& tensor) {
  if (tensor.is_cpu()) return tensor;
  at::Tensor host =
      at::empty(tensor.sizes(), tensor.options().device(at::kCPU).pinned_memory(true));
  host.copy_(tensor, /*non_blocking=*/true);
  return host;
}

}  // namespace gpumcp::gpu_runtime

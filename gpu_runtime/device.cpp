#include "gpu_runtime/device.h"

#include <ATen/Parallel.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <dlfcn.h>
#include <malloc.h>
#include <sched.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <set>

#include "gpu_runtime/error.h"

namespace gpumcp::gpu_runtime {
namespace {

// cuInit and cuDeviceGetCount, as the driver's ABI has them: int results, 0 is success.
using CuInit = int (*)(unsigned);
using CuDeviceGetCount = int (*)(int*);

std::string last_dl_error() {
  const char* text = dlerror();
  return text != nullptr ? text : "unknown error";
}

CudaState look_for_cuda() {
  CudaState state;
  void* driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (driver == nullptr) {
    state.reason = "the NVIDIA driver is not installed (libcuda.so.1: " + last_dl_error() + ")";
    return state;
  }
  auto init = reinterpret_cast<CuInit>(dlsym(driver, "cuInit"));
  auto count = reinterpret_cast<CuDeviceGetCount>(dlsym(driver, "cuDeviceGetCount"));
  if (init == nullptr || count == nullptr) {
    state.reason = "libcuda.so.1 has no cuInit: it is not NVIDIA's driver";
    return state;
  }
  if (int code = init(0); code != 0) {
    state.reason = "the NVIDIA driver does not start (cuInit says " + std::to_string(code) +
                   "); nvidia-smi may tell more";
    return state;
  }
  if (count(&state.device_count) != 0 || state.device_count <= 0) {
    state.device_count = 0;
    state.reason = "the NVIDIA driver shows no device to this process (CUDA_VISIBLE_DEVICES?)";
    return state;
  }
  Dl_info torch{};
  std::filesystem::path beside;
  if (dladdr(reinterpret_cast<void*>(&at::get_num_threads), &torch) != 0) {
    beside = std::filesystem::path(torch.dli_fname).parent_path();
  }
  const std::filesystem::path library = beside / "libtorch_cuda.so";
  if (dlopen(library.c_str(), RTLD_NOW | RTLD_GLOBAL) == nullptr) {
    state.reason = "a GPU is there, but libtorch_cuda cannot be loaded (" + last_dl_error() +
                   "); a full `pip install torch` brings it and NVIDIA's libraries";
    return state;
  }
  state.usable = true;
  return state;
}

struct Spelling {
  bool automatic = false, cuda = false;
  int index = 0;
};

Spelling parse_spelling(std::string_view text) {
  if (text == "auto") return {.automatic = true};
  if (text == "cpu") return {};
  if (text == "cuda") return {.cuda = true};
  if (text.starts_with("cuda:")) {
    std::string_view digits = text.substr(5);
    int index = 0;
    auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), index);
    if (error == std::errc{} && end == digits.data() + digits.size() && index >= 0 && index < 128) {
      return {.cuda = true, .index = index};
    }
  }
  throw Error(ErrorCode::invalid_argument, "device \"" + std::string(text.substr(0, 40)) +
                                               "\" is none: give auto, cpu, cuda or cuda:N");
}

// The CPU time that a cgroup (a container, a Slurm step) grants, in cores.
std::optional<int> cgroup_cores() {
  std::ifstream file("/sys/fs/cgroup/cpu.max");
  std::string quota;
  double period = 0;
  if (!(file >> quota >> period) || quota == "max" || period <= 0) return std::nullopt;
  return std::max(1, static_cast<int>(std::atof(quota.c_str()) / period + 0.5));
}

}  // namespace

const CudaState& cuda_state() {
  static const CudaState state = look_for_cuda();
  return state;
}

void check_device_spelling(std::string_view spelling) { parse_spelling(spelling); }

c10::Device resolve_device(std::string_view spelling) {
  const Spelling wanted = parse_spelling(spelling);
  if (wanted.automatic) {
    return cuda_state().usable ? c10::Device(c10::kCUDA, 0) : c10::Device(c10::kCPU);
  }
  if (!wanted.cuda) return c10::Device(c10::kCPU);
  const CudaState& cuda = cuda_state();
  if (!cuda.usable) {
    throw Error(ErrorCode::unsupported, "device \"" + std::string(spelling) + "\": " + cuda.reason +
                                            "; device cpu works without");
  }
  if (wanted.index >= cuda.device_count) {
    throw Error(ErrorCode::unsupported,
                "device \"" + std::string(spelling) + "\": there are only " +
                    std::to_string(cuda.device_count) + " (counted from 0)");
  }
  return {c10::kCUDA, static_cast<c10::DeviceIndex>(wanted.index)};
}

int physical_cores() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0) return 1;
  std::set<std::string> cores;  // hyperthreads of one core name the same siblings
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed)) continue;
    std::ifstream file("/sys/devices/system/cpu/cpu" + std::to_string(cpu) +
                       "/topology/thread_siblings_list");
    std::string siblings;
    cores.insert(std::getline(file, siblings) ? siblings : "cpu" + std::to_string(cpu));
  }
  int count = std::max(1, static_cast<int>(cores.size()));
  return std::min(count, cgroup_cores().value_or(count));
}

int set_cpu_threads(int requested) {
  int threads = requested;
  if (threads <= 0) {
    const char* setting = std::getenv("GPUMCP_THREADS");
    threads = setting != nullptr ? std::atoi(setting) : 0;
  }
  if (threads <= 0) threads = physical_cores();
  threads = std::min(threads, 1024);
  at::set_num_threads(threads);
  return threads;
}

std::uint64_t free_device_memory(c10::Device device) {
  return c10::getDeviceAllocator(device.type())->getMemoryInfo(device.index()).first;
}

void release_cached_memory(c10::Device device) {
  if (device.is_cuda()) {
    c10::getDeviceAllocator(device.type())->emptyCache();
  } else {
    malloc_trim(0);
  }
}

}  // namespace gpumcp::gpu_runtime

#include "gpu_runtime/device.h"

#include <doctest/doctest.h>

#include <cstdio>

#include "fake_model.h"
#include "gpu_runtime/runtime.h"
#include "gpu_runtime/tensors.h"
#include "tiny_bert.h"

using namespace gpumcp::gpu_runtime;

TEST_CASE("only auto, cpu, cuda and cuda:N are devices") {
  for (const char* good : {"auto", "cpu", "cuda", "cuda:0", "cuda:7"}) check_device_spelling(good);
  for (const char* bad : {"", "gpu", "cuda:", "cuda:x", "cuda:-1", "cuda:1x", "cuda:999", "CPU"}) {
    message_of(ErrorCode::invalid_argument, [&] { check_device_spelling(bad); });
  }
}

TEST_CASE("the CPU is always there, and auto is something") {
  CHECK(resolve_device("cpu").is_cpu());
  CHECK(resolve_device("auto").is_cuda() == cuda_state().usable);
  CHECK(cuda_state().usable == cuda_state().reason.empty());
}

TEST_CASE("a CUDA device that is not there is refused with the reason") {
  if (!cuda_state().usable)
    CHECK(contains(message_of(ErrorCode::unsupported, [] { resolve_device("cuda"); }),
                   cuda_state().reason));
  message_of(ErrorCode::unsupported, [] { resolve_device("cuda:127"); });
}

TEST_CASE("there is a core, and the thread count asked for is the one set") {
  CHECK(physical_cores() >= 1);
  CHECK(set_cpu_threads(1) == 1);
  CHECK(set_cpu_threads(0) >= 1);
}

TEST_SUITE("cuda") {
  TEST_CASE("a model gives the same vector on CUDA as on the CPU") {
    if (!cuda_state().usable) {
      std::printf("no CUDA device: %s\n", cuda_state().reason.c_str());
      return;
    }
    TemporaryFolder folder;
    TinyBert().write(folder);
    Runtime runtime;
    auto on = [&](const char* device) {
      return to_vector(
          runtime.model(ModelPath(folder.path()), {.device = device, .dtype = "float32"})
              ->run({row_of(3, 5), row_of(4, 7)}, {.pooled = true})
              .rows[1]
              .pooled);
    };
    const auto cpu = on("cpu"), cuda = on("cuda:0");
    for (std::size_t i = 0; i < cpu.size(); ++i)
      CHECK(cuda[i] == doctest::Approx(cpu[i]).epsilon(1e-4));
  }
}

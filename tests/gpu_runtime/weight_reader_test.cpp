#include "gpu_runtime/weight_reader.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/zeros.h>
#include <doctest/doctest.h>

#include <cstring>
#include <filesystem>

#include "fake_model.h"
#include "gpu_runtime/runtime.h"
#include "gpu_runtime/tensors.h"
#include "gpu_runtime/weights.h"
#include "tiny_bert.h"

using namespace gpumcp::gpu_runtime;

namespace {

// A checkpoint with one tensor of so many floats, 0, 1, 2, …
Checkpoint counted(const TemporaryFolder& folder, std::size_t count) {
  const std::string header =
      Json{{"x", {{"dtype", "F32"}, {"shape", {count}}, {"data_offsets", {0, 4 * count}}}}}.dump();
  const std::uint64_t length = header.size();
  std::string file(reinterpret_cast<const char*>(&length), 8);
  file += header;
  std::vector<float> values(count);
  for (std::size_t i = 0; i < count; ++i) values[i] = static_cast<float>(i);
  file.append(reinterpret_cast<const char*>(values.data()), 4 * count);
  folder.write("model.safetensors", file);
  return Checkpoint::open(folder.path());
}

constexpr std::size_t kMany = 5'000'001;  // 20 MB: several pieces, the last one odd

bool counts_up(const at::Tensor& tensor, std::size_t count) {
  const at::Tensor expected = at::arange(static_cast<std::int64_t>(count), at::kFloat);
  return at::equal(tensor.to(at::kCPU, at::kFloat), expected);
}

}  // namespace

TEST_CASE("several threads read what one does") {
  const TemporaryFolder folder;
  const Checkpoint checkpoint = counted(folder, kMany);
  for (const int threads : {1, 3, 16}) {
    at::Tensor tensor = at::empty({static_cast<std::int64_t>(kMany)});
    read_bytes(checkpoint.require("x"), 0,
               {static_cast<std::byte*>(tensor.mutable_data_ptr()), tensor.nbytes()}, threads);
    CHECK(counts_up(tensor, kMany));
  }
  float one = 0;
  read_bytes(checkpoint.require("x"), 4 * 77, std::as_writable_bytes(std::span(&one, 1)), 4);
  CHECK(one == 77);
}

TEST_CASE("a file that was cut short after it was opened is told, not read beyond") {
  const TemporaryFolder folder;
  const Checkpoint checkpoint = counted(folder, kMany);
  std::filesystem::resize_file(folder / "model.safetensors", 4'000'000);
  WeightSession session;
  WeightReader reader(c10::kCPU, session);
  CHECK(contains(message_of(ErrorCode::corrupt_checkpoint,
                            [&] { reader.read(checkpoint.require("x"), at::kFloat); }),
                 "longer when it was opened"));
}

TEST_CASE("the ring of staging buffers puts every byte in its place") {
  for (const std::size_t count : {1, 4096, 4097, 100'000}) {
    std::vector<float> values(count);
    for (std::size_t i = 0; i < count; ++i) values[i] = static_cast<float>(i);
    StagingRing ring(c10::kCPU, 16'384);
    for (int again = 0; again < 2; ++again) {  // the buffers' turns go on from tensor to tensor
      at::Tensor out = at::zeros({static_cast<std::int64_t>(count)});
      ring.fill(out, [&](std::uint64_t offset, std::span<std::byte> into) {
        std::memcpy(into.data(), reinterpret_cast<const char*>(values.data()) + offset,
                    into.size());
      });
      CHECK(counts_up(out, count));
    }
  }
}

TEST_CASE("a copy in host memory serves as the files do, converted on the way") {
  const TemporaryFolder folder;
  const Checkpoint checkpoint = counted(folder, 1000);
  WeightSession session;
  session.host = HostWeights::read(checkpoint, /*pinned=*/false, 2, nullptr);
  CHECK(session.host->nbytes() == 4000);
  std::filesystem::resize_file(folder / "model.safetensors", 10);
  WeightReader reader(c10::kCPU, session);
  CHECK(counts_up(reader.read(checkpoint.require("x"), at::kFloat), 1000));
  const at::Tensor half = reader.read(checkpoint.require("x"), at::kHalf);
  CHECK((half.scalar_type() == at::kHalf));
  CHECK(counts_up(half, 1000));
  CHECK(session.device_bytes == 4000 + 2000);
}

TEST_CASE("a load that nobody wants stops between tensors") {
  const TemporaryFolder folder;
  TinyBert().write(folder);
  int asked = 0;
  message_of(ErrorCode::cancelled,
             [&] { load_model({.folder = folder.path(), .wanted = [&] { return ++asked < 5; }}); });
  CHECK(asked == 5);
  message_of(ErrorCode::cancelled, [&] {
    HostWeights::read(Checkpoint::open(folder.path()), false, 1, [] { return false; });
  });
}

TEST_CASE("a model's size is known from headers, and counted exactly while it is read") {
  const TemporaryFolder folder;
  TinyBert tiny;
  tiny.write(folder);
  const std::uint64_t bytes = Checkpoint::open(folder.path()).nbytes();
  CHECK(measure_model({.folder = folder.path()}) == bytes);
  CHECK(measure_model({.folder = folder.path(), .dtype = "bfloat16"}) == bytes / 2);
  CHECK(load_model({.folder = folder.path()})->nbytes() == bytes);
  // A tensor that the architecture has no use for is measured and not held.
  tiny.shapes["pooler.dense.weight"] = {8, 8};
  tiny.write(folder);
  CHECK(measure_model({.folder = folder.path()}) == bytes + 256);
  CHECK(load_model({.folder = folder.path()})->nbytes() == bytes);
}

TEST_CASE("a large model is used in bfloat16 on a GPU, a small one as it was saved") {
  const ModelConfig full = ModelConfig::from_json({{"model_type", "llama"}}, "test");
  const ModelConfig half =
      ModelConfig::from_json({{"model_type", "llama"}, {"torch_dtype", "float16"}}, "test");
  const c10::Device gpu(c10::kCUDA, 0), cpu(c10::kCPU);
  CHECK((choose_dtype("auto", full, gpu, 2'000'000'000) == at::kBFloat16));
  CHECK((choose_dtype("auto", full, gpu, 22'000'000) == at::kFloat));
  CHECK((choose_dtype("auto", half, gpu, 2'000'000'000) == at::kHalf));
  CHECK((choose_dtype("auto", half, cpu, 2'000'000'000) == at::kFloat));
  CHECK((choose_dtype("float32", full, gpu, 2'000'000'000) == at::kFloat));
  CHECK(
      contains(message_of(ErrorCode::invalid_argument, [&] { choose_dtype("int4", full, gpu, 1); }),
               "int4"));
}

TEST_CASE("a warm model wakes without the disk, and a cold one does not") {
  const TemporaryFolder folder;
  TinyBert().write(folder);
  Runtime runtime({.device = "cpu", .num_threads = 1, .host_copies = true, .reaper = false});
  const auto model = runtime.model(ModelPath(folder.path()));
  auto vector = [&] {
    return to_vector(model->run({row_of(3, 5)}, {.pooled = true}).rows[0].pooled);
  };
  const auto before = vector();
  const std::uint64_t bytes = Checkpoint::open(folder.path()).nbytes();
  CHECK(model->status()["state"] == "hot");
  CHECK(model->status()["bytes"] == bytes);
  CHECK(model->status()["host_bytes"] == bytes);
  CHECK(runtime.residency().used(c10::kCPU) == 2 * bytes);

  REQUIRE(model->unload_if_idle(SteadyTime::max()));
  CHECK(model->status()["state"] == "warm");
  CHECK(runtime.residency().used(c10::kCPU) == bytes);
  std::filesystem::rename(folder / "model.safetensors", folder / "hidden");
  CHECK(vector() == before);
  CHECK(model->status()["wakes"] == 1);

  runtime.unload_all();
  CHECK(model->status()["state"] == "cold");
  CHECK(runtime.residency().used(c10::kCPU) == 0);
  message_of(ErrorCode::not_found, [&] { vector(); });
  std::filesystem::rename(folder / "hidden", folder / "model.safetensors");
  CHECK(vector() == before);  // a failed load is tried again
}

TEST_CASE("on a CPU a warm model is its open files: they may vanish from the folder") {
  const TemporaryFolder folder;
  TinyBert().write(folder);
  Runtime runtime({.device = "cpu", .num_threads = 1, .reaper = false});
  const auto model = runtime.model(ModelPath(folder.path()));
  model->run({row_of(3, 5)}, {.pooled = true});
  REQUIRE(model->unload_if_idle(SteadyTime::max()));
  CHECK(model->status()["state"] == "warm");
  CHECK(runtime.residency().used(c10::kCPU) == 0);
  std::filesystem::remove(folder / "model.safetensors");
  CHECK(model->run({row_of(3, 5)}, {.pooled = true}).rows.size() == 1);
}

TEST_CASE("a warm copy is the first to go when others need its room") {
  const TemporaryFolder one, two;
  TinyBert().write(one);
  TinyBert().write(two);
  const std::uint64_t bytes = Checkpoint::open(one.path()).nbytes();
  Runtime runtime({.device = "cpu",
                   .num_threads = 1,
                   .host_memory = 3 * bytes - 1,
                   .host_copies = true,
                   .reaper = false});
  const auto first = runtime.model(ModelPath(one.path())),
             second = runtime.model(ModelPath(two.path()));
  first->run({row_of(3, 5)}, {});
  CHECK(first->status()["host_bytes"] == bytes);
  second->run({row_of(3, 5)},
              {});  // the first's copy went for it, and there is no room for its own
  CHECK(first->status()["host_bytes"] == 0);
  CHECK(first->status()["state"] == "hot");
  CHECK(second->status()["host_bytes"] == 0);
  CHECK(runtime.residency().used(c10::kCPU) == 2 * bytes);
}

// What a model costs in memory and in loading time, and what comes back when it goes.
//
//   bench/residency MODEL_FOLDER [--device cpu|cuda:N] [--cycles 1000] [--made-gb 0]
//
// Prints a line of JSON a figure: bytes resident before the first load, loaded, after a call, after
// unloading; load time from the disk, from the page cache, and from warm; growth over the cycles.
// --made-gb also measures a made-up Llama folder of about that size (bfloat16), in $TMPDIR.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "gpu_runtime/device.h"
#include "gpu_runtime/runtime.h"

namespace {

using namespace gpumcp::gpu_runtime;
namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

double ms_since(Clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
}

void print(const std::string& what, double value, const char* unit) {
  std::puts(Json{{"figure", what}, {"value", value}, {"unit", unit}}.dump().c_str());
  std::fflush(stdout);
}
void print_mb(const std::string& what, std::uint64_t bytes) {
  print(what, static_cast<double>(bytes) / 1e6, "MB");
}

// Out of the page cache, as far as the system lets us.
void forget_pages(const fs::path& folder) {
  for (const auto& entry : fs::directory_iterator(folder)) {
    const int fd = ::open(entry.path().c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) continue;
    ::fdatasync(fd);
    ::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    ::close(fd);
  }
}

TokenRow short_text() { return {{101, 7592, 2088, 102}, {}}; }

struct Measured {
  Runtime& runtime;
  std::shared_ptr<ResidentModel> model;
  TokenRow row;

  // Loads by a call; how long the load took.
  double load_ms() {
    CallScope scope;
    model->run({row}, {.last_hidden_state = true});
    return scope.usage().load_ms;
  }
  void unload(bool warm) {
    model->unload_if_idle(SteadyTime::max());
    if (!warm) model->forget_if_idle(SteadyTime::max());
  }
};

void measure_loads(Measured& m, const fs::path& folder, const std::string& name) {
  const double gb = static_cast<double>(Checkpoint::open(folder).nbytes()) / 1e9;
  print(name + ": weights on disk", gb, "GB");
  auto best = [&](const std::string& how, int times, auto&& prepare) {
    std::vector<double> took;
    for (int i = 0; i < times; ++i) {
      prepare();
      took.push_back(m.load_ms());
    }
    std::ranges::sort(took);
    print(name + ": load, " + how + ", median", took[took.size() / 2], "ms");
    print(name + ": load, " + how + ", per GB", took[took.size() / 2] / gb, "ms/GB");
  };
  best("files not in the page cache", 3, [&] {
    m.unload(false);
    forget_pages(folder);
  });
  best("files in the page cache", 5, [&] { m.unload(false); });
  best("warm", 5, [&] { m.unload(true); });
}

// A Llama of random bfloat16 weights.
void make_llama(const fs::path& folder, double gb) {
  constexpr std::int64_t kWidth = 2048, kInner = 8192, kVocabulary = 32000;
  const double per_layer = 2.0 * (4 * kWidth * kWidth + 3 * kInner * kWidth);
  const auto layers = std::max<std::int64_t>(
      1, static_cast<std::int64_t>((gb * 1e9 - 2.0 * kVocabulary * kWidth) / per_layer));
  Json config{{"model_type", "llama"},       {"hidden_size", kWidth},
              {"intermediate_size", kInner}, {"num_hidden_layers", layers},
              {"num_attention_heads", 16},   {"num_key_value_heads", 16},
              {"vocab_size", kVocabulary},   {"max_position_embeddings", 2048},
              {"rms_norm_eps", 1e-6},        {"tie_word_embeddings", true},
              {"torch_dtype", "bfloat16"}};
  std::ofstream(folder / "config.json") << config.dump();
  std::vector<std::pair<std::string, std::vector<std::int64_t>>> tensors{
      {"model.embed_tokens.weight", {kVocabulary, kWidth}}, {"model.norm.weight", {kWidth}}};
  for (std::int64_t i = 0; i < layers; ++i) {
    const std::string at = "model.layers." + std::to_string(i) + ".";
    for (const char* part : {"q_proj", "k_proj", "v_proj", "o_proj"})
      tensors.push_back({at + "self_attn." + part + ".weight", {kWidth, kWidth}});
    for (const char* part : {"gate_proj", "up_proj"})
      tensors.push_back({at + "mlp." + part + ".weight", {kInner, kWidth}});
    tensors.push_back({at + "mlp.down_proj.weight", {kWidth, kInner}});
    for (const char* part : {"input_layernorm", "post_attention_layernorm"})
      tensors.push_back({at + part + ".weight", {kWidth}});
  }
  Json header = Json::object();
  std::uint64_t end = 0;
  for (const auto& [name, shape] : tensors) {
    std::uint64_t bytes = 2;
    for (const std::int64_t n : shape) bytes *= static_cast<std::uint64_t>(n);
    header[name] = {{"dtype", "BF16"}, {"shape", shape}, {"data_offsets", {end, end + bytes}}};
    end += bytes;
  }
  const std::string text = header.dump();
  const std::uint64_t length = text.size();
  std::ofstream file(folder / "model.safetensors", std::ios::binary);
  file.write(reinterpret_cast<const char*>(&length), 8);
  file << text;
  // Small numbers of both signs: exponent 0x3c, random mantissas.
  std::mt19937 random(1);
  std::vector<std::uint16_t> block(1 << 20);
  for (auto& value : block)
    value = static_cast<std::uint16_t>(0x3c00u | (random() & 0x7f) | ((random() & 1) << 15));
  for (std::uint64_t at = 0; at < end; at += block.size() * 2) {
    file.write(reinterpret_cast<const char*>(block.data()),
               static_cast<std::streamsize>(std::min<std::uint64_t>(block.size() * 2, end - at)));
  }
}

}  // namespace

int main(int argc, char** argv) {
  std::string folder, device = "cpu";
  int cycles = 1000;
  double made_gb = 0;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    const bool more = i + 1 < argc;
    if (argument == "--device" && more) {
      device = argv[++i];
    } else if (argument == "--cycles" && more) {
      cycles = std::atoi(argv[++i]);
    } else if (argument == "--made-gb" && more) {
      made_gb = std::atof(argv[++i]);
    } else if (folder.empty() && !argument.starts_with("--")) {
      folder = argument;
    } else {
      folder.clear();
      break;
    }
  }
  if (folder.empty()) {
    std::fprintf(stderr,
                 "usage: %s MODEL_FOLDER [--device cpu|cuda:N] [--cycles N] [--made-gb N]\n",
                 argv[0]);
    return 1;
  }
  Runtime runtime({.device = device, .model_idle = std::nullopt, .reaper = false});
  Measured m{runtime, runtime.model(ModelPath(folder)), short_text()};
  print_mb("resident before the first load", resident_memory());
  m.load_ms();
  print_mb("resident, loaded and called once", resident_memory());
  print_mb("weights as counted", m.model->status()["bytes"].get<std::uint64_t>());
  m.unload(true);
  print_mb("resident, warm", resident_memory());
  m.unload(false);
  const std::uint64_t after_first = resident_memory();
  print_mb("resident, unloaded", after_first);
  measure_loads(m, folder, fs::path(folder).filename().string());

  std::uint64_t at_tenth = 0;
  const auto began = Clock::now();
  for (int i = 1; i <= cycles; ++i) {
    m.load_ms();
    m.unload(false);
    if (i == std::max(1, cycles / 10)) at_tenth = resident_memory();
  }
  if (cycles > 0) {
    print("cycles of load, call, unload", cycles, "");
    print("a cycle", ms_since(began) / cycles, "ms");
    print_mb("resident, unloaded, after a tenth of the cycles", at_tenth);
    print_mb("resident, unloaded, after all", resident_memory());
  }

  if (made_gb > 0) {
    std::string made = (fs::temp_directory_path() / "gpumcp-bench-XXXXXX").string();
    if (::mkdtemp(made.data()) == nullptr) return 1;
    make_llama(made, made_gb);
    Measured large{runtime, runtime.model(ModelPath(made), {.dtype = "bfloat16"}), {{1, 2, 3}, {}}};
    measure_loads(large, made, "made-up Llama");
    print_mb("made-up Llama: resident, loaded", resident_memory());
    large.unload(false);
    print_mb("made-up Llama: resident, unloaded", resident_memory());
    fs::remove_all(made);
  }
  return 0;
}

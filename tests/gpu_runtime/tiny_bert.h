#pragma once

// Writes a BERT folder of a few kilobytes, and lets a test spoil one thing in it.
#include <cmath>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "gpu_runtime/json.h"
#include "support.h"

namespace gpumcp::gpu_runtime {

struct TinyBert {
  Json config{{"model_type", "bert"},    {"hidden_size", 8},
              {"num_hidden_layers", 2},  {"num_attention_heads", 2},
              {"intermediate_size", 16}, {"vocab_size", 20},
              {"type_vocab_size", 2},    {"max_position_embeddings", 12},
              {"layer_norm_eps", 1e-12}, {"hidden_act", "gelu"}};
  std::string prefix;
  std::map<std::string, std::vector<std::int64_t>> shapes;
  std::map<std::string, float> first_value;  // overrides a tensor's first element

  TinyBert() {
    shapes = {{"embeddings.word_embeddings.weight", {20, 8}},
              {"embeddings.position_embeddings.weight", {12, 8}},
              {"embeddings.token_type_embeddings.weight", {2, 8}}};
    norm("embeddings.LayerNorm");
    for (std::string layer : {"encoder.layer.0.", "encoder.layer.1."}) {
      for (const char* part : {"query", "key", "value"})
        linear(layer + "attention.self." + part, 8, 8);
      linear(layer + "attention.output.dense", 8, 8);
      linear(layer + "intermediate.dense", 16, 8);
      linear(layer + "output.dense", 8, 16);
      norm(layer + "attention.output.LayerNorm");
      norm(layer + "output.LayerNorm");
    }
  }

  void write(const TemporaryFolder& folder) const {
    folder.write("config.json", config.dump());
    Json header = Json::object();
    std::string data;
    unsigned state = 1;
    for (const auto& [name, shape] : shapes) {
      std::size_t count = 1;
      for (std::int64_t n : shape) count *= static_cast<std::size_t>(n);
      std::vector<float> values(count);
      for (float& value : values) {
        state = state * 1664525u + 1013904223u;
        value = static_cast<float>(state >> 8) / 16777216.0f - 0.5f;
      }
      if (auto set = first_value.find(name); set != first_value.end()) values[0] = set->second;
      header[prefix + name] = {{"dtype", "F32"},
                               {"shape", shape},
                               {"data_offsets", {data.size(), data.size() + count * 4}}};
      data.append(reinterpret_cast<const char*>(values.data()), count * 4);
    }
    const std::string text = header.dump();
    const std::uint64_t length = text.size();
    std::string file(reinterpret_cast<const char*>(&length), 8);
    folder.write("model.safetensors", file + text + data);
  }

 private:
  void linear(const std::string& name, std::int64_t out, std::int64_t in) {
    shapes[name + ".weight"] = {out, in};
    shapes[name + ".bias"] = {out};
  }
  void norm(const std::string& name) {
    shapes[name + ".weight"] = {8};
    shapes[name + ".bias"] = {8};
  }
};

}  // namespace gpumcp::gpu_runtime

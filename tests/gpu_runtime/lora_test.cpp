// LoRA adapters against PEFT on the random models (tests/golden/lora/make.py) and on SmolLM2; and
// rows of different adapters in one batch.
#include "gpu_runtime/lora.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cos.h>
#include <ATen/ops/sin.h>
#include <doctest/doctest.h>

#include <future>

#include "gpu_runtime/auto_model.h"
#include "gpu_runtime/runtime.h"
#include "gpu_runtime/safetensors.h"
#include "gpu_runtime/tensors.h"
#include "smollm2.h"
#include "tiny_models.h"

using namespace gpumcp::gpu_runtime;

namespace {

using Tokens = std::vector<std::int32_t>;
using AdapterPtr = std::shared_ptr<const LoraAdapter>;

std::filesystem::path lora_folder(const std::string& name) {
  return golden_folder() / "lora" / name;
}
AdapterPtr golden_adapter(const std::string& name) {
  return LoraAdapter::open(lora_folder(name), name);
}
Json golden_of(const std::string& name) {
  return read_json_file(lora_folder("expected.json")).at(name);
}
AutoModelForCausalLM open_model(const std::filesystem::path& folder) {
  return AutoModelForCausalLM::from_pretrained(folder, {}, &cpu_runtime());
}
std::shared_ptr<RowTaps> taps_with(AdapterPtr adapter) {
  auto taps = std::make_shared<RowTaps>();
  taps->adapter = std::move(adapter);
  return taps;
}
Generation generate(const AutoModelForCausalLM& model, const Tokens& prompt, std::int64_t tokens,
                    const AdapterPtr& adapter) {
  GenerationOptions options{.max_new_tokens = tokens, .do_sample = false};
  if (adapter) options.taps = taps_with(adapter);
  std::vector<Encoding> rows(1);
  rows[0].ids = prompt;
  return model.generate(BatchEncoding(std::move(rows)), options).at(0);
}

// The random models have no tokenizers, so their texts are made of ids alone.
Tokens generate_ids(const std::string& base, const Tokens& prompt, const AdapterPtr& adapter) {
  auto model = cpu_runtime().model(tiny_folder(base), {});
  GenerationRequest request{.prompt = prompt, .config = {.max_new_tokens = 8}};
  request.taps = taps_with(adapter);
  return model->generate({request}, nullptr).sequences.at(0).tokens;
}

// The adapter of smollm2.json, its weights by make.py's formula, as PEFT would save it; `factor`
// times as strong.
AdapterPtr smollm2_adapter(const TemporaryFolder& folder, double factor = 1) {
  std::vector<at::Tensor> kept;
  std::vector<NamedArray> arrays;
  auto add = [&](const std::string& name, const at::Tensor& made) {
    kept.push_back(made.to(at::kFloat).contiguous());
    const at::Tensor& t = kept.back();
    arrays.push_back({name,
                      Dtype::f32,
                      t.sizes().vec(),
                      {static_cast<const std::byte*>(t.const_data_ptr()), t.nbytes()}});
  };
  for (std::int64_t layer = 0; layer < 30; ++layer) {
    for (const auto& [module, out] : {std::pair{"q_proj", 576}, std::pair{"v_proj", 192}}) {
      const std::string at = "base_model.model.model.layers." + std::to_string(layer) +
                             ".self_attn." + module + ".lora_";
      auto rows = [](std::int64_t n) { return at::arange(n, at::kDouble).unsqueeze(1); };
      auto columns = [](std::int64_t n) { return at::arange(n, at::kDouble).unsqueeze(0); };
      const auto first = static_cast<double>(layer + 1);
      add(at + "A.weight", at::sin(rows(4) * 0.7 + columns(576) + first) * 0.02);
      add(at + "B.weight", at::cos(rows(out) + columns(4) * 0.7 + first) * (0.02 * factor));
    }
  }
  folder.write("adapter_model.safetensors", write_safetensors(arrays));
  folder.write("adapter_config.json", R"({"peft_type": "LORA", "r": 4, "lora_alpha": 16,
      "target_modules": ["q_proj", "v_proj"], "bias": "none"})");
  return LoraAdapter::open(folder.path(), "wave");
}

}  // namespace

TEST_CASE("logits under an adapter are PEFT's") {
  for (const std::string name : {"llama_all", "llama_few", "gemma2", "qwen3", "gpt2"}) {
    const Json golden = golden_of(name);
    const auto model = open_model(tiny_folder(golden["base"]));
    const TokenRow row{golden["ids"].get<Tokens>(), {}, taps_with(golden_adapter(name))};
    const at::Tensor logits = model(std::vector<TokenRow>{row}).logits[0].slice(0, -3);
    const auto wanted = golden["logits"].get<std::vector<std::vector<float>>>();
    float most = 0;
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      const std::vector<float> got = to_vector(logits[static_cast<std::int64_t>(i)]);
      REQUIRE(got.size() == wanted[i].size());
      most = std::max(most, max_difference(got.data(), wanted[i].data(), got.size()));
    }
    MESSAGE(name, ": logits differ by ", most);
    CHECK(most <= 1e-4f);
    const TokenRow plain{golden["ids"].get<Tokens>(), {}};
    CHECK_FALSE(model(std::vector<TokenRow>{plain}).logits[0].slice(0, -3).allclose(logits, 0.1));
  }
}

TEST_CASE("texts generated under an adapter are PEFT's") {
  for (const std::string name : {"llama_all", "llama_few", "gemma2", "qwen3", "gpt2"}) {
    CAPTURE(name);
    const Json golden = golden_of(name);
    const std::string base = golden["base"];
    CHECK(generate_ids(base, tiny_row(base, "short").ids, golden_adapter(name)) ==
          golden["greedy"].get<Tokens>());
  }
}

TEST_CASE("SmolLM2 under an adapter writes what PEFT makes it write, and without it as before") {
  const TemporaryFolder folder;
  const AdapterPtr adapter = smollm2_adapter(folder);
  const auto model = open_model(smollm2_folder());
  const auto tokenizer = AutoTokenizer::from_pretrained(smollm2_folder(), &cpu_runtime());
  for (const Json& one : read_json_file(lora_folder("smollm2.json"))) {
    const Tokens prompt = tokenizer(one["prompt"].get<std::string>()).rows()[0].ids;
    CHECK(generate(model, prompt, 16, adapter).tokens == one["adapted"].get<Tokens>());
    CHECK(generate(model, prompt, 16, nullptr).tokens == one["plain"].get<Tokens>());
  }
}

TEST_CASE("rows of several adapters and of none share a batch and equal their single runs") {
  const TemporaryFolder first, second;
  const AdapterPtr adapters[] = {nullptr, smollm2_adapter(first), smollm2_adapter(second, -3)};
  const auto model = open_model(smollm2_folder());
  const Tokens ids{504, 3575, 282, 4649, 314};
  std::vector<TokenRow> rows;
  for (std::size_t i = 0; i < 6; ++i) {
    auto taps = taps_with(adapters[i % 3]);
    taps->captures = {{{SiteKind::final_norm, 0}, {}, true}};
    if (i == 5) {
      taps->edits = {{{SiteKind::resid_post, 10},
                      EditKind::add,
                      at::sin(at::arange(1, 577, at::kDouble)).to(at::kFloat),
                      3,
                      {}}};
    }
    rows.push_back({Tokens(ids.begin(), ids.end() - static_cast<std::ptrdiff_t>(i % 2)), {}, taps});
  }
  const auto together = model.capture(rows);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    CAPTURE(i);
    CHECK(together[i][0].equal(model.capture({rows[i]})[0][0]));
  }
  CHECK_FALSE(together[0][0].equal(together[4][0]));
  CHECK_FALSE(together[2][0].equal(together[4][0]));
}

TEST_CASE("texts of several adapters and of none are generated in the same steps, as alone") {
  const TemporaryFolder first, second;
  const AdapterPtr adapters[] = {nullptr, smollm2_adapter(first), smollm2_adapter(second, -3)};
  const auto model = open_model(smollm2_folder());
  const Tokens prompt{504, 3575, 282, 4649, 314};
  std::vector<std::future<Generation>> running;
  for (const AdapterPtr& adapter : adapters) {
    running.push_back(
        std::async(std::launch::async, [&] { return generate(model, prompt, 12, adapter); }));
  }
  std::vector<Tokens> together;
  for (auto& one : running) together.push_back(one.get().tokens);
  for (std::size_t i = 0; i < 3; ++i)
    CHECK(generate(model, prompt, 12, adapters[i]).tokens == together[i]);
  CHECK(together[0] != together[2]);
}

TEST_CASE("an adapter's bytes count with its model's while that is loaded") {
  Runtime runtime({.device = "cpu", .num_threads = 1, .model_idle = std::nullopt});
  const auto model = AutoModelForCausalLM::from_pretrained(tiny_folder("llama"), {}, &runtime);
  const AdapterPtr adapter = golden_adapter("llama_all");
  auto bytes = [&] { return runtime.status()["models"][0]["adapter_bytes"]; };
  const TokenRow plain{{1, 2, 3}, {}};
  model(std::vector<TokenRow>{plain});
  CHECK(bytes() == 0);
  const std::uint64_t before = runtime.residency().used(c10::kCPU);
  const TokenRow row{{1, 2, 3}, {}, taps_with(adapter)};
  model(std::vector<TokenRow>{row});
  model(std::vector<TokenRow>{row});
  CHECK(bytes() == adapter->nbytes());
  CHECK(runtime.residency().used(c10::kCPU) == before + adapter->nbytes());
  runtime.unload_all();
  CHECK(runtime.residency().used(c10::kCPU) == 0);
}

TEST_CASE("an adapter for which there is no room is refused, and the model serves on") {
  const AdapterPtr adapter = golden_adapter("llama_all");
  RuntimeOptions options{.device = "cpu", .num_threads = 1, .model_idle = std::nullopt};
  options.host_memory = measure_model({.folder = tiny_folder("llama")}) + adapter->nbytes() - 1;
  Runtime runtime(std::move(options));
  const auto model = AutoModelForCausalLM::from_pretrained(tiny_folder("llama"), {}, &runtime);
  const TokenRow row{{1, 2, 3}, {}, taps_with(adapter)}, plain{{1, 2, 3}, {}};
  CHECK(contains(message_of(ErrorCode::out_of_memory, [&] { model(std::vector<TokenRow>{row}); }),
                 "llama_all"));
  CHECK(model(std::vector<TokenRow>{plain}).logits.defined());
}

TEST_CASE("a name of an adapter is its base, and is read once") {
  RuntimeOptions options{.device = "cpu"};
  options.model_overrides["org/base"] = tiny_folder("llama");
  options.adapters["tone"] = {lora_folder("llama_all"), "org/base"};
  options.adapters["lost"] = {lora_folder("llama_few")};  // says that its base is "llama"
  options.adapters["twice"] = {lora_folder("llama_few"), "tone"};
  Runtime runtime(std::move(options));
  CHECK(runtime.find_model("tone").folder == tiny_folder("llama"));
  CHECK(runtime.find_model("lost").name == "llama");
  CHECK(runtime.is_adapter("tone"));
  CHECK_FALSE(runtime.is_adapter("org/base"));
  const AdapterPtr one = runtime.adapter("tone");
  CHECK(runtime.adapter("tone") == one);
  CHECK(one->modules().size() == 14);
  CHECK(contains(message_of(ErrorCode::not_found, [&] { runtime.adapter("none such"); }),
                 "lost, tone, twice"));
  CHECK(contains(message_of(ErrorCode::invalid_argument, [&] { runtime.find_model("twice"); }),
                 "an adapter itself"));
}

TEST_CASE("what is no plain LoRA of linear layers is refused by name") {
  struct Case {
    Json changes;
    const char* says;
    ErrorCode code;
  };
  for (const Case& one : std::initializer_list<Case>{
           {{{"peft_type", "IA3"}}, "IA3", ErrorCode::unsupported},
           {{{"use_dora", true}}, "use_dora", ErrorCode::unsupported},
           {{{"modules_to_save", {"lm_head"}}}, "modules_to_save", ErrorCode::unsupported},
           {{{"bias", "all"}}, "bias", ErrorCode::unsupported},
           {{{"rank_pattern", {{"layers.[01].q", 3}}}}, "regular", ErrorCode::unsupported},
           {{{"r", 5}}, "says rank 5", ErrorCode::corrupt_checkpoint},
           {{{"r", 0}}, "\"r\"", ErrorCode::corrupt_checkpoint},
           {{{"lora_alpha", "many"}}, "lora_alpha", ErrorCode::corrupt_checkpoint}}) {
    CAPTURE(one.says);
    const TemporaryFolder folder;
    Json config = read_json_file(lora_folder("llama_all") / "adapter_config.json");
    config.update(one.changes);
    folder.write("adapter_config.json", config.dump());
    folder.write("adapter_model.safetensors",
                 read_text_file(lora_folder("llama_all") / "adapter_model.safetensors"));
    CHECK(contains(message_of(one.code, [&] { LoraAdapter::open(folder.path()); }), one.says));
  }
}

TEST_CASE("adapter files that are missing, pickled or broken are told apart") {
  const TemporaryFolder folder;
  auto said = [&](ErrorCode code) {
    return message_of(code, [&] { LoraAdapter::open(folder.path()); });
  };
  CHECK(contains(said(ErrorCode::not_found), "adapter_config.json"));
  folder.write("adapter_config.json", "{\"peft_type\": \"LORA\", \"r\": 2, ");
  CHECK(contains(said(ErrorCode::corrupt_checkpoint), "adapter_config.json"));
  folder.write("adapter_config.json", R"({"peft_type": "LORA", "r": 2, "lora_alpha": 2})");
  CHECK(contains(said(ErrorCode::not_found), "adapter_model.safetensors"));
  folder.write("adapter_model.bin", "pickle");
  CHECK(contains(said(ErrorCode::unsupported), "pickle"));
  auto weights = [&](std::vector<std::pair<std::string, std::vector<std::int64_t>>> tensors,
                     float value = 1) {
    std::vector<std::vector<float>> kept;
    std::vector<NamedArray> arrays;
    for (const auto& [name, shape] : tensors) {
      std::size_t count = 1;
      for (const std::int64_t n : shape) count *= static_cast<std::size_t>(n);
      kept.emplace_back(count, value);
      arrays.push_back({name, Dtype::f32, shape, std::as_bytes(std::span(kept.back()))});
    }
    folder.write("adapter_model.safetensors", write_safetensors(arrays));
  };
  const std::string at = "base_model.model.model.layers.0.self_attn.q_proj.lora_";
  weights({});
  CHECK(contains(said(ErrorCode::corrupt_checkpoint), "no tensors"));
  weights({{at + "A.weight", {2, 32}}});
  CHECK(contains(said(ErrorCode::corrupt_checkpoint), "without its lora_B"));
  weights({{at + "B.weight", {32, 2}}});
  CHECK(contains(said(ErrorCode::corrupt_checkpoint), "without its lora_A"));
  weights({{at + "A.weight", {2, 32}}, {at + "B.weight", {32, 3}}});
  CHECK(contains(said(ErrorCode::corrupt_checkpoint), "[32, 3]"));
  weights({{at + "A.weight", {64}}, {at + "B.weight", {32, 2}}});
  CHECK(contains(said(ErrorCode::corrupt_checkpoint), "no matrix"));
  weights({{"base_model.model.model.embed_tokens.lora_embedding_A", {2, 96}}});
  CHECK(contains(said(ErrorCode::unsupported), "lora_embedding_A"));
  weights({{at + "A.weight", {2, 32}}, {at + "B.weight", {32, 2}}},
          std::numeric_limits<float>::quiet_NaN());
  CHECK(contains(said(ErrorCode::corrupt_checkpoint), "NaN"));
}

TEST_CASE("an adapter of another base is refused with both shapes; encoders take none") {
  auto said = [&](const std::string& base, const std::string& adapter, ErrorCode code) {
    const auto model = cpu_runtime().model(tiny_folder(base));
    TokenRow row = tiny_row(base, "short");
    row.taps = taps_with(golden_adapter(adapter));
    return message_of(code, [&] { model->run({row}, {.last_hidden_state = true}); });
  };
  CHECK(contains(said("llama_biased", "llama_few", ErrorCode::invalid_argument),
                 "from 32 to 32 numbers, and the model's from 32 to 48"));
  CHECK(contains(said("llama", "gemma2", ErrorCode::invalid_argument),
                 "from 32 to 32 numbers, and the model's from 32 to 16"));
  CHECK(contains(said("llama", "gpt2", ErrorCode::invalid_argument), "self_attn.q_proj"));
  CHECK(contains(said("bert", "llama_few", ErrorCode::unsupported), "take no adapters"));
  CHECK(contains(message_of(ErrorCode::invalid_argument,  // while a text is generated too
                            [&] { generate_ids("llama", {1, 2}, golden_adapter("gpt2")); }),
                 "does not fit"));
}

// AOTInductor packages and TorchScript modules (tests/golden/modules, made by make.py there).
#include <doctest/doctest.h>

#include <filesystem>

#include "fake_model.h"
#include "gpu_runtime/auto_model.h"
#include "gpu_runtime/model_loader.h"
#include "gpu_runtime/runtime.h"
#include "gpu_runtime/tensors.h"
#include "minilm_golden.h"
#include "support.h"

using namespace gpumcp::gpu_runtime;

namespace {

const std::filesystem::path kFolder = golden_folder() / "modules";

struct Expected {
  std::vector<TokenRow> rows;
  std::vector<std::vector<float>> hidden;  // of each row, flat
};

Expected expected() {
  const Json json = read_json_file(kFolder / "expected.json");
  Expected out;
  for (const Json& ids : json.at("rows"))
    out.rows.push_back({ids.get<std::vector<std::int32_t>>(), {}});
  for (const Json& row : json.at("last_hidden_state")) {
    std::vector<float> flat;
    for (const Json& token : row) {
      for (const Json& value : token) flat.push_back(value.get<float>());
    }
    out.hidden.push_back(std::move(flat));
  }
  return out;
}

// The package is native code for x86-64.
bool can_run(const std::string& file) {
#if defined(__x86_64__)
  (void)file;
  return true;
#else
  if (!file.ends_with(".pt2")) return true;
  MESSAGE("the AOTInductor package is for x86-64");
  return false;
#endif
}

struct Rig {
  Runtime runtime{{.device = "cpu", .num_threads = 1, .reaper = false}};
  AutoModel model(const ModelPath& path, ModelOptions options = {}) {
    return AutoModel::from_pretrained(path, options, &runtime);
  }
};

void check_rows(const AutoModel& model) {
  const Expected golden = expected();
  const ModelOutputs together = model(golden.rows);
  for (std::size_t i = 0; i < golden.rows.size(); ++i) {
    const auto length = static_cast<std::int64_t>(golden.rows[i].ids.size());
    const auto own = to_vector(
        together.last_hidden_state.select(0, static_cast<std::int64_t>(i)).narrow(0, 0, length));
    const auto alone = to_vector(model({golden.rows[i]}).last_hidden_state);
    REQUIRE(own.size() == golden.hidden[i].size());
    for (std::size_t j = 0; j < own.size(); ++j) {
      CHECK(std::abs(own[j] - golden.hidden[i][j]) < 1e-5f);
      CHECK(std::abs(alone[j] - own[j]) < 1e-5f);
    }
  }
}

}  // namespace

TEST_CASE("a package and a module answer the same call as a folder of weights does") {
  for (const std::string file : {"small.pt", "small.pt2"}) {
    if (!can_run(file)) continue;
    CAPTURE(file);
    Rig rig;
    check_rows(rig.model(ModelPath(kFolder / file)));
    check_rows(
        rig.model(ModelPath(kFolder), {.load_as = file == "small.pt" ? "torchscript" : "aoti"}));
    CHECK(rig.runtime.status()["models"].size() == 2);
    const auto bytes = std::filesystem::file_size(kFolder / file);
    CHECK(rig.runtime.residency().used(c10::kCPU) == 2 * bytes);
    rig.runtime.unload_all();
    CHECK(rig.runtime.residency().used(c10::kCPU) == 0);
  }
}

TEST_CASE("code in a folder is not run because it lies there") {
  Rig rig;
  const auto model = rig.model(ModelPath(kFolder));
  CHECK(contains(message_of(ErrorCode::unsupported, [&] { model({row_of(1, 2)}); }),
                 "model_type \"small-module\" is not supported (supported: bert"));
}

TEST_CASE("tokens that compiled code would not survive are refused before it sees them") {
  for (const std::string file : {"small.pt", "small.pt2"}) {
    if (!can_run(file)) continue;
    Rig rig;
    const auto model = rig.model(ModelPath(kFolder / file));
    CHECK(contains(message_of(ErrorCode::invalid_argument, [&] { model({row_of(20, 2)}); }),
                   "token id 20 is not in the model's vocabulary of 20"));
    CHECK(contains(message_of(ErrorCode::invalid_argument, [&] { model({row_of(1, 13)}); }),
                   "at most 12"));
    message_of(ErrorCode::invalid_argument, [&] { model(std::vector<TokenRow>{}); });
    check_rows(model);
  }
}

TEST_CASE("what a module cannot give is said") {
  Rig rig;
  const auto model = rig.model(ModelPath(kFolder / "small.pt"));
  CHECK(contains(message_of(ErrorCode::unsupported,
                            [&] { model({row_of(1, 2)}, {.output_hidden_states = true}); }),
                 "hidden states of each layer"));
  CHECK(contains(message_of(ErrorCode::invalid_argument,
                            [&] {
                              rig.model(ModelPath(kFolder / "small.pt"),
                                        {.dtype = "float16"})({row_of(1, 2)});
                            }),
                 "leave dtype \"float16\" out"));
  CHECK(
      contains(message_of(ErrorCode::invalid_argument,
                          [&] { rig.model(ModelPath(kFolder), {.load_as = "onnx"})({row_of(1)}); }),
               "auto, native, aoti or torchscript"));
}

TEST_CASE("broken, missing and ambiguous modules are told apart") {
  const TemporaryFolder folder;
  folder.write("config.json", R"({"vocab_size": 20, "max_position_embeddings": 12})");
  folder.write("a.pt", "no archive");
  folder.write("a.pt2", "no archive");
  Rig rig;
  auto call = [&](const std::filesystem::path& path, const std::string& load_as = "auto") {
    rig.model(ModelPath(path), {.load_as = load_as})({row_of(1, 2)});
  };
  for (const char* file : {"a.pt", "a.pt2"}) {
    CHECK(contains(message_of(ErrorCode::corrupt_checkpoint, [&] { call(folder / file); }), file));
  }
  folder.write("b.pt", "no archive");
  CHECK(
      contains(message_of(ErrorCode::invalid_argument, [&] { call(folder.path(), "torchscript"); }),
               "a.pt, b.pt"));
  std::filesystem::remove(folder / "a.pt2");
  CHECK(contains(message_of(ErrorCode::not_found, [&] { call(folder.path(), "aoti"); }), ".pt2"));
  std::filesystem::remove(folder / "config.json");
  CHECK(contains(message_of(ErrorCode::not_found, [&] { call(folder / "a.pt"); }),
                 "there is no config.json beside it"));
}

// BERT folders that are right, wrong, broken and hostile: errors name what is wrong, and nothing
// crashes.
#include <doctest/doctest.h>

#include <limits>

#include "fake_model.h"
#include "gpu_runtime/runtime.h"
#include "gpu_runtime/tensors.h"
#include "tiny_bert.h"

using namespace gpumcp::gpu_runtime;

namespace {

struct Rig {
  TemporaryFolder folder;
  Runtime runtime{[] {
    RuntimeOptions options;
    options.device = "cpu";
    options.num_threads = 1;
    return options;
  }()};

  std::vector<float> pooled(std::vector<TokenRow> rows) {
    return to_vector(runtime.model(ModelPath(folder.path()))
                         ->run(std::move(rows), {.pooled = true})
                         .rows[0]
                         .pooled);
  }
  std::vector<float> pooled() { return pooled({row_of(3)}); }
};

}  // namespace

TEST_CASE("weights with and without the bert. prefix give the same vector") {
  Rig plain, prefixed;
  TinyBert model;
  model.write(plain.folder);
  model.prefix = "bert.";
  model.write(prefixed.folder);
  CHECK(plain.pooled() == prefixed.pooled());
  CHECK(plain.pooled().size() == 8);
}

TEST_CASE("another architecture is refused with its name and the supported ones") {
  Rig rig;
  TinyBert model;
  model.config["model_type"] = "mamba";
  model.write(rig.folder);
  const std::string message = message_of(ErrorCode::unsupported, [&] { rig.pooled(); });
  CHECK(contains(message, "\"mamba\""));
  CHECK(contains(message, "bert"));
}

TEST_CASE("a weight that holds NaN is named with its file") {
  Rig rig;
  TinyBert model;
  model.first_value["encoder.layer.1.output.dense.weight"] =
      std::numeric_limits<float>::quiet_NaN();
  model.write(rig.folder);
  const std::string message = message_of(ErrorCode::corrupt_checkpoint, [&] { rig.pooled(); });
  CHECK(contains(message, "encoder.layer.1.output.dense.weight"));
  CHECK(contains(message, "model.safetensors"));
}

TEST_CASE("a weight of another shape is named with both shapes") {
  Rig rig;
  TinyBert model;
  model.shapes["encoder.layer.0.intermediate.dense.weight"] = {8, 16};
  model.write(rig.folder);
  const std::string message = message_of(ErrorCode::corrupt_checkpoint, [&] { rig.pooled(); });
  CHECK(contains(message, "encoder.layer.0.intermediate.dense.weight"));
  CHECK(contains(message, "[8, 16]"));
  CHECK(contains(message, "[16, 8]"));
}

TEST_CASE("a missing weight is named") {
  Rig rig;
  TinyBert model;
  model.shapes.erase("encoder.layer.1.attention.self.key.bias");
  model.write(rig.folder);
  CHECK(contains(message_of(ErrorCode::corrupt_checkpoint, [&] { rig.pooled(); }),
                 "encoder.layer.1.attention.self.key.bias"));
}

TEST_CASE("configs with impossible numbers are refused") {
  for (auto [key, value] : std::vector<std::pair<std::string, Json>>{{"hidden_size", -1},
                                                                     {"hidden_size", 7},
                                                                     {"num_attention_heads", 0},
                                                                     {"num_hidden_layers", 1e30},
                                                                     {"vocab_size", "many"},
                                                                     {"layer_norm_eps", -1}}) {
    Rig rig;
    TinyBert model;
    model.config[key] = value;
    model.write(rig.folder);
    CHECK(contains(message_of(ErrorCode::corrupt_checkpoint, [&] { rig.pooled(); }), key));
  }
}

TEST_CASE("a half downloaded file is an error of the call, and the call after the download works") {
  Rig rig;
  TinyBert model;
  model.write(rig.folder);
  const auto file = rig.folder / "model.safetensors";
  std::filesystem::resize_file(file, std::filesystem::file_size(file) / 2);
  message_of(ErrorCode::corrupt_checkpoint, [&] { rig.pooled(); });
  model.write(rig.folder);
  CHECK(rig.pooled().size() == 8);
}

TEST_CASE(
    "ids, types and lengths that the model does not have are refused before they reach a kernel") {
  Rig rig;
  TinyBert().write(rig.folder);
  CHECK(contains(message_of(ErrorCode::invalid_argument, [&] { rig.pooled({row_of(20)}); }),
                 "token id 20"));
  CHECK(contains(message_of(ErrorCode::invalid_argument, [&] { rig.pooled({row_of(-1)}); }),
                 "token id -1"));
  CHECK(contains(message_of(ErrorCode::invalid_argument, [&] { rig.pooled({row_of(1, 13)}); }),
                 "at most 12"));
  CHECK(contains(message_of(ErrorCode::invalid_argument, [&] { rig.pooled({row_of(1, 0)}); }),
                 "without tokens"));
  CHECK(contains(message_of(ErrorCode::invalid_argument, [&] { rig.pooled({{{1, 2}, {0, 2}}}); }),
                 "token type 2"));
  CHECK(rig.pooled().size() == 8);
}

TEST_CASE("token types change the vector, and a row's vector does not depend on its batch") {
  Rig rig;
  TinyBert().write(rig.folder);
  const std::vector<float> alone = rig.pooled({{{1, 2, 3}, {0, 0, 1}}});
  CHECK(alone != rig.pooled({{{1, 2, 3}, {0, 0, 0}}}));
  const std::vector<float> among =
      rig.pooled({{{1, 2, 3}, {0, 0, 1}}, row_of(4, 3), row_of(5, 9), row_of(6, 1)});
  for (std::size_t i = 0; i < alone.size(); ++i)
    CHECK(alone[i] == doctest::Approx(among[i]).epsilon(1e-5));
}

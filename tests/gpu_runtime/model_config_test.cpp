#include "gpu_runtime/model_config.h"

#include <doctest/doctest.h>

#include <string>

#include "tests/gpu_runtime/minilm.h"
#include "tests/gpu_runtime/support.h"

using namespace gpumcp::gpu_runtime;

namespace {

ModelConfig config_of(const std::string& json) {
  return ModelConfig::from_json(parse_json(json, "config.json"), "config.json");
}

constexpr const char* kTransformer =
    R"({"path":"","type":"sentence_transformers.models.Transformer"})";
constexpr const char* kPooling =
    R"({"path":"1_Pooling","type":"sentence_transformers.models.Pooling"})";

std::string modules(std::initializer_list<std::string> list) {
  std::string json = "[";
  for (const std::string& module : list) json += (json.size() > 1 ? "," : "") + module;
  return json + "]";
}

}  // namespace

TEST_CASE("the real MiniLM's config and pipeline are read as its files say") {
  const auto folder = minilm_folder();
  const ModelConfig config = ModelConfig::from_pretrained(folder);
  CHECK(config.model_type() == "bert");
  CHECK(config.architectures() == std::vector<std::string>{"BertModel"});
  CHECK(config.get_int("num_hidden_layers", 1, 1000) == 6);
  CHECK(config.get_number("layer_norm_eps", 0, 1) == 1e-12);
  CHECK(config.get_string("hidden_act") == "gelu");
  CHECK(config.dtype() == Dtype::f32);

  const auto pipeline = SentenceTransformerConfig::from_pretrained(folder);
  CHECK(pipeline.has_modules);
  CHECK(pipeline.max_seq_length == 256);
  CHECK(pipeline.pooling == std::vector{PoolingMode::mean});
  CHECK(pipeline.word_embedding_dimension == 384);
  CHECK(pipeline.normalize);  // though there is no 2_Normalize folder
  CHECK(pipeline.dense.empty());
  CHECK(pipeline.include_prompt);
}

TEST_CASE("a getter names the key, what it must be and what it is") {
  const ModelConfig config = config_of(
      R"({"layers":6,"big":18446744073709551615,"text":"x","half":0.5,"nothing":null,"flag":true,"minus":-1})");
  CHECK(config.get_int("layers", 1, 10) == 6);
  CHECK(config.get_int("nothing", 1, 10, 7) == 7);
  CHECK(config.get_int("absent", 1, 10, 7) == 7);
  CHECK(config.get_number("layers", 0, 10) == 6.0);
  CHECK(config.get_bool("flag", false));
  CHECK(config.get_string("absent", "none") == "none");
  CHECK_FALSE(config.has("nothing"));
  const auto says = [&](auto&& f) { return message_of(ErrorCode::corrupt_checkpoint, f); };
  CHECK(contains(says([&] { config.get_int("layers", 1, 5); }),
                 "\"layers\" must be a whole number from 1 to 5, but is the number 6"));
  CHECK(contains(says([&] { config.get_int("big", 0, INT64_MAX); }), "18446744073709551615"));
  CHECK(contains(says([&] { config.get_int("minus", 0, 9); }), "-1"));
  CHECK(contains(says([&] { config.get_int("half", 0, 9); }), "0.5"));
  CHECK(contains(says([&] { config.get_int("text", 0, 9, 3); }), "the string \"x\""));
  CHECK(contains(says([&] { config.get_int("absent", 0, 9); }), "\"absent\" is missing"));
  CHECK(contains(says([&] { config.get_int("nothing", 0, 9); }), "\"nothing\" is missing"));
  CHECK(contains(says([&] { config.get_bool("layers", true); }), "true or false"));
  CHECK(contains(says([&] { config.get_string("layers"); }), "a string"));
  CHECK(contains(says([&] { config.get_number("text", 0, 1); }), "a number from 0 to 1"));
  CHECK(contains(says([] { config_of("[1]"); }), "must hold an object"));
  CHECK(contains(says([] { config_of(R"({"model_type":3})"); }), "model_type"));
}

TEST_CASE("dtype is read by its new and its old name") {
  CHECK(config_of(R"({"torch_dtype":"bfloat16"})").dtype() == Dtype::bf16);
  CHECK(config_of(R"({"dtype":"torch.float16","torch_dtype":"float32"})").dtype() == Dtype::f16);
  CHECK(config_of("{}").dtype() == Dtype::f32);
  CHECK(contains(message_of(ErrorCode::corrupt_checkpoint,
                            [] { config_of(R"({"dtype":"float13"})").dtype(); }),
                 "float13"));
}

TEST_CASE("a missing folder, a half downloaded one and a broken config are told apart") {
  const TemporaryFolder folder;
  CHECK(contains(
      message_of(ErrorCode::not_found, [&] { ModelConfig::from_pretrained(folder / "none"); }),
      "no such model folder"));
  CHECK(contains(
      message_of(ErrorCode::not_found, [&] { ModelConfig::from_pretrained(folder.path()); }),
      "half downloaded: config.json is missing"));
  folder.write("config.json", R"({"hidden_size": 38)");
  CHECK(contains(message_of(ErrorCode::corrupt_checkpoint,
                            [&] { ModelConfig::from_pretrained(folder.path()); }),
                 "not valid JSON"));
}

TEST_CASE(
    "a folder without modules.json pools the mean and does not normalise, as "
    "sentence-transformers") {
  const TemporaryFolder folder;
  folder.write("config.json", "{}");
  const auto config = SentenceTransformerConfig::from_pretrained(folder.path());
  CHECK_FALSE(config.has_modules);
  CHECK(config.pooling == std::vector{PoolingMode::mean});
  CHECK_FALSE(config.normalize);
  CHECK_FALSE(config.max_seq_length.has_value());
}

TEST_CASE("pooling flags, dense layers and prompts are read in sentence-transformers' order") {
  const TemporaryFolder folder;
  folder.write(
      "modules.json",
      modules(
          {kTransformer, kPooling,
           R"({"path":"2_Dense","type":"sentence_transformers.models.Dense"})",
           R"({"path":"3_Normalize","type":"sentence_transformers.base.modules.normalize.Normalize"})"}));
  folder.write(
      "1_Pooling/config.json",
      R"({"word_embedding_dimension":8,"pooling_mode_mean_tokens":true,"pooling_mode_cls_token":true,)"
      R"("pooling_mode_lasttoken":true,"include_prompt":false})");
  folder.write(
      "2_Dense/config.json",
      R"({"in_features":24,"out_features":4,"bias":false,"activation_function":"torch.nn.modules.linear.Identity"})");
  folder.write(
      "config_sentence_transformers.json",
      R"({"prompts":{"query":"Q: ","none":null},"default_prompt_name":"query","similarity_fn_name":"dot"})");
  const auto config = SentenceTransformerConfig::from_pretrained(folder.path());
  CHECK(config.pooling ==
        std::vector{PoolingMode::cls, PoolingMode::mean, PoolingMode::last_token});
  CHECK_FALSE(config.include_prompt);
  REQUIRE(config.dense.size() == 1);
  CHECK(config.dense[0].in_features == 24);
  CHECK(config.dense[0].activation == "Identity");
  CHECK_FALSE(config.dense[0].bias);
  CHECK(config.normalize);
  CHECK(config.prompts.at("query") == "Q: ");
  CHECK(config.default_prompt_name == "query");
  CHECK(config.similarity == "dot");

  folder.write("1_Pooling/config.json", R"({"pooling_mode":"cls"})");
  CHECK(SentenceTransformerConfig::from_pretrained(folder.path()).pooling ==
        std::vector{PoolingMode::cls});
  folder.write("1_Pooling/config.json", R"({"pooling_mode":["mean","max"]})");
  CHECK(SentenceTransformerConfig::from_pretrained(folder.path()).pooling ==
        std::vector{PoolingMode::max, PoolingMode::mean});
}

TEST_CASE("pipelines that would give wrong vectors are refused") {
  struct Case {
    std::string modules, pooling, says;
    ErrorCode code;
  };
  const std::string good = R"({"word_embedding_dimension":8})";
  for (const Case& c : {
           Case{modules({kTransformer}), good, "no Pooling module", ErrorCode::unsupported},
           Case{modules({kPooling}), good, "is not supported", ErrorCode::unsupported},
           Case{modules({kTransformer, kPooling,
                         R"({"path":"2","type":"sentence_transformers.models.LSTM"})"}),
                good, "LSTM", ErrorCode::unsupported},
           Case{modules({kTransformer, R"({"path":"../x","type":"a.Pooling"})"}), good,
                "leaves the model's folder", ErrorCode::corrupt_checkpoint},
           Case{modules({R"({"path":"/etc","type":"a.Transformer"})", kPooling}), good,
                "leaves the model's folder", ErrorCode::corrupt_checkpoint},
           Case{modules({kTransformer, kPooling}), R"({"pooling_mode_mean_tokens":false})",
                "no pooling mode", ErrorCode::corrupt_checkpoint},
           Case{modules({kTransformer, kPooling}), R"({"pooling_mode":"median"})", "median",
                ErrorCode::unsupported},
           Case{modules({kTransformer, kPooling}), R"({"word_embedding_dimension":-1})",
                "word_embedding_dimension", ErrorCode::corrupt_checkpoint},
           Case{"{}", good, "must list 1 to 64 modules", ErrorCode::corrupt_checkpoint},
           Case{"[3]", good, "must hold an object", ErrorCode::corrupt_checkpoint},
       }) {
    CAPTURE(c.modules);
    const TemporaryFolder folder;
    folder.write("modules.json", c.modules);
    folder.write("1_Pooling/config.json", c.pooling);
    CHECK(contains(
        message_of(c.code, [&] { SentenceTransformerConfig::from_pretrained(folder.path()); }),
        c.says));
  }
}

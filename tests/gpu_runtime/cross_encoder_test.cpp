// Cross-encoders against transformers on small random models (tests/golden/cross_encoders).
#include "gpu_runtime/cross_encoder.h"

#include <doctest/doctest.h>

#include <cmath>

#include "gpu_runtime/auto_model.h"
#include "gpu_runtime/tensors.h"
#include "minilm_golden.h"
#include "support.h"
#include "tiny_models.h"

using namespace gpumcp::gpu_runtime;

namespace {

constexpr double kTolerance = 1e-4;

std::filesystem::path folder_of(const std::string& name) {
  return golden_folder() / "cross_encoders" / name;
}

Json pairs_of(const std::string& name) {
  return read_json_file(folder_of(name) / "expected.json").at("pairs");
}

CrossEncoder open(const std::filesystem::path& folder) {
  return CrossEncoder::from_pretrained(ModelPath(folder), {}, &cpu_runtime());
}

// A copy with another config.json.
void copy_with(const TemporaryFolder& to, const std::string& name, const Json& changes) {
  for (const auto& entry : std::filesystem::directory_iterator(folder_of(name)))
    std::filesystem::copy(entry.path(), to / entry.path().filename().string());
  Json config = read_json_file(folder_of(name) / "config.json");
  config.update(changes);
  to.write("config.json", config.dump());
}

}  // namespace

TEST_CASE("a pair's ids, types and cut are those of Hugging Face tokenizers") {
  for (const std::string name : {"bert", "xlm_roberta"}) {
    const Tokenizer tokenizer = Tokenizer::from_pretrained(folder_of(name));
    for (const Json& pair : pairs_of(name)) {
      const Encoding got = tokenizer.encode(pair["query"].get<std::string>(),
                                            pair["text"].get<std::string>(), {.max_length = 24});
      CHECK(got.ids == pair["ids"].get<std::vector<std::int32_t>>());
      CHECK(got.type_ids == pair["type_ids"].get<std::vector<std::int32_t>>());
    }
  }
}

TEST_CASE("scores of pairs are transformers', one by one and in one batch") {
  for (const std::string name : {"bert", "xlm_roberta"}) {
    const CrossEncoder model = open(folder_of(name));
    double most = 0;
    for (const Json& pair : pairs_of(name)) {
      const std::vector<std::string> text{pair["text"].get<std::string>()};
      const std::string query = pair["query"];
      const double wanted = pair["logits"][0];
      most = std::max(most, std::abs(model.scores(query, text, true).scores[0] - wanted));
      CHECK(model.scores(query, text).scores[0] ==
            doctest::Approx(1 / (1 + std::exp(-wanted))).epsilon(1e-4));
    }
    MESSAGE(name, ": scores differ by ", most);
    CHECK(most <= kTolerance);

    const std::vector<std::string> texts{"the cat sat on the mat", "a dog barked at the moon"};
    const PairScores both = model.scores("where is the cat?", texts, true);
    for (std::size_t i = 0; i < 2; ++i) {
      CHECK(std::abs(both.scores[i] - pairs_of(name)[i]["logits"][0].get<double>()) <= kTolerance);
    }
  }
}

TEST_CASE("a pair that is too long is cut, and said to be") {
  const std::vector<std::string> brief{pairs_of("bert")[0]["text"].get<std::string>()};
  CHECK_FALSE(open(folder_of("bert")).scores(pairs_of("bert")[0]["query"], brief).truncated[0]);
  const std::vector<std::string> texts{pairs_of("bert")[5]["text"].get<std::string>()};
  CHECK(open(folder_of("bert")).scores(pairs_of("bert")[5]["query"], texts).truncated[0]);
}

TEST_CASE("heads of every family that has one give transformers' scores") {
  for (const std::string name : {"bert", "xlm_roberta", "distilbert", "mpnet", "qwen3"}) {
    auto model = cpu_runtime().model(ModelPath(folder_of(name)), {});
    std::vector<TokenRow> rows;
    for (const Json& pair : pairs_of(name)) {
      TokenRow row{pair["ids"].get<std::vector<std::int32_t>>(), {}};
      if (pair.contains("type_ids"))
        row.type_ids = pair["type_ids"].get<std::vector<std::int32_t>>();
      rows.push_back(row);
    }
    const ModelResult result = model->run(rows, {.class_scores = true});
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const auto wanted = pairs_of(name)[i]["logits"].get<std::vector<float>>();
      const std::vector<float> got = to_vector(result.rows[i].class_scores);
      REQUIRE(got.size() == wanted.size());
      const float most = max_difference(got.data(), wanted.data(), wanted.size());
      CHECK_MESSAGE(most <= kTolerance, name, " pair ", i, " differs by ", most);
    }
  }
}

TEST_CASE("the function that config.json names is what a score goes through") {
  const std::vector<std::string> text{"the cat sat on the mat"};
  const double raw = pairs_of("bert")[0]["logits"][0];
  for (const Json& changes :
       {Json{{"sentence_transformers", {{"activation_fn", "torch.nn.modules.linear.Identity"}}}},
        Json{{"sbert_ce_default_activation_function", "torch.nn.modules.linear.Identity"}}}) {
    const TemporaryFolder folder;
    copy_with(folder, "bert", changes);
    CHECK(std::abs(open(folder.path()).scores("where is the cat?", text).scores[0] - raw) <=
          kTolerance);
  }
  const TemporaryFolder folder;
  copy_with(folder, "bert", {{"sentence_transformers", {{"activation_fn", "torch.nn.Softmax"}}}});
  CHECK(contains(
      message_of(ErrorCode::unsupported, [&] { open(folder.path()).scores("where", text); }),
      "torch.nn.Softmax"));
}

TEST_CASE("models that give no single score are refused with what they are") {
  const std::vector<std::string> text{"a"};
  const TemporaryFolder plain, three;
  copy_with(plain, "bert", {{"architectures", {"BertModel"}}});
  CHECK(contains(message_of(ErrorCode::unsupported, [&] { open(plain.path()).scores("a", text); }),
                 "scores no pairs"));
  copy_with(three, "bert", {{"id2label", {{"0", "a"}, {"1", "b"}, {"2", "c"}}}});
  CHECK(contains(message_of(ErrorCode::unsupported, [&] { open(three.path()).scores("a", text); }),
                 "3 labels"));
  CHECK(is_cross_encoder(ModelPath(folder_of("bert"))));
  CHECK(is_cross_encoder(ModelPath(folder_of("qwen3"))));
  CHECK_FALSE(is_cross_encoder(ModelPath(folder_of("distilbert"))));
  CHECK_FALSE(is_cross_encoder(ModelPath(plain.path())));
  CHECK_FALSE(is_language_model(ModelPath(folder_of("qwen3"))));
}

TEST_CASE("a head whose size is not what config.json says is refused with both") {
  const TemporaryFolder folder;
  copy_with(folder, "distilbert", {{"id2label", {{"0", "a"}}}});
  const std::string said = message_of(ErrorCode::corrupt_checkpoint, [&] {
    cpu_runtime().model(ModelPath(folder.path()), {})->run({{{5, 6}, {}}}, {.class_scores = true});
  });
  CHECK(contains(said, "classifier.weight"));
  CHECK(contains(said, "[3, 16]"));
}

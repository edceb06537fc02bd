// Every built-in tool's result is small, however much it is given: what is large stays behind a
// URI.
#include <doctest/doctest.h>

#include <filesystem>
#include <set>

#include "interfaces/support.h"

using namespace gpumcp::tests;

namespace {

const std::string kLong(3000, '"');  // each costs two bytes in JSON
constexpr size_t kLimit = 1024;

// A worker whose tools are all to be called.
class Tools {
 public:
  Tools(const std::vector<std::string>& interfaces, Json options = Json::object())
      : worker_(Worker::start(interfaces, std::move(options))) {
    const auto tools = worker_.client().list_tools();
    REQUIRE(tools);
    for (const auto& tool : *tools) left_.insert(tool.name);
  }
  Json operator()(const std::string& name, const Json& arguments = Json::object()) {
    left_.erase(name);
    const CallToolResult result = worker_.call(name, arguments);
    if (result.isError) FAIL(name << ": " << text_of(result));
    CHECK_MESSAGE(result.structuredContent.size() < kLimit, name, " gives ",
                  result.structuredContent.size(), " bytes");
    CHECK_MESSAGE(text_of(result) == result.structuredContent, name);
    return Json::parse(result.structuredContent);
  }
  std::vector<float> numbers(const std::string& uri) {
    return parse_npy(worker_.read_bytes(uri)).values;
  }
  // Those that nobody called: a new tool belongs into this file.
  std::set<std::string> left() const { return left_; }

 private:
  Worker& worker_;
  std::set<std::string> left_;
};

}  // namespace

TEST_CASE("results of embeddings and tensors stay under 1 KB") {
  const auto folder =
      std::filesystem::temp_directory_path() / ("gpumcp-sizes-" + std::to_string(getpid()));
  std::filesystem::create_directory(folder);
  Tools call({"embeddings", "tensors"}, {{"workspace", folder.string()}});
  call("get_model_info");
  call("get_embedding", {{"text", kLong}});
  std::vector<std::string> texts;
  for (int i = 0; i < 256; ++i) texts.push_back(std::to_string(i) + kLong);
  const std::string rows = call("get_embeddings", {{"texts", texts}})["uri"];
  call("search", {{"query", kLong}, {"corpus", texts}, {"top_k", 20}});
  call("rerank", {{"query", kLong}, {"texts", texts}, {"top_k", 20}});
  const std::vector<std::string> queries(texts.begin(), texts.begin() + 16);
  const Json ranked = call("similarity", {{"queries", queries}, {"corpus", {rows}}, {"top_k", 4}});
  const std::vector<float> all = call.numbers(ranked["all"]);
  REQUIRE(all.size() == 16 * 4 * 2);  // index and score of each match of each query
  for (size_t i = 0; i < 16; ++i) {
    CHECK(all[i * 8] == ranked["results"][i]["matches"][0]["index"].get<float>());
    CHECK(all[i * 8 + 1] == ranked["results"][i]["matches"][0]["score"].get<float>());
  }
  const std::string row = rows + "?slice=0";
  call("describe_tensor", {{"tensor", rows}});
  call("slice_tensor", {{"tensor", rows}, {"slice", "0:200"}});
  call("arithmetic", {{"op", "add"}, {"tensors", {rows, rows}}});
  call("cosine", {{"a", rows}, {"b", row}});
  call("top_k", {{"tensor", row}, {"k", 10}});
  const std::string labels = call("cluster", {{"tensor", rows}, {"k", 8}}).value("labels", rows);
  call("pca", {{"tensor", rows}, {"k", 8}});
  call("plot_tensor", {{"tensor", rows}});
  Json several = Json::object();
  for (int i = 0; i < 30; ++i) several["tensor " + std::to_string(i)] = rows;
  call("save_tensor", {{"tensors", several}, {"file", "all.safetensors"}});
  call("load_tensor", {{"file", "all.safetensors"}, {"tensor", "tensor 3"}});
  call("list_artifacts");
  call("drop_artifacts",
       {{"uris",
         std::vector<std::string>(50, "gpumcp://artifacts/00000000000000000000000000000000")}});
  CHECK(call.left() == std::set<std::string>());
  std::filesystem::remove_all(folder);
}

TEST_CASE("results of language_model and interpretability stay under 1 KB by default") {
  Tools call({"language_model", "interpretability"});
  const Json messages = Json::array({{{"role", "user"}, {"content", "Say hello."}}});
  call("get_model_info");
  call("generate", {{"prompt", "Once"}, {"temperature", 0}});
  call("chat", {{"messages", messages}, {"temperature", 0}});
  call("next_tokens", {{"text", kLong}});
  call("score_text", {{"text", kLong}});
  call("tokenize", {{"text", kLong}});

  std::vector<std::string> texts;
  for (int i = 0; i < 64; ++i) texts.push_back("number " + std::to_string(i));
  const std::string read =
      call("get_activations", {{"texts", texts}, {"sites", {"blocks.*.hook_resid_post"}}})["uri"];
  call("get_activations", {{"messages", messages}, {"sites", {"blocks.*.attn.hook_q"}}});
  const std::vector<std::string> some(texts.begin(), texts.begin() + 8),
      others(texts.begin() + 8, texts.begin() + 16);
  const std::string vector =
      call("contrast_vector", {{"positive", some}, {"negative", others}})["uri"];
  call("steer", {{"vector", vector + "?slice=9"}, {"layers", {9}}});
  call("ablate_direction", {{"vector", vector + "?slice=9"}});
  call("logit_lens", {{"text", "The capital of France is"}, {"target", " Paris"}});
  call("patch_activations", {{"clean", "The capital of France is"},
                             {"corrupted", "The capital of Spain is"},
                             {"answer", " Paris"},
                             {"layers", {1, 2, 3}}});
  call("attention_pattern", {{"text", "The capital of France is"}, {"layer", 3}});
  call("get_weights");
  const std::string at = read + "?slice=0:32,9", other = read + "?slice=32:64,9";
  const Json probe = call("train_probe", {{"positive", at}, {"negative", other}});
  call("apply_probe", {{"probe", probe["probe"]}, {"tensor", at}});
  CHECK(call.left() == std::set<std::string>());
}

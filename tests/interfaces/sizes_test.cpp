// Every built-in tool's result is small, however much it is given and asked for: what is large
// stays behind a URI. GPUMCP_TEST_SIZES=1 prints the table of docs/performance.md.
#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
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
  ~Tools() {
    if (!std::getenv("GPUMCP_TEST_SIZES")) return;
    for (const auto& [name, bytes] : largest_) std::printf("| `%s` | %zu |\n", name.c_str(), bytes);
  }
  Tools(const Tools&) = delete;
  Tools& operator=(const Tools&) = delete;
  Json operator()(const std::string& name, const Json& arguments = Json::object()) {
    left_.erase(name);
    const CallToolResult result = worker_.call(name, arguments);
    if (result.isError) FAIL(name << ": " << text_of(result));
    CHECK_MESSAGE(result.structuredContent.size() < kLimit, name, " gives ",
                  result.structuredContent.size(), " bytes");
    CHECK_MESSAGE(text_of(result) == result.structuredContent, name);
    largest_[name] = std::max(largest_[name], result.structuredContent.size());
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
  std::map<std::string, size_t> largest_;
};

}  // namespace

TEST_CASE("results of embeddings and tensors stay under 1 KB at their largest arguments") {
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
  call("slice_tensor", {{"tensor", rows}, {"slice", "0,0:32"}});
  call("arithmetic", {{"op", "add"}, {"tensors", {rows, rows}}});
  call("cosine", {{"a", rows}, {"b", row}});
  call("cosine", {{"a", rows + "?slice=0:6"}, {"b", rows + "?slice=0:8"}});
  call("top_k", {{"tensor", rows}, {"k", 20}});
  const std::string labels = call("cluster", {{"tensor", rows}, {"k", 32}}).value("labels", rows);
  call("cluster", {{"tensor", rows + "?slice=0:64"}, {"k", 32}});
  call("pca", {{"tensor", rows}, {"k", 16}, {"plot", true}, {"labels", labels}});
  call("plot_tensor", {{"tensor", rows}});
  Json several = Json::object();
  for (int i = 0; i < 30; ++i) several["tensor " + std::to_string(i)] = rows;
  several[kLong] = rows;
  call("save_tensor", {{"tensors", several}, {"file", "all.safetensors"}});
  for (const std::string& name : {std::string("tensor 3"), kLong}) {
    const Json kept = call("load_tensor", {{"file", "all.safetensors"}, {"tensor", name}});
    call("describe_tensor", {{"tensor", kept["uri"]}});
  }
  call("list_artifacts");
  call("drop_artifacts",
       {{"uris",
         std::vector<std::string>(1000, "gpumcp://artifacts/00000000000000000000000000000000")}});
  CHECK(call.left() == std::set<std::string>());
  std::filesystem::remove_all(folder);
}

TEST_CASE("results of language_model and interpretability stay under 1 KB at their largest") {
  Tools call({"language_model", "interpretability"});
  const Json messages = Json::array({{{"role", "user"}, {"content", "Say hello."}}});
  call("get_model_info");
  call("generate", {{"prompt", "Once"}, {"temperature", 0}});
  call("chat", {{"messages", messages}, {"temperature", 0}});
  for (const char* tool : {"generate", "chat"}) {
    Json most = {{"temperature", 2}, {"seed", 1}, {"max_new_tokens", 60}, {"n", 8}};
    const bool chat = std::string(tool) == "chat";
    most[chat ? "messages" : "prompt"] = chat ? messages : Json("Once");
    CHECK(call(tool, most).contains("full_text"));
  }
  const std::string control(3000, '\x01');  // each costs six bytes in JSON
  for (const std::string& text : {kLong, control}) {
    call("next_tokens", {{"text", text}, {"top_k", 20}});
    call("score_text", {{"text", text}});
    call("tokenize", {{"text", text}});
  }

  std::vector<std::string> texts;
  for (int i = 0; i < 64; ++i) texts.push_back("number " + std::to_string(i));
  const std::string read =
      call("get_activations", {{"texts", texts}, {"sites", {"blocks.*.hook_resid_post"}}})["uri"];
  Json places = "0";
  for (int i = 1; i < 300; ++i) places = places.get<std::string>() + ",0";
  call("get_activations", {{"texts", {kLong}},
                           {"sites", std::vector<std::string>(8, "blocks.*.hook_mlp_out")},
                           {"positions", places}});
  call("get_activations", {{"messages", messages}, {"sites", {"blocks.*.attn.hook_q"}}});
  const std::vector<std::string> some(texts.begin(), texts.begin() + 32),
      others(texts.begin() + 32, texts.end());
  const std::string vector =
      call("contrast_vector", {{"positive", some}, {"negative", others}})["uri"];
  for (const char* tool : {"steer", "ablate_direction"}) {
    call(tool, {{"vector", vector + "?slice=9"},
                {"layers", std::vector<int>(1000, -21)},
                {"positions", places},
                {"strength", -1.234567}});
  }
  call("logit_lens", {{"text", "The capital of France is"}, {"target", " Paris"}});
  for (const std::string& text : {std::string(60, '"'), std::string(60, '\x01')})
    call("logit_lens", {{"text", text}, {"top_k", 3}, {"target", " Paris"}});
  call("patch_activations", {{"clean", "The capital of France is"},
                             {"corrupted", "The capital of Spain is"},
                             {"answer", " Paris"},
                             {"wrong", " Madrid"}});
  call("attention_pattern", {{"text", "The capital of France is"}, {"layer", 3}});
  call("attention_pattern", {{"text", std::string(60, '\x01')}, {"layer", 3}});
  call("get_weights");
  call("get_weights", {{"name", "model.embed_tokens.weight"}, {"keep", true}});
  const std::string at = read + "?slice=0:64,9", other = read + "?slice=32:64,9";
  const Json probe = call("train_probe", {{"positive", at}, {"negative", other}});
  call("apply_probe", {{"probe", probe["probe"]}, {"tensor", at}});
  CHECK(call.left() == std::set<std::string>());
}

// The built-in interface on the real SmolLM2, through a server and a client. What transformers
// makes of the same prompts stands in tests/golden/smollm2.
#include <doctest/doctest.h>

#include <cmath>
#include <fstream>
#include <future>
#include <set>
#include <sstream>

#include "interfaces/support.h"

using namespace gpumcp::tests;

namespace {

constexpr const char* kPrompt = "The capital of France is";
constexpr const char* kAnswer = " Paris.\n\nThe answer is: 2018-01-22 12:12:53.";
const Json kQuestion = Json::parse(
    R"([{"role": "user", "content": "What is the capital of France? Answer in one sentence."}])");

Worker& worker() {
  static Worker& shared = Worker::start({"language_model"});
  return shared;
}

}  // namespace

TEST_CASE("the language model's tools are typed, short-named, and say what they return") {
  const auto tools = worker().client().list_tools();
  REQUIRE(tools);
  std::vector<std::string> names;
  for (const auto& tool : *tools) {
    names.push_back(tool.name);
    CHECK(tool.name.size() <= 24);
    CHECK(tool.inputSchema["additionalProperties"] == false);
    CHECK(tool.outputSchema["type"] == "object");
    REQUIRE(tool.annotations);
    CHECK(tool.annotations->readOnlyHint == true);
  }
  CHECK(names == std::vector<std::string>{"generate", "chat", "next_tokens", "score_text",
                                          "tokenize", "get_model_info"});
}

TEST_CASE("generate goes on from a prompt as transformers does") {
  const CallToolResult result =
      worker().call("generate", {{"prompt", kPrompt}, {"max_new_tokens", 48}, {"temperature", 0}});
  REQUIRE(!result.isError);
  CHECK(result.structuredContent.size() < 1024);
  const Json value = Json::parse(result.structuredContent);
  CHECK(value["text"] == kAnswer);
  CHECK(value["prompt_tokens"] == 5);
  CHECK(!value.contains("seed"));
  CHECK(!value.contains("texts"));
  CHECK(result._meta["gpumcp/usage"]["tokens"].get<int64_t>() ==
        5 + value["new_tokens"].get<int64_t>());
}

TEST_CASE("chat answers by the model's template") {
  const Json value =
      worker().value("chat", {{"messages", kQuestion}, {"max_new_tokens", 48}, {"temperature", 0}});
  CHECK(value["text"] == "The capital of France is Paris.");
  CHECK(value["finish_reason"] == "eos");

  SUBCASE("a last message of the assistant is gone on with") {
    Json messages = kQuestion;
    messages.push_back({{"role", "assistant"}, {"content", "The capital of France"}});
    const Json more = worker().value(
        "chat", {{"messages", messages}, {"max_new_tokens", 16}, {"temperature", 0}});
    CHECK(more["text"] == " is Paris.");
  }
  SUBCASE("messages that make no conversation are refused with their place") {
    const std::string said =
        worker().error("chat", {{"messages", Json::parse(R"([{"role": "user"}])")}});
    CHECK(said.find("messages[0]") != std::string::npos);
  }
}

TEST_CASE("text streams as progress, piece by piece") {
  std::string streamed;
  double last = 0;
  gpumcp::mcp::CallOptions options;
  options.on_progress = [&](const Json& progress) {
    CHECK(progress["progress"].get<double>() > last);
    last = progress["progress"].get<double>();
    CHECK(progress["total"] == 48);
    streamed += progress.value("message", "");
  };
  const auto result = worker().client().call_tool(
      "generate", {{"prompt", kPrompt}, {"max_new_tokens", 48}, {"temperature", 0}}, options);
  REQUIRE(result);
  CHECK(std::string(kAnswer).starts_with(streamed));
  CHECK(streamed.size() > 20);
}

TEST_CASE("stop strings, seeds and several texts") {
  const Json stopped = worker().value(
      "generate", {{"prompt", kPrompt}, {"temperature", 0}, {"stop", {"\n\n", "never"}}});
  CHECK(stopped["text"] == " Paris.");
  CHECK(stopped["finish_reason"] == "stop");
  CHECK(stopped["stop_string"] == "\n\n");

  const Json sampled = {{"prompt", "Once upon a time"},
                        {"temperature", 1.0},
                        {"max_new_tokens", 12},
                        {"seed", 7},
                        {"n", 3}};
  const Json first = worker().value("generate", sampled),
             again = worker().value("generate", sampled);
  CHECK(first["texts"].size() == 3);
  CHECK(first["seed"] == 7);
  CHECK(first["texts"] == again["texts"]);
  CHECK(first["text"] == first["texts"][0]);
  CHECK(first["texts"][0] != first["texts"][1]);
}

TEST_CASE("settings out of range are refused by name") {
  CHECK(worker().error("generate", {{"prompt", "x"}, {"temperature", -1}}).find("temperature") !=
        std::string::npos);
  CHECK(worker().error("generate", {{"prompt", "x"}, {"top_p", 0}}).find("top_p is 0") !=
        std::string::npos);
  CHECK(worker().error("generate", {{"prompt", ""}}).find("prompt") != std::string::npos);
  CHECK(worker().error("chat", {{"messages", Json::array()}}).find("messages") !=
        std::string::npos);
}

TEST_CASE("callers at once share the model's steps and get their own texts") {
  std::vector<std::future<Json>> futures;
  for (int i = 0; i < 6; ++i) {
    futures.push_back(std::async(std::launch::async, [i] {
      return i % 2 == 0
                 ? worker().value("generate",
                                  {{"prompt", kPrompt}, {"max_new_tokens", 48}, {"temperature", 0}})
                 : worker().value(
                       "chat",
                       {{"messages", kQuestion}, {"max_new_tokens", 48}, {"temperature", 0}});
    }));
  }
  for (int i = 0; i < 6; ++i) {
    CHECK(futures[static_cast<size_t>(i)].get()["text"] ==
          (i % 2 == 0 ? kAnswer : "The capital of France is Paris."));
  }
}

TEST_CASE("next_tokens gives probabilities, the likeliest first") {
  const CallToolResult result = worker().call("next_tokens", {{"text", kPrompt}, {"top_k", 20}});
  REQUIRE(!result.isError);
  const Json value = Json::parse(result.structuredContent);
  REQUIRE(value["tokens"].size() == 20);
  CHECK(value["tokens"][0]["token"] == " Paris");
  double sum = 0, before = 1;
  for (const Json& token : value["tokens"]) {
    const double probability = token["probability"];
    CHECK(probability <= before);
    before = probability;
    sum += probability;
  }
  CHECK(sum > 0.5);
  CHECK(sum <= 1.0001);
}

TEST_CASE("score_text finds sense likelier than nonsense, and sums its tokens") {
  const Json sense = worker().value("score_text", {{"text", "The capital of France is Paris."}});
  const Json nonsense = worker().value("score_text", {{"text", "The capital of France is mice."}});
  CHECK(sense["perplexity"].get<double>() < nonsense["perplexity"].get<double>());
  CHECK(nonsense["least_likely"][0]["token"] == " mice");
  CHECK(nonsense["least_likely"][0]["index"] == 5);
  CHECK(
      sense["log_probability"].get<double>() ==
      doctest::Approx(sense["mean_log_probability"].get<double>() * sense["tokens"].get<double>()));
  CHECK(sense["perplexity"].get<double>() ==
        doctest::Approx(std::exp(-sense["mean_log_probability"].get<double>())));
  // The product of what next_tokens says on the way is what score_text says in all.
  const Json next = worker().value("next_tokens", {{"text", kPrompt}, {"top_k", 1}});
  const Json with = worker().value("score_text", {{"text", std::string(kPrompt) + " Paris"}});
  const Json without = worker().value("score_text", {{"text", kPrompt}});
  CHECK(with["log_probability"].get<double>() - without["log_probability"].get<double>() ==
        doctest::Approx(std::log(next["tokens"][0]["probability"].get<double>())).epsilon(1e-3));
  CHECK(worker().error("score_text", {{"text", "a"}}).find("one token") != std::string::npos);
}

TEST_CASE("next_tokens and score_text give transformers' probabilities") {
  std::ostringstream text;
  text << std::ifstream(GPUMCP_TEST_GOLDEN "/language_model/expected.json").rdbuf();
  for (const Json& wanted : Json::parse(text.str())) {
    CAPTURE(wanted["text"].get<std::string>());
    CHECK(worker().value("tokenize", {{"text", wanted["text"]}})["ids"] == wanted["ids"]);
    const Json next = worker().value("next_tokens", {{"text", wanted["text"]}, {"top_k", 20}});
    CHECK(next["prompt_tokens"] == wanted["ids"].size());
    REQUIRE(next["tokens"].size() + next.value("left_out", size_t{0}) == 20);
    for (size_t i = 0; i < next["tokens"].size(); ++i) {
      const double p = wanted["next"]["probabilities"][i];
      CHECK(std::abs(next["tokens"][i]["probability"].get<double>() - p) < 1e-5);
      // Where two are as likely as makes no difference, either may stand first.
      const double behind = i + 1 < 20 ? wanted["next"]["probabilities"][i + 1].get<double>() : 0;
      const double before = i > 0 ? wanted["next"]["probabilities"][i - 1].get<double>() : 1;
      if (p - behind < 1e-6 || before - p < 1e-6) continue;
      CHECK(next["tokens"][i]["id"] == wanted["next"]["ids"][i]);
      CHECK(next["tokens"][i]["token"] == wanted["next"]["tokens"][i]);
    }
    const Json score = worker().value("score_text", {{"text", wanted["text"]}});
    CHECK(score["perplexity"].get<double>() ==
          doctest::Approx(wanted["perplexity"].get<double>()).epsilon(1e-4));
    const auto each = parse_npy(worker().read_bytes(score["uri"])).values;
    REQUIRE(each.size() == wanted["scores"].size());
    double sum = 0;
    for (size_t i = 0; i < each.size(); ++i) {
      CHECK(std::abs(each[i] - wanted["scores"][i].get<double>()) < 1e-3);
      sum += wanted["scores"][i].get<double>();
    }
    CHECK(std::abs(score["log_probability"].get<double>() - sum) < 1e-2);
  }
}

TEST_CASE("texts too long for a result are cut there, and whole behind a URI or inline") {
  const Json asked = {{"prompt", "Once upon a time"},
                      {"temperature", 1.0},
                      {"max_new_tokens", 40},
                      {"seed", 7},
                      {"n", 8}};
  Json all = asked;
  all["output"] = "inline";
  const Json whole = worker().value("generate", all);
  CHECK(!whole.contains("full_text"));
  const CallToolResult result = worker().call("generate", asked);
  CHECK(result.structuredContent.size() < 1024);
  const Json cut = Json::parse(result.structuredContent);
  REQUIRE(cut["texts"].size() == 8);
  const auto read = worker().client().read_resource(cut["full_text"]);
  REQUIRE(read);
  CHECK(read->front().mimeType == "text/plain");
  size_t shortened = 0;
  for (size_t i = 0; i < 8; ++i) {
    const std::string text = whole["texts"][i];
    std::string begin = cut["texts"][i];
    if (begin.ends_with("…")) {
      ++shortened;
      begin.resize(begin.size() - std::string("…").size());
    }
    CHECK(!begin.empty());
    CHECK(text.starts_with(begin));
    CHECK(read->front().text.find(text) != std::string::npos);
  }
  CHECK(shortened > 0);
  const Json steering = Json::array({{{"vector", cut["full_text"]}}});
  CHECK(
      worker().error("generate", {{"prompt", "a"}, {"steering", steering}}).find("holds a text") !=
      std::string::npos);
  // A generated module (gpumcp expose) asks for everything by _meta.
  gpumcp::mcp::CallOptions options;
  options.meta = {{"gpumcp/output", "inline"}};
  const auto of_module = worker().client().call_tool("generate", asked, options);
  REQUIRE(of_module);
  CHECK(Json::parse(of_module->structuredContent)["texts"] == whole["texts"]);
}

TEST_CASE("an adapter changes the call that names it and no other") {
  const Json asked = {{"prompt", kPrompt}, {"max_new_tokens", 12}, {"temperature", 0}};
  auto with = [](Json arguments, const std::string& adapter) {
    arguments["adapter"] = adapter;
    return arguments;
  };
  const Json plain = worker().value("generate", asked);
  std::vector<std::future<Json>> running;
  for (int i = 0; i < 4; ++i) {
    running.push_back(std::async(std::launch::async, [&, i] {
      return worker().value("generate", i % 2 ? with(asked, "tone") : asked);
    }));
  }
  const Json toned = worker().value("generate", with(asked, "tone"));
  CHECK(toned["text"] != plain["text"]);
  CHECK(worker().value("generate", with(asked, "none"))["text"] == plain["text"]);
  for (int i = 0; i < 4; ++i)
    CHECK(running[static_cast<size_t>(i)].get()["text"] == (i % 2 ? toned : plain)["text"]);

  const Json chat = {{"messages", kQuestion}, {"max_new_tokens", 8}, {"temperature", 0}};
  CHECK(worker().value("chat", with(chat, "tone"))["text"] != worker().value("chat", chat)["text"]);
  const Json text = {{"text", kPrompt}};
  CHECK(worker().value("next_tokens", with(text, "tone"))["tokens"] !=
        worker().value("next_tokens", text)["tokens"]);
  CHECK(worker().value("score_text", with(text, "tone"))["perplexity"] !=
        worker().value("score_text", text)["perplexity"]);
  CHECK(worker().value("get_model_info")["adapters"] == Json({"tone"}));
  const std::string said = worker().error("generate", with(asked, "tune"));
  CHECK(said.find("\"tune\"") != std::string::npos);
  CHECK(said.find("there are: tone") != std::string::npos);
}

TEST_CASE("tokenize counts all and shows the first") {
  const Json value = worker().value("tokenize", {{"text", kPrompt}});
  CHECK(value["count"] == 5);
  CHECK(value["tokens"] == Json({"The", " capital", " of", " France", " is"}));
  CHECK(value["ids"].size() == 5);
  CHECK(!value.contains("left_out"));
  std::string words;
  for (int i = 0; i < 20'000; ++i) words += " word";
  const CallToolResult all = worker().call("tokenize", {{"text", words}});
  CHECK(all.structuredContent.size() < 1024);
  CHECK(Json::parse(all.structuredContent)["left_out"] == 20'000 - 40);
}

TEST_CASE("get_model_info describes SmolLM2") {
  const Json info = worker().value("get_model_info");
  CHECK(info["model"] == "HuggingFaceTB/SmolLM2-135M-Instruct");
  CHECK(info["model_type"] == "llama");
  CHECK(info["num_layers"] == 30);
  CHECK(info["hidden_size"] == 576);
  CHECK(info["num_heads"] == 9);
  CHECK(info["num_kv_heads"] == 3);
  CHECK(info["head_dim"] == 64);
  CHECK(info["intermediate_size"] == 1536);
  CHECK(info["dtype"] == "float32");
  CHECK(info["vocab_size"] == 49152);
  CHECK(info["max_tokens"] == 8192);
  CHECK(info["eos_token_id"] == Json({2}));
  CHECK(info["chat"] == true);
  CHECK(info["sample"] == false);
}

TEST_CASE("get_model_info says a family's widths under whatever names it has") {
  auto info = [](const std::string& name) {
    Worker& one = Worker::start({"language_model"}, {{"default_model", "tiny/" + name}});
    return one.value("get_model_info");
  };
  const Json gpt2 = info("gpt2"), gemma = info("gemma3");
  CHECK(gpt2["num_heads"] == 4);
  CHECK(gpt2["num_kv_heads"] == 4);
  CHECK(gpt2["head_dim"] == 8);
  CHECK(gpt2["intermediate_size"] == 128);
  CHECK(gpt2["chat"] == false);
  CHECK(gemma["num_kv_heads"] == 2);
  CHECK(gemma["head_dim"] == 16);
  CHECK(gemma["intermediate_size"] == 48);
}

TEST_CASE("a hidden model is called \"model\" in every description and result") {
  const Json hidden = {{"HuggingFaceTB/SmolLM2-135M-Instruct", {{"hidden", true}}}};
  Worker& agent =
      Worker::start({"language_model", "interpretability"}, {{"model_options", hidden}});
  const auto tools = agent.client().list_tools();
  REQUIRE(tools);
  for (const auto& tool : *tools) CHECK(tool.description.find("SmolLM2") == std::string::npos);
  CHECK(agent.value("get_model_info")["model"] == "model");
  CHECK(agent.value("next_tokens", {{"text", kPrompt}})["tokens"][0]["token"] == " Paris");
}

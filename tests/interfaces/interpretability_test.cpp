// The built-in interface "interpretability" on the real SmolLM2, beside language_model and tensors,
// against a few lines of transformers (tests/golden/interpretability/make.py).
#include <doctest/doctest.h>

#include <cmath>
#include <fstream>
#include <future>
#include <sstream>

#include "interfaces/support.h"

using namespace gpumcp::tests;

namespace {

const Json& golden() {
  static const Json all = [] {
    std::ostringstream text;
    text << std::ifstream(GPUMCP_TEST_GOLDEN "/interpretability/expected.json").rdbuf();
    return Json::parse(text.str());
  }();
  return all;
}

Worker& worker() {
  static Worker& shared = Worker::start({"language_model", "interpretability", "tensors"},
                                        {{"workspace", GPUMCP_TEST_GOLDEN "/interpretability"}});
  return shared;
}

Json value(const std::string& tool, const Json& arguments) {
  const CallToolResult result = worker().call(tool, arguments);
  if (result.isError) FAIL(tool << ": " << text_of(result));
  CHECK_MESSAGE(result.structuredContent.size() < 1024, tool);
  return Json::parse(result.structuredContent);
}

std::vector<float> numbers(const std::string& uri) {
  return parse_npy(worker().read_bytes(uri)).values;
}

void check_close(const std::vector<float>& got, size_t from, const Json& wanted, double tolerance) {
  REQUIRE(got.size() >= from + wanted.size());
  for (size_t i = 0; i < wanted.size(); ++i)
    CHECK(std::abs(got[from + i] - wanted[i].get<double>()) <= tolerance);
}

Json contrast(const Json& more = Json::object()) {
  Json arguments = {{"positive", golden()["positive"]},
                    {"negative", golden()["negative"]},
                    {"layers", {golden()["layer"]}}};
  arguments.update(more);
  return value("contrast_vector", arguments);
}

std::string generate(const Json& steering) {
  return value("generate", {{"prompt", golden()["steered_prompt"]},
                            {"max_new_tokens", golden()["new_tokens"]},
                            {"temperature", 0},
                            {"steering", steering}})["text"];
}

}  // namespace

TEST_CASE("the tools of interpretability are typed, short-named and alone in their names") {
  const auto tools = worker().client().list_tools();
  REQUIRE(tools);
  CHECK(tools->size() == 6 + 10 + 12);
  for (const auto& tool : *tools) {
    CHECK(tool.name.size() <= 24);
    CHECK(tool.inputSchema["additionalProperties"] == false);
    CHECK(tool.outputSchema["type"] == "object");
  }
}

TEST_CASE("get_activations reads what a hook on transformers' layer reads") {
  const std::string site = "blocks." + golden()["layer"].dump() + ".hook_resid_post";
  const Json last = value("get_activations", {{"texts", golden()["hello"]}, {"sites", {site}}});
  CHECK(last["shape"] == Json({2, 1, 576}));
  CHECK(last["axes"] == Json({"text", "site", "value"}));
  CHECK(last["tokens"] == Json({5, 10}));
  check_close(numbers(last["uri"]), 0, golden()["last"][0], 1e-3);
  check_close(numbers(last["uri"]), 576, golden()["last"][1], 1e-3);
  CHECK(last["mean_norms"][0].get<double>() ==
        doctest::Approx(golden()["last_norm"].get<double>()).epsilon(1e-4));
  const Json mean = value("get_activations",
                          {{"texts", golden()["hello"]}, {"sites", {site}}, {"positions", "mean"}});
  check_close(numbers(mean["uri"]), 0, golden()["mean"][0], 1e-2);  // the first token's are large
  check_close(numbers(mean["uri"]), 576, golden()["mean"][1], 1e-2);

  const Json every = value("get_activations", {{"texts", {golden()["clean"]}},
                                               {"sites", {"blocks.*.hook_resid_post"}},
                                               {"positions", "0,-1"}});
  CHECK(every["shape"] == Json({1, 30, 2, 576}));
  const Json all = value(
      "get_activations",
      {{"texts", {golden()["clean"]}}, {"sites", {"blocks.2.attn.hook_z"}}, {"positions", "all"}});
  CHECK(all["shape"] == Json({1, 1, 5, 9, 64}));

  for (const char* part : {"q", "k", "v"}) {
    const Json heads = value(
        "get_activations",
        {{"texts", {golden()["clean"]}}, {"sites", {std::string("blocks.2.attn.hook_") + part}}});
    CHECK(heads["shape"] == Json({1, 1, *part == 'q' ? 9 : 3, 64}));
    CHECK(heads["axes"] == Json({"text", "site", "head", "value"}));
  }
  // A conversation is read as the model's template writes it; a user's message alone is `chat`.
  const Json one = Json::array({{{"role", "user"}, {"content", "Hello"}}});
  const Json as_chat =
      value("get_activations", {{"texts", {"Hello"}}, {"sites", {site}}, {"chat", true}});
  const Json as_messages = value("get_activations", {{"messages", one}, {"sites", {site}}});
  CHECK(as_messages["tokens"] == as_chat["tokens"]);
  CHECK(numbers(as_messages["uri"]) == numbers(as_chat["uri"]));
  const Json talk = Json::array({{{"role", "system"}, {"content", "Be brief."}},
                                 {{"role", "user"}, {"content", "Hello"}},
                                 {{"role", "assistant"}, {"content", "Hi"}}});
  const Json longer = value("get_activations", {{"messages", talk}, {"sites", {site}}});
  CHECK(longer["shape"] == Json({1, 1, 576}));
  CHECK(longer["tokens"] != as_chat["tokens"]);
  const Json toned =
      value("get_activations",
            {{"texts", {"Hello"}}, {"sites", {site}}, {"chat", true}, {"adapter", "tone"}});
  CHECK(numbers(toned["uri"]) != numbers(as_chat["uri"]));

  CHECK(value("get_activations", {{"texts", {"a"}}})["shape"] == Json({1, 30, 576}));
  auto said = [](const Json& arguments) { return worker().error("get_activations", arguments); };
  CHECK(said({{"sites", {site}}}).find("messages") != std::string::npos);
  CHECK(said({{"texts", {"a"}}, {"messages", one}, {"sites", {site}}}).find("texts, or") !=
        std::string::npos);
  CHECK(said({{"texts", {"a"}}, {"sites", {"blocks.30.hook_resid_post"}}}).find("0 to 29") !=
        std::string::npos);
  CHECK(said({{"texts", {"a"}}, {"sites", {"layer 3"}}}).find("hook_resid_post") !=
        std::string::npos);
  CHECK(
      said({{"texts", golden()["hello"]}, {"sites", {site}}, {"positions", "all"}}).find("last") !=
      std::string::npos);
  CHECK(said({{"texts", {"a"}}, {"sites", {site}}, {"positions", "first"}})
            .find("arguments.positions: \"first\" is none: give last, mean, all, or indices") !=
        std::string::npos);
  CHECK(said({{"texts", {"a"}}, {"sites", {site}}, {"positions", "0,-7"}})
            .find("arguments.positions: -7 is none: the text has tokens 0 to 0") !=
        std::string::npos);
  CHECK(said({{"texts", {"a"}}, {"sites", {site}}, {"positions", "generated"}}).find("mean") !=
        std::string::npos);
}

TEST_CASE("contrast_vector is the difference of means, and says where the sets lie apart") {
  const Json one = contrast();
  CHECK(one["shape"] == Json({576}));
  check_close(numbers(one["uri"]), 0, golden()["contrast"], 1e-3);
  CHECK(one["layers"][0]["norm"].get<double>() ==
        doctest::Approx(golden()["contrast_norm"].get<double>()).epsilon(1e-4));
  const Json all = contrast({{"layers", Json::array()}});
  CHECK(all["shape"] == Json({30, 576}));
  CHECK(all["layers"].size() == 8);
  check_close(numbers(all["uri"]), 12 * 576, golden()["contrast"], 1e-3);
  const Json unit = contrast({{"normalize", true}});
  double norm = 0;
  for (const float v : numbers(unit["uri"])) norm += double{v} * v;
  CHECK(norm == doctest::Approx(1));
}

TEST_CASE("contrast of one text a side has no effect size, and ranks layers by length") {
  const Json one = contrast(
      {{"positive", {"I love it."}}, {"negative", {"I hate it!"}}, {"layers", Json::array()}});
  double longest = 0;
  for (const Json& layer : one["layers"]) {
    CHECK(!layer.contains("effect"));
    CHECK(layer["accuracy"] == 1);
    longest = std::max(longest, layer["norm"].get<double>());
  }
  CHECK(longest > 0);
  CHECK(one["best_layer"].get<int>() >= 0);
  // Against several texts the others' spread counts.
  const Json uneven = contrast({{"positive", {"I love it."}}});
  CHECK(uneven["layers"][0]["effect"].get<double>() > 0);
  CHECK(uneven["layers"][0]["effect"].get<double>() < 1000);
}

TEST_CASE("contrast and steering take the sites of attention, each with its own width") {
  const std::pair<const char*, int64_t> widths[] = {
      {"attn.hook_q", 576}, {"attn.hook_k", 192}, {"attn.hook_v", 192}, {"attn.hook_z", 576}};
  for (const auto& [site, width] : widths) {
    CAPTURE(site);
    const Json one = contrast({{"site", site}});
    CHECK(one["shape"] == Json({width}));
    const Json handle = value("steer", {{"vector", one["uri"]}, {"layers", {12}}, {"site", site}});
    CHECK(value("next_tokens",
                {{"text", "The sky is"}, {"steering", {{{"handle", handle["handle"]}}}}})
              .contains("tokens"));
  }
  for (const char* pairs : {"attn.hook_pattern", "attn.hook_attn_scores"}) {
    CHECK(worker()
              .error("contrast_vector",
                     {{"positive", {"good"}}, {"negative", {"bad"}}, {"site", pairs}})
              .find("hook_z") != std::string::npos);
  }
}

TEST_CASE("steered texts are transformers' with a hook, together with others as alone") {
  const Json vector = contrast()["uri"];
  auto handle = [&](double strength) {
    return value("steer",
                 {{"vector", vector}, {"layers", {golden()["layer"]}}, {"strength", strength}});
  };
  const double strength = golden()["strength"];
  const Json to = handle(strength);
  CHECK(to["positions"] == "all");
  const Json away = {{"vector", vector}, {"layers", {golden()["layer"]}}, {"strength", -strength}};
  const Json none = value("ablate_direction", {{"vector", vector}});
  CHECK(none["layers"].size() == 12);
  CHECK(none["left_out"] == 18);
  CHECK(!to.contains("left_out"));
  const std::vector<std::pair<std::string, Json>> cases{
      {"plain", Json::array()},
      {"steered", Json::array({{{"handle", to["handle"]}}})},
      {"steered_away", Json::array({away})},
      {"ablated", Json::array({{{"handle", none["handle"]}}})}};
  for (const auto& [key, steering] : cases) {
    CAPTURE(key);
    CHECK(generate(steering) == golden()[key]);
  }
  std::vector<std::future<std::string>> running;
  for (int round = 0; round < 2; ++round) {
    for (const auto& one : cases)
      running.push_back(std::async(std::launch::async, generate, one.second));
  }
  for (size_t i = 0; i < running.size(); ++i)
    CHECK(running[i].get() == golden()[cases[i % cases.size()].first]);

  // Two that cancel each other leave the text as it was, but for rounding.
  CHECK(generate(Json::array({{{"handle", to["handle"]}}, away})) == golden()["plain"]);
}

TEST_CASE("next_tokens, score_text and logit_lens are steered alike") {
  const Json steering = Json::array(
      {{{"vector", contrast()["uri"]}, {"layers", {golden()["layer"]}}, {"strength", 3}}});
  const std::string prompt = golden()["clean"];
  const Json next = value("next_tokens", {{"text", prompt}, {"top_k", 1}, {"steering", steering}});
  const double p = next["tokens"][0]["probability"];
  const std::string token = next["tokens"][0]["token"];
  const Json lens = value(
      "logit_lens", {{"text", prompt}, {"layers", {29}}, {"top_k", 1}, {"steering", steering}});
  CHECK(lens["layers"][0]["tokens"][0] == token);
  CHECK(lens["layers"][0]["probabilities"][0].get<double>() == doctest::Approx(p).epsilon(1e-4));
  auto score = [&](const std::string& text, const Json& with) {
    return value("score_text", {{"text", text}, {"steering", with}})["log_probability"]
        .get<double>();
  };
  CHECK(score(prompt + token, steering) - score(prompt, steering) ==
        doctest::Approx(std::log(p)).epsilon(1e-3));
  CHECK(score(prompt, steering) != score(prompt, Json::array()));
}

TEST_CASE("a steering handle is its session's own") {
  const Json vector = contrast()["uri"];
  gpumcp::mcp::CallOptions mine, theirs;
  mine.meta = {{"gpumcp/session", "steering-agent-1"}};
  theirs.meta = {{"gpumcp/session", "steering-agent-2"}};
  auto made = worker().client().call_tool("steer", {{"vector", vector}, {"layers", {3}}}, mine);
  REQUIRE(made);
  REQUIRE(!made->isError);
  const Json handle = Json::parse(made->structuredContent)["handle"];
  const Json call = {{"prompt", "a"}, {"max_new_tokens", 1}, {"steering", {{{"handle", handle}}}}};
  CHECK(!worker().client().call_tool("generate", call, mine)->isError);
  const auto refused = worker().client().call_tool("generate", call, theirs);
  REQUIRE(refused);
  CHECK(refused->isError);
  CHECK(text_of(*refused).find("steering[0].handle") != std::string::npos);
}

TEST_CASE("what cannot steer is refused with what would") {
  const Json vector = contrast()["uri"];
  auto steer = [&](Json more) {
    more["vector"] = vector;
    if (!more.contains("layers")) more["layers"] = {3};
    return worker().error("steer", more);
  };
  CHECK(steer({{"layers", {30}}})
            .find("arguments.layers: 30 is none: the model's layers are 0 to 29") !=
        std::string::npos);
  CHECK(steer({{"layers", {-31}}}).find("-1 to -30 from the end") != std::string::npos);
  CHECK(worker()
            .error("attention_pattern", {{"text", "a"}, {"layer", 99}})
            .find("arguments.layer: 99 is none") != std::string::npos);
  CHECK(value("steer", {{"vector", vector}, {"layers", {-1, 0}}})["layers"] == Json({29, 0}));
  CHECK(value("steer", {{"vector", vector}})["layers"] == Json({15}));
  CHECK(steer({{"site", "hook_q"}}).find("hook_resid_post") != std::string::npos);
  CHECK(steer({{"positions", "some"}}).find("generated") != std::string::npos);
  auto inline_steering = [&](const Json& one) {
    return worker().error("generate", {{"prompt", "a"}, {"steering", {one}}});
  };
  CHECK(inline_steering({{"vector", vector}, {"layers", {99}}})
            .find("arguments.steering[0].layers: 99 is none") != std::string::npos);
  CHECK(
      inline_steering({{"vector", vector}, {"positions", "some"}})
          .find("arguments.steering[0].positions: \"some\" is none: give all, prompt, generated") !=
      std::string::npos);
  CHECK(inline_steering({{"handle", vector}}).find("no handle") != std::string::npos);
  CHECK(inline_steering({{"vector", vector}, {"layers", {1}}, {"mode", "push"}}).find("ablate") !=
        std::string::npos);
  const Json short_one = value("slice_tensor", {{"tensor", vector}, {"slice", "0:10"}})["uri"];
  CHECK(worker().error("steer", {{"vector", short_one}, {"layers", {3}}}).find("576") !=
        std::string::npos);
}

TEST_CASE("logit_lens gives the scores of the head after a layer") {
  const Json lens = value("logit_lens", {{"text", golden()["clean"]},
                                         {"layers", {14, 29}},
                                         {"top_k", 1},
                                         {"target", golden()["answer"]}});
  for (const Json& layer : lens["layers"]) {
    const Json& wanted = golden()["lens"][layer["layer"].dump()];
    CHECK(layer["tokens"][0] == wanted["best"]);
    CHECK(layer["probabilities"][0].get<double>() ==
          doctest::Approx(wanted["best_p"].get<double>()).epsilon(1e-3));
    CHECK(layer["target"].get<double>() ==
          doctest::Approx(wanted["target"].get<double>()).epsilon(1e-3));
    CHECK(layer["rank"] == wanted["rank"]);
  }
  CHECK(value("logit_lens", {{"text", golden()["clean"]}, {"top_k", 3}})["layers"].size() == 8);
}

TEST_CASE("patch_activations restores what transformers restores") {
  const Json call = {{"clean", golden()["clean"]},
                     {"corrupted", golden()["corrupted"]},
                     {"answer", golden()["answer"]},
                     {"wrong", golden()["wrong"]},
                     {"layers", {5, 20}}};
  const Json got = value("patch_activations", call);
  CHECK(got["shape"] == Json({2, 5}));
  CHECK(got["clean"].get<double>() ==
        doctest::Approx(golden()["clean_difference"].get<double>()).epsilon(1e-3));
  CHECK(got["corrupted"].get<double>() ==
        doctest::Approx(golden()["corrupted_difference"].get<double>()).epsilon(1e-3));
  const auto effects = numbers(got["effects"]);
  check_close(effects, 0, golden()["effects"][0], 1e-3);
  check_close(effects, 5, golden()["effects"][1], 1e-3);
  Json uneven = call;
  uneven["corrupted"] = "The capital of Italy is now";
  CHECK(worker().error("patch_activations", uneven).find("5 tokens") != std::string::npos);
}

TEST_CASE("attention_pattern and get_weights say what is in the model") {
  const CallToolResult result =
      worker().call("attention_pattern", {{"text", golden()["clean"]}, {"layer", 7}});
  REQUIRE(!result.isError);
  CHECK(result.structuredContent.size() < 1024);
  const Json got = Json::parse(result.structuredContent);
  CHECK(got["shape"] == Json({9, 5, 5}));
  CHECK(std::holds_alternative<gpumcp::mcp::ImageContent>(result.content.back().value));
  const auto pattern = numbers(got["uri"]);
  for (size_t head = 0; head < 9; ++head)
    check_close(pattern, head * 25 + 20, golden()["pattern_last"][head], 1e-5);

  const Json weight = value("get_weights", {{"name", "layers.3.mlp.down_proj"}})["weights"][0];
  CHECK(weight["shape"] == golden()["weight"]["shape"]);
  for (const char* key : {"mean", "std", "norm"}) {
    CHECK(weight[key].get<double>() ==
          doctest::Approx(golden()["weight"][key].get<double>()).epsilon(1e-4));
  }
  const Json many = value("get_weights", {{"name", "norm"}});
  CHECK(many["count"] == 61);
  CHECK(many["next"] == 4);
  const Json kept = value("get_weights", {{"name", "model.norm.weight"}, {"keep", true}});
  CHECK(value("describe_tensor", {{"tensor", kept["uri"]}})["shape"] == Json({576}));
  CHECK(worker().error("get_weights", {{"name", "nothing"}}).find("model.") != std::string::npos);
}

TEST_CASE("a probe's weights are the minimum of its loss, and it tells the sets apart") {
  auto rows = [](const Json& texts) {
    return value("get_activations",
                 {{"texts", texts}, {"sites", {"blocks.12.hook_resid_post"}}})["uri"]
        .get<std::string>();
  };
  const std::string positive = rows(golden()["positive"]), negative = rows(golden()["negative"]);
  const Json probe = value(
      "train_probe", {{"positive", positive}, {"negative", negative}, {"l2", 50}, {"held_out", 0}});
  CHECK(probe["dims"] == 576);
  CHECK(probe["accuracy"] == 1);
  CHECK(probe["held_out"] == 0);
  // The gradient of l2/2 |w|^2 + the rows' losses is nothing there.
  const auto w = numbers(probe["probe"]);
  REQUIRE(w.size() == 577);
  std::vector<double> gradient(577);
  for (size_t i = 0; i < 576; ++i) gradient[i] = 50 * double{w[i]};
  for (const auto& [uri, label] : {std::pair(positive, 1.0), std::pair(negative, 0.0)}) {
    const auto x = numbers(uri);
    for (size_t row = 0; row < 4; ++row) {
      double score = w[576];
      for (size_t i = 0; i < 576; ++i) score += double{w[i]} * x[row * 576 + i];
      const double off = 1 / (1 + std::exp(-score)) - label;
      for (size_t i = 0; i < 576; ++i) gradient[i] += off * x[row * 576 + i];
      gradient[576] += off;
    }
  }
  for (const double g : gradient) CHECK(std::abs(g) < 1e-3);

  const Json said = value("apply_probe", {{"probe", probe["probe"]}, {"tensor", positive}});
  CHECK(said["positive"] == 1);
  CHECK(said["probabilities"].size() == 4);
  CHECK(value("apply_probe", {{"probe", probe["probe"]}, {"tensor", negative}})["positive"] == 0);
  const Json held =
      value("train_probe", {{"positive", positive}, {"negative", negative}, {"held_out", 0.25}});
  CHECK(held["rows"] == 6);
  CHECK(held["held_out"] == 2);
  CHECK(worker()
            .error("apply_probe", {{"probe", probe["direction"]}, {"tensor", positive}})
            .find("575") != std::string::npos);
}

TEST_CASE("a probe is scikit-learn's, with more rows than columns and with fewer") {
  std::ostringstream text;
  text << std::ifstream(GPUMCP_TEST_GOLDEN "/interpretability/probe.json").rdbuf();
  const Json all = Json::parse(text.str());
  for (const auto& [name, fits] : all.items()) {
    auto rows = [&, name = name](const char* which) -> std::string {
      return value("load_tensor", {{"file", "probe_" + name + "_" + which + ".npy"}})["uri"];
    };
    const std::string positive = rows("positive"), negative = rows("negative");
    for (const Json& wanted : fits) {
      CAPTURE(name);
      CAPTURE(wanted["l2"].get<double>());
      const Json probe = value(
          "train_probe",
          {{"positive", positive}, {"negative", negative}, {"l2", wanted["l2"]}, {"held_out", 0}});
      const auto got = numbers(probe["probe"]);
      REQUIRE(got.size() == wanted["weights"].size() + 1);
      check_close(got, 0, wanted["weights"], 1e-5);
      CHECK(std::abs(got.back() - wanted["bias"].get<double>()) < 1e-5);
      CHECK(probe["accuracy"].get<double>() ==
            doctest::Approx(wanted["accuracy"].get<double>()).epsilon(1e-5));
      // The direction is the weights, of length 1.
      double norm = 0;
      for (const Json& one : wanted["weights"]) norm += one.get<double>() * one.get<double>();
      Json unit = Json::array();
      for (const Json& one : wanted["weights"]) unit.push_back(one.get<double>() / std::sqrt(norm));
      check_close(numbers(probe["direction"]), 0, unit, 1e-5);
      Json told = Json::array();
      for (const std::string& uri : {positive, negative}) {
        const Json one = value("apply_probe", {{"probe", probe["probe"]}, {"tensor", uri}});
        told.insert(told.end(), one["probabilities"].begin(), one["probabilities"].end());
      }
      REQUIRE(told.size() == wanted["probabilities"].size());
      for (size_t i = 0; i < told.size(); ++i)
        CHECK(std::abs(told[i].get<double>() - wanted["probabilities"][i].get<double>()) < 1e-5);
    }
  }
}

TEST_CASE("three sessions in one batch, two steered apart and one not, get what each gets alone") {
  const Json vector = contrast()["uri"];
  struct Agent {
    std::string session;
    Json steering;
    std::string text, activations;  // alone
  };
  std::vector<Agent> agents{
      {"batch-agent-1", {}, {}, {}}, {"batch-agent-2", {}, {}, {}}, {"batch-agent-3", {}, {}, {}}};
  auto call = [&](const Agent& agent, const std::string& tool, const Json& arguments) {
    gpumcp::mcp::CallOptions options;
    options.meta = {{"gpumcp/session", agent.session}};
    auto result = worker().client().call_tool(tool, arguments, options);
    REQUIRE(result);
    if (result->isError) FAIL(tool << ": " << text_of(*result));
    return *result;
  };
  for (size_t i = 0; i < 2; ++i) {
    const Json made = {
        {"vector", vector}, {"layers", {golden()["layer"]}}, {"strength", i == 0 ? 3 : -2}};
    const Json handle = Json::parse(call(agents[i], "steer", made).structuredContent)["handle"];
    agents[i].steering = Json::array({{{"handle", handle}}});
  }
  agents[2].steering = Json::array();

  struct Answer {
    std::string text, activations;
    int64_t batch;
  };
  // Text that is generated, and what the steered model's layers give, bit by bit.
  auto ask = [&](const Agent& agent) -> Answer {
    const CallToolResult text = call(agent, "generate",
                                     {{"prompt", golden()["steered_prompt"]},
                                      {"max_new_tokens", golden()["new_tokens"]},
                                      {"temperature", 0},
                                      {"steering", agent.steering}});
    const CallToolResult read = call(agent, "get_activations",
                                     {{"texts", {golden()["clean"]}},
                                      {"sites", {"blocks.*.hook_resid_post"}},
                                      {"positions", "all"},
                                      {"steering", agent.steering}});
    return {Json::parse(text.structuredContent)["text"],
            worker().read_bytes(Json::parse(read.structuredContent)["uri"]),
            text._meta["gpumcp/usage"]["batch_size"]};
  };
  for (Agent& agent : agents) {
    const Answer alone = ask(agent);
    CHECK(alone.batch == 1);
    agent.text = alone.text;
    agent.activations = alone.activations;
  }
  for (size_t i = 0; i < 3; ++i) {
    CHECK(agents[i].text != agents[(i + 1) % 3].text);
    CHECK(agents[i].activations != agents[(i + 1) % 3].activations);
  }
  // How calls that begin at once meet is the machine's business: until all three shared a step.
  bool shared = false;
  for (int round = 0; round < 50 && !shared; ++round) {
    std::vector<std::future<Answer>> running;
    for (const Agent& agent : agents)
      running.push_back(std::async(std::launch::async, [&] { return ask(agent); }));
    shared = true;
    for (size_t i = 0; i < 3; ++i) {
      const Answer together = running[i].get();
      CHECK(together.text == agents[i].text);
      CHECK((together.activations == agents[i].activations));
      shared = shared && together.batch >= 3;
    }
  }
  CHECK(shared);
}

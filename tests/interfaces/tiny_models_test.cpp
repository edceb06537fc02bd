// The tools of language_model and interpretability on random models of five families, through a
// server and a client, against transformers with hooks
// (tests/golden/interpretability/make_tiny.py). Bounds: 1e-4 for what tensors hold and for
// probabilities, which results round to six digits.
#include <doctest/doctest.h>

#include <cmath>
#include <fstream>
#include <functional>
#include <sstream>

#include "interfaces/support.h"

using namespace gpumcp::tests;

namespace {

constexpr double kBound = 1e-4;

const Json& golden() {
  static const Json all = [] {
    std::ostringstream text;
    text << std::ifstream(GPUMCP_TEST_GOLDEN "/interpretability/tiny.json").rdbuf();
    return Json::parse(text.str());
  }();
  return all;
}

// One family's model behind the tools, and what transformers computes of it.
struct Tiny {
  Worker& worker;
  const Json& wanted;

  Json value(const std::string& tool, const Json& arguments) const {
    return worker.value(tool, arguments);
  }
  std::vector<float> numbers(const Json& uri) const {
    return parse_npy(worker.read_bytes(uri)).values;
  }
  Json read(const Json& sites, const std::string& positions) const {
    return value("get_activations",
                 {{"texts", {wanted["text"]}}, {"sites", sites}, {"positions", positions}})["uri"];
  }
  std::string contrast() const {
    return value("contrast_vector", {{"positive", wanted["positive"]},
                                     {"negative", wanted["negative"]},
                                     {"layers", {golden()["layer"]}}})["uri"];
  }
  // next_tokens of the text under such a steering.
  void check_next(const Json& steering, const Json& told) const {
    const Json got = value(
        "next_tokens", {{"text", wanted["text"]}, {"top_k", 5}, {"steering", steering}})["tokens"];
    REQUIRE(got.size() == 5);
    for (size_t i = 0; i < 5; ++i) {
      CHECK(got[i]["id"] == told["ids"][i]);
      CHECK(std::abs(got[i]["probability"].get<double>() - told["probabilities"][i].get<double>()) <
            kBound);
    }
  }
};

void check_close(const std::vector<float>& got, const Json& wanted) {
  REQUIRE(got.size() == wanted.size());
  double worst = 0;
  for (size_t i = 0; i < got.size(); ++i)
    worst = std::max(worst, std::abs(got[i] - wanted[i].get<double>()));
  CHECK(worst < kBound);
}
void check_close(const Json& got, const Json& wanted) {
  // Six digits are shown.
  CHECK(std::abs(got.get<double>() - wanted.get<double>()) <
        kBound + 1e-5 * std::abs(wanted.get<double>()));
}

void on_each_model(const std::function<void(const Tiny&)>& check) {
  static std::map<std::string, Worker*> workers;
  for (const auto& [name, wanted] : golden()["models"].items()) {
    CAPTURE(name);
    Worker*& worker = workers[name];
    if (!worker) {
      worker = &Worker::start({"language_model", "interpretability"},
                              {{"default_model", "tiny/" + name}});
    }
    check({*worker, wanted});
  }
}

}  // namespace

TEST_CASE("on five families get_activations gives what hooks read, at each site") {
  on_each_model([](const Tiny& tiny) {
    const std::string layer = "blocks." + golden()["layer"].dump() + ".";
    for (const auto& [site, values] : tiny.wanted["sites"].items()) {
      CAPTURE(site);
      check_close(tiny.numbers(tiny.read({layer + site}, "last")), values);
    }
    const Json out = {layer + "hook_resid_post"};
    check_close(tiny.numbers(tiny.read(out, "mean")), tiny.wanted["mean"]);
    check_close(tiny.numbers(tiny.read(out, "0,3")), tiny.wanted["first_and_fourth"]);
    check_close(tiny.numbers(tiny.read({"ln_final.hook_normalized"}, "last")),
                tiny.wanted["normalized"]);
  });
}

TEST_CASE("on five families contrast_vector is the difference of means") {
  on_each_model([](const Tiny& tiny) {
    const Json& wanted = tiny.wanted["contrast"];
    const Json got = tiny.value("contrast_vector", {{"positive", tiny.wanted["positive"]},
                                                    {"negative", tiny.wanted["negative"]},
                                                    {"layers", {golden()["layer"]}}});
    check_close(tiny.numbers(got["uri"]), wanted["vector"]);
    for (const char* key : {"norm", "effect", "accuracy"})
      check_close(got["layers"][0][key], wanted[key]);
  });
}

TEST_CASE("on five families steered and ablated answers are those of hooks") {
  on_each_model([](const Tiny& tiny) {
    const std::string vector = tiny.contrast();
    const Json& layer = golden()["layer"];
    const double strength = golden()["strength"];
    auto handle = [&](const char* tool, Json arguments) {
      arguments["vector"] = vector;
      return Json::array({{{"handle", tiny.value(tool, arguments)["handle"]}}});
    };
    const Json steered = handle("steer", {{"layers", {layer}}, {"strength", strength}});
    tiny.check_next(Json::array(), tiny.wanted["next"]);
    tiny.check_next(steered, tiny.wanted["steered"]);
    tiny.check_next(
        handle(
            "steer",
            {{"layers", {0}}, {"strength", -strength}, {"site", "mlp_out"}, {"positions", "3,-1"}}),
        tiny.wanted["steered_in_mlp"]);
    tiny.check_next(handle("ablate_direction", Json::object()), tiny.wanted["ablated"]);
    auto text = [&](const Json& steering) {
      const std::string said = tiny.value("generate", {{"prompt", tiny.wanted["text"]},
                                                       {"max_new_tokens", golden()["new_tokens"]},
                                                       {"temperature", 0},
                                                       {"steering", steering}})["text"];
      return said.substr(std::min(said.find_first_not_of(' '), said.size()));
    };
    CHECK(text(Json::array()) == tiny.wanted["plain_text"]);
    CHECK(text(steered) == tiny.wanted["steered_text"]);
    for (const auto& [steering, key] :
         {std::pair(Json::array(), "scores"), std::pair(steered, "steered_scores")}) {
      const Json& scores = tiny.wanted[key];
      const Json got =
          tiny.value("score_text", {{"text", tiny.wanted["text"]}, {"steering", steering}});
      check_close(tiny.numbers(got["uri"]), scores);
      double sum = 0;
      for (const Json& one : scores) sum += one.get<double>();
      check_close(got["log_probability"], sum);
      CHECK(got["perplexity"].get<double>() ==
            doctest::Approx(std::exp(-sum / static_cast<double>(scores.size()))).epsilon(1e-4));
    }
  });
}

TEST_CASE("on five families logit_lens, patch_activations and attention_pattern agree with hooks") {
  on_each_model([](const Tiny& tiny) {
    const Json& text = tiny.wanted["text"];
    const Json lens = tiny.value("logit_lens", {{"text", text}, {"target", tiny.wanted["answer"]}});
    REQUIRE(lens["layers"].size() == tiny.wanted["lens"].size());
    for (size_t i = 0; i < lens["layers"].size(); ++i) {
      const Json &got = lens["layers"][i], &wanted = tiny.wanted["lens"][i];
      for (size_t k = 0; k < 2; ++k) {
        CHECK(got["tokens"][k] == "w" + wanted["ids"][k].dump());
        check_close(got["probabilities"][k], wanted["probabilities"][k]);
      }
      check_close(got["target"], wanted["target"]);
      CHECK(got["rank"] == wanted["rank"]);
    }
    const Json& wanted = tiny.wanted["patching"];
    const Json patched = tiny.value("patch_activations", {{"clean", text},
                                                          {"corrupted", tiny.wanted["corrupted"]},
                                                          {"answer", tiny.wanted["answer"]},
                                                          {"wrong", tiny.wanted["wrong"]}});
    check_close(patched["clean"], wanted["clean"]);
    check_close(patched["corrupted"], wanted["corrupted"]);
    Json effects = Json::array();
    for (const Json& row : wanted["effects"]) effects.insert(effects.end(), row.begin(), row.end());
    check_close(tiny.numbers(patched["effects"]), effects);

    const Json pattern =
        tiny.value("attention_pattern", {{"text", text}, {"layer", golden()["layer"]}});
    const auto weights = tiny.numbers(pattern["uri"]);
    const Json& last = tiny.wanted["pattern"]["last"];
    const size_t heads = pattern["shape"][0], tokens = pattern["shape"][1];
    REQUIRE(last.size() == heads * tokens);
    std::vector<float> got;
    for (size_t head = 0; head < heads; ++head) {
      const auto row = weights.begin() + static_cast<std::ptrdiff_t>((head + 1) * tokens * tokens);
      got.insert(got.end(), row - static_cast<std::ptrdiff_t>(tokens), row);
    }
    check_close(got, last);
    for (const char* key : {"on_first", "on_previous", "on_self"})
      check_close(pattern[key], tiny.wanted["pattern"][key]);
  });
}

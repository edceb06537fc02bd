// Places in the layers, read and changed for one row of a batch, against transformers
// (tests/golden/taps/make.py): every architecture on the random models, and the real SmolLM2.
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/sin.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/stack.h>
#include <doctest/doctest.h>

#include <future>

#include "gpu_runtime/auto_model.h"
#include "gpu_runtime/safetensors.h"
#include "gpu_runtime/tensors.h"
#include "smollm2.h"
#include "tiny_models.h"

using namespace gpumcp::gpu_runtime;

namespace {

using Tokens = std::vector<std::int32_t>;
constexpr std::int64_t kTokens = 12, kLast = 4;  // as make.py has them
constexpr std::int64_t kForever = std::numeric_limits<std::int64_t>::max();

at::Tensor wave(std::int64_t n) {
  return at::sin(at::arange(1, n + 1, at::kDouble)).to(at::kFloat);
}

AutoModelForCausalLM tiny(const std::string& name) {
  return AutoModelForCausalLM::from_pretrained(tiny_folder(name), {}, &cpu_runtime());
}
AutoModelForCausalLM smollm2() {
  return AutoModelForCausalLM::from_pretrained(smollm2_folder(), {}, &cpu_runtime());
}

TokenRow row_of(const std::string& name, RowTaps taps) {
  Tokens ids = tiny_row(name).ids;
  ids.resize(kTokens);
  return {ids, {}, std::make_shared<RowTaps>(std::move(taps))};
}

class Golden {
 public:
  explicit Golden(const std::string& name)
      : file_(SafetensorsFile::open(golden_folder() / "taps" / (name + ".safetensors"))) {}
  at::Tensor operator[](const std::string& key) const {
    const TensorInfo* info = file_->find(key);
    REQUIRE_MESSAGE(info != nullptr, key);
    at::Tensor out = at::empty(info->shape, at::kFloat);
    std::memcpy(out.mutable_data_ptr(), file_->data(*info).data(), info->nbytes);
    return out;
  }

 private:
  std::shared_ptr<const SafetensorsFile> file_;
};

double difference(const at::Tensor& a, const at::Tensor& b) {
  REQUIRE(a.numel() == b.numel());
  return (a.flatten() - b.flatten()).abs().max().item<double>();
}

const TokenPlaces kLastPlaces{.begin = kTokens - kLast};
const Capture kScores{{SiteKind::final_norm, 0}, kLastPlaces, true};

std::vector<at::Tensor> one(const AutoModelForCausalLM& model, TokenRow row) {
  return model.capture({std::move(row)}).at(0);
}

}  // namespace

TEST_CASE("sites have TransformerLens' names, long and short") {
  for (const char* name :
       {"blocks.0.hook_resid_pre", "blocks.11.attn.hook_pattern", "blocks.2.attn.hook_z",
        "blocks.2.attn.hook_q", "blocks.2.attn.hook_k", "blocks.2.attn.hook_v",
        "blocks.2.attn.hook_attn_scores", "blocks.2.hook_attn_out", "blocks.2.hook_resid_mid",
        "blocks.2.mlp.hook_post", "blocks.2.hook_mlp_out", "blocks.300.hook_resid_post",
        "ln_final.hook_normalized"}) {
    CHECK(to_string(parse_site(name)) == name);
  }
  CHECK(parse_site("blocks.3.resid_post") == Site{SiteKind::resid_post, 3});
  CHECK(parse_site("3.mlp_post") == Site{SiteKind::mlp_post, 3});
  for (const char* name :
       {"", "blocks", "blocks.", "blocks.x.hook_z", "blocks.1", "blocks.1.", "blocks.-1.resid_post",
        "blocks.1.hook_embed", "blocks.1hook_z", "blocks.99999999999999999999.resid_post"}) {
    CAPTURE(name);
    CHECK(contains(message_of(ErrorCode::invalid_argument, [&] { parse_site(name); }),
                   "hook_resid_post"));
  }
}

TEST_CASE("every architecture's sites hold what transformers' modules pass on") {
  const std::vector<std::string> sites{"resid_pre", "z",       "attn_out",  "resid_mid",
                                       "mlp_post",  "mlp_out", "resid_post"};
  for (const std::string& name : kTinyDecoders) {
    CAPTURE(name);
    const Golden golden(name);
    RowTaps taps;
    for (const std::string& site : sites)
      taps.captures.push_back({parse_site("blocks.1." + site), kLastPlaces});
    taps.captures.push_back({{SiteKind::final_norm, 0}, kLastPlaces});
    taps.captures.push_back({{SiteKind::resid_post, 0}, kLastPlaces, true});
    taps.captures.push_back({{SiteKind::pattern, 1}, {}});
    const auto got = one(tiny(name), row_of(name, taps));
    for (std::size_t i = 0; i < sites.size(); ++i) {
      CAPTURE(sites[i]);
      CHECK(difference(got[i], golden[sites[i]]) <= 1e-4);
    }
    CHECK(got[1].dim() == 3);  // z: [places, heads, head_dim]
    CHECK(difference(got[7], golden["final_norm"]) <= 1e-4);
    CHECK(difference(got[8], golden["lens"]) <= 1e-4);
    CHECK(difference(got[9].narrow(1, kTokens - kLast, kLast), golden["pattern"]) <= 1e-5);
  }
}

TEST_CASE("queries, keys and values are what every architecture's projections give") {
  const Golden golden("qkv");
  for (const std::string& name : kTinyDecoders) {
    CAPTURE(name);
    RowTaps taps;
    for (const char* site : {"q", "k", "v"})
      taps.captures.push_back({parse_site("blocks.1." + std::string(site)), kLastPlaces});
    const auto got = one(tiny(name), row_of(name, taps));
    for (std::size_t i = 0; i < 3; ++i) {
      CHECK(got[i].dim() ==
            3);  // [places, heads, head_dim], of keys and values as many as there are
      CHECK(difference(got[i], golden[name + "." + std::string(1, "qkv"[i])]) <= 1e-4);
    }
    CHECK(got[1].sizes() == got[2].sizes());
  }
}

TEST_CASE("an edited query, key or value is what attention then reads") {
  for (const char* name : {"llama", "gpt2", "gemma3"}) {
    const std::string model_name = name;
    const auto model = tiny(model_name);
    for (const SiteKind kind : {SiteKind::q, SiteKind::k, SiteKind::v}) {
      RowTaps reading{{{{kind, 1}, {}}, kScores}, {}};
      const auto plain = one(model, row_of(model_name, reading));
      // Put back what was there: nothing changes. Put in another's: something does.
      const at::Tensor flat = plain[0].flatten(1);
      TokenPlaces all;
      for (std::int64_t i = 0; i < kTokens; ++i) all.list.push_back(i);
      RowTaps same = reading;
      same.edits.push_back({{kind, 1}, EditKind::replace, flat, 1, all});
      CHECK(one(model, row_of(model_name, same))[1].equal(plain[1]));
      RowTaps other = reading;
      other.edits.push_back({{kind, 1}, EditKind::replace, flat.flip(0), 1, all});
      const auto changed = one(model, row_of(model_name, other));
      CHECK(changed[0].flatten(1).equal(flat.flip(0)));
      CHECK(difference(changed[1], plain[1]) > 1e-3);
    }
  }
}

TEST_CASE("a replaced attention pattern mixes the values as it says") {
  for (const char* name : {"llama", "gpt2", "gemma2"}) {
    const std::string model_name = name;
    const auto model = tiny(model_name);
    const SiteKind kinds[] = {SiteKind::scores, SiteKind::pattern, SiteKind::z, SiteKind::v};
    RowTaps reading;
    for (const SiteKind kind : kinds) reading.captures.push_back({{kind, 1}, {}});
    reading.captures.push_back(kScores);
    const auto plain = one(model, row_of(model_name, reading));
    CHECK(at::softmax(plain[0], -1).equal(plain[1]));
    const std::int64_t heads = plain[1].size(0), kv_heads = plain[3].size(1);
    auto with = [&](SiteKind kind, const at::Tensor& value) {
      RowTaps taps = reading;
      taps.edits.push_back({{kind, 1}, EditKind::replace, value, 1, {}});
      return one(model, row_of(model_name, taps));
    };
    CHECK(difference(with(SiteKind::pattern, plain[1])[4], plain[4]) <= 1e-4);
    CHECK(difference(with(SiteKind::scores, plain[0])[4], plain[4]) <= 1e-4);
    // Everybody looks at himself alone: z is his own value.
    const at::Tensor self = at::eye(kTokens).expand({heads, kTokens, kTokens}).contiguous();
    const auto own = with(SiteKind::pattern, self);
    const at::Tensor values = plain[3].repeat_interleave(heads / kv_heads, 1);
    CHECK(difference(own[2], values) <= 1e-6);
    CHECK(difference(own[4], plain[4]) > 1e-3);
    // Knocking out one look: all but the first token of head 0 no longer see the first.
    at::Tensor knocked = plain[0].clone();
    knocked.select(0, 0).select(1, 0).slice(0, 1).fill_(-std::numeric_limits<float>::infinity());
    const auto blind = with(SiteKind::scores, knocked);
    CHECK(blind[1].select(0, 0).select(1, 0).slice(0, 1).abs().max().item<float>() == 0);
    CHECK(difference(blind[1].select(0, 1), plain[1].select(0, 1)) == 0);
  }
}

TEST_CASE("every architecture's scores after edits are transformers' with hooks") {
  for (const std::string& name : kTinyDecoders) {
    CAPTURE(name);
    const Golden golden(name);
    const auto model = tiny(name);
    const std::int64_t d = model.config().hidden_size, layers = model.config().num_hidden_layers;
    RowTaps added{{kScores},
                  {{{SiteKind::resid_post, 0}, EditKind::add, wave(d), 2, {.begin = 3}}}};
    RowTaps ablated{{kScores}, {}};
    for (std::int64_t i = 0; i < layers; ++i)
      ablated.edits.push_back({{SiteKind::resid_post, i}, EditKind::ablate, wave(d) * 7, 1, {}});
    const std::int64_t width = golden["z"].numel() / kLast;
    RowTaps replaced{{kScores},
                     {{{SiteKind::z, 1},
                       EditKind::replace,
                       at::stack({wave(width), wave(width) * 2}),
                       1,
                       {.list = {2, 5}}}}};
    CHECK(difference(one(model, row_of(name, added))[0], golden["added"]) <= 2e-4);
    CHECK(difference(one(model, row_of(name, ablated))[0], golden["ablated"]) <= 2e-4);
    CHECK(difference(one(model, row_of(name, replaced))[0], golden["replaced"]) <= 2e-4);
  }
}

TEST_CASE("rows with different edits and without ride in one batch and change no bit of another") {
  const auto model = smollm2();
  const Tokens ids{504, 3575, 282, 4649, 314};
  auto row = [&](std::vector<Edit> edits) {
    return TokenRow{ids,
                    {},
                    std::make_shared<RowTaps>(RowTaps{{{{SiteKind::final_norm, 0}, {}, true},
                                                       {{SiteKind::resid_post, 12}, {.begin = 4}}},
                                                      std::move(edits)})};
  };
  const std::vector<TokenRow> rows{
      row({}), row({{{SiteKind::resid_post, 10}, EditKind::add, wave(576), 3, {}}}),
      row({{{SiteKind::resid_post, 4}, EditKind::ablate, wave(576), 1, {}}}),
      row({{{SiteKind::mlp_out, 20}, EditKind::add, wave(576), -1, {.list = {1, 4}}}})};
  const auto together = model.capture(rows);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    CAPTURE(i);
    const auto alone = one(model, rows[i]);
    CHECK(together[i][0].equal(alone[0]));
    CHECK(together[i][1].equal(alone[1]));
    CHECK(alone[1].sizes() == at::IntArrayRef({1, 576}));
    if (i > 0) CHECK(!together[i][0].equal(together[0][0]));
  }
  // What carries no taps at all is the same too.
  CHECK(model(std::vector<TokenRow>{{ids, {}}}).logits[0].equal(together[0][0]));
}

TEST_CASE("only the layers that a capture needs are computed, with the same numbers") {
  const auto model = smollm2();
  const Capture early{{SiteKind::resid_post, 3}, {}};
  const TokenRow only{{504, 3575, 282}, {}, std::make_shared<RowTaps>(RowTaps{{early}, {}})};
  const TokenRow all{
      {504, 3575, 282},
      {},
      std::make_shared<RowTaps>(RowTaps{{early, {{SiteKind::final_norm, 0}, {}}}, {}})};
  const auto a = one(model, only), b = one(model, all);
  CHECK(a[0].equal(b[0]));
  auto hidden =
      model(std::vector<TokenRow>{{{504, 3575, 282}, {}}}, {.output_hidden_states = true});
  CHECK(hidden.hidden_states[4][0].equal(a[0]));
}

TEST_CASE("generated texts are transformers' with hooks, alone and together, token for token") {
  const Json cases = read_json_file(golden_folder() / "taps/smollm2.json");
  const auto model = smollm2();
  auto generate = [&](const Json& one, bool capture) {
    GenerationOptions options{.max_new_tokens = 24, .do_sample = false, .eos_token_id = Tokens{}};
    RowTaps taps;
    for (const Json& edit : one["edits"]) {
      taps.edits.push_back({{SiteKind::resid_post, edit[0].get<std::int64_t>()},
                            EditKind::add,
                            wave(576),
                            edit[1].get<double>(),
                            {.begin = edit[2].get<std::int64_t>()}});
    }
    if (capture) taps.captures.push_back({{SiteKind::resid_post, 20}, {}});
    if (capture || !taps.edits.empty()) options.taps = std::make_shared<RowTaps>(std::move(taps));
    std::vector<Encoding> rows(1);
    rows[0].ids = one["ids"].get<Tokens>();
    return model.generate(BatchEncoding(std::move(rows)), options).at(0);
  };
  std::vector<std::future<Generation>> running;
  for (int round = 0; round < 2; ++round) {
    for (const Json& one : cases)
      running.push_back(std::async(std::launch::async, generate, one, round == 1));
  }
  for (std::size_t i = 0; i < cases.size(); ++i) {
    CAPTURE(i);
    const auto wanted = cases[i]["greedy"].get<Tokens>();
    CHECK(generate(cases[i], false).tokens == wanted);
    CHECK(running[i].get().tokens == wanted);
    const Generation captured = running[cases.size() + i].get();
    CHECK(captured.tokens == wanted);
    REQUIRE(captured.captures.size() == 1);
    // Every token that was fed: the prompt and all that was generated but the last.
    const auto fed = static_cast<std::int64_t>(cases[i]["ids"].size()) + 24 - 1;
    CHECK(captured.captures[0].sizes() == at::IntArrayRef({fed, 576}));
    if (!cases[i]["edits"].empty()) continue;
    // The same as reading the whole text at once, but for the order of sums.
    Tokens text = cases[i]["ids"].get<Tokens>();
    text.insert(text.end(), wanted.begin(), wanted.end() - 1);
    const TokenRow whole{
        text, {}, std::make_shared<RowTaps>(RowTaps{{{{SiteKind::resid_post, 20}, {}}}, {}})};
    CHECK(difference(one(model, whole)[0], captured.captures[0]) <= 2e-3);
  }
}

TEST_CASE("taps that do not fit are refused with what would") {
  const auto model = tiny("llama");
  auto said = [&](RowTaps taps) {
    return message_of(ErrorCode::invalid_argument,
                      [&] { model.capture({row_of("llama", std::move(taps))}); });
  };
  CHECK(contains(said({{{{SiteKind::resid_post, 2}, {}}}, {}}), "layers are 0 to 1"));
  CHECK(contains(said({{{{SiteKind::resid_post, 0}, {.list = {12}}}}, {}}), "token 12"));
  CHECK(contains(said({{{{SiteKind::resid_post, 0}, {.list = {3, 3}}}}, {}}), "ascend"));
  CHECK(contains(said({{{{SiteKind::mlp_post, 0}, {}, true}}, {}}), "residual stream"));
  CHECK(contains(said({{}, {{{SiteKind::resid_post, 0}, EditKind::add, wave(31), 1, {}}}}),
                 "32 values"));
  CHECK(
      contains(said({{}, {{{SiteKind::pattern, 0}, EditKind::add, wave(32), 1, {}}}}), "replaced"));
  CHECK(contains(said({{}, {{{SiteKind::scores, 0}, EditKind::replace, wave(32), 1, {}}}}),
                 "[4, 12, 12]"));
  CHECK(contains(said({{}, {{{SiteKind::z, 0}, EditKind::replace, wave(32), 1, {}}}}), "places"));
  auto llama = cpu_runtime().model(tiny_folder("llama"));
  GenerationRequest request{.prompt = {1, 2, 3}, .config = llama->generation_config()};
  request.taps = std::make_shared<RowTaps>(RowTaps{{{{SiteKind::pattern, 0}, {}}}, {}});
  CHECK(contains(
      message_of(ErrorCode::invalid_argument, [&] { llama->generate({request}, nullptr); }),
      "whole text"));
  // An encoder has none.
  auto bert = cpu_runtime().model(tiny_folder("bert"));
  TokenRow row = tiny_row("bert");
  row.taps = std::make_shared<RowTaps>();
  CHECK(contains(message_of(ErrorCode::unsupported, [&] { bert->run({row}, {}); }), "encoders"));
}

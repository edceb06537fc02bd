#include "gpu_runtime/generation/generation_config.h"

#include <fmt/format.h>

#include "gpu_runtime/error.h"
#include "gpu_runtime/json.h"
#include "gpu_runtime/model_config.h"

namespace gpumcp::gpu_runtime {
namespace {

constexpr std::int64_t kMaxId = std::int64_t{1} << 31;
constexpr std::int64_t kMostTokens = std::int64_t{1} << 32;

// A number or a list of them.
std::vector<std::int32_t> read_ids(const ModelConfig& config, const char* key) {
  std::vector<std::int32_t> ids;
  if (!config.has(key)) return ids;
  const Json& value = config.json().at(key);
  const Json list = value.is_array() ? value : Json::array({value});
  for (const Json& id : list) {
    if (!id.is_number_integer() || id.get<std::int64_t>() < 0 || id.get<std::int64_t>() >= kMaxId ||
        list.size() > 1000) {
      throw Error(ErrorCode::corrupt_checkpoint,
                  fmt::format("{}: \"{}\" must be a token id or a list of them, not {}",
                              config.origin(), key, describe_json(value)));
    }
    ids.push_back(id.get<std::int32_t>());
  }
  return ids;
}

void require(bool fine, std::string_view name, double value, std::string_view expected) {
  if (fine) return;
  throw Error(ErrorCode::invalid_argument,
              fmt::format("{} is {}: expected {}", name, value, expected));
}

void check(const GenerationConfig& c) {
  require(c.max_new_tokens >= 1 && c.max_new_tokens <= kMostTokens, "max_new_tokens",
          static_cast<double>(c.max_new_tokens), "1 or more");
  require(c.temperature >= 0 && c.temperature <= 100, "temperature", c.temperature,
          "0 (the likeliest token always) to 100");
  require(c.top_k >= 0, "top_k", static_cast<double>(c.top_k), "0 (all tokens) or more");
  require(c.top_p > 0 && c.top_p <= 1, "top_p", c.top_p, "more than 0, at most 1 (all tokens)");
  require(c.min_p >= 0 && c.min_p <= 1, "min_p", c.min_p, "0 (all tokens) to 1");
  require(c.repetition_penalty > 0 && c.repetition_penalty <= 1000, "repetition_penalty",
          c.repetition_penalty, "more than 0; 1 changes nothing");
}

}  // namespace

GenerationConfig GenerationConfig::from_pretrained(const std::filesystem::path& folder) {
  GenerationConfig out;
  const auto path = folder / "generation_config.json";
  std::error_code error;
  if (std::filesystem::exists(path, error)) {
    const ModelConfig file = ModelConfig::from_json(read_json_file(path), path.string());
    out.max_new_tokens = file.get_int("max_new_tokens", 1, kMostTokens, out.max_new_tokens);
    out.do_sample = file.get_bool("do_sample", out.do_sample);
    out.temperature = file.get_number("temperature", 0, 100, out.temperature);
    out.top_k = file.get_int("top_k", 0, kMostTokens, out.top_k);
    out.top_p = file.get_number("top_p", 0, 1, out.top_p);
    out.min_p = file.get_number("min_p", 0, 1, out.min_p);
    out.repetition_penalty = file.get_number("repetition_penalty", 0, 1000, out.repetition_penalty);
    out.eos_token_id = read_ids(file, "eos_token_id");
    if (out.top_p == 0) out.top_p = 1e-9;  // transformers keeps one token then
    if (out.repetition_penalty == 0) {
      throw Error(ErrorCode::corrupt_checkpoint,
                  path.string() + ": repetition_penalty is 0: expected more than 0");
    }
  }
  if (out.eos_token_id.empty()) {
    const ModelConfig config = ModelConfig::from_pretrained(folder);
    out.eos_token_id = read_ids(config, "eos_token_id");
    if (out.eos_token_id.empty() && config.has("text_config"))
      out.eos_token_id = read_ids(config.get_object("text_config"), "eos_token_id");
  }
  return out;
}

GenerationConfig GenerationConfig::with(const GenerationOptions& options) const {
  GenerationConfig out = *this;
  auto take = [](auto& value, const auto& wanted) {
    if (wanted) value = *wanted;
  };
  take(out.max_new_tokens, options.max_new_tokens);
  if (options.temperature && !options.do_sample) out.do_sample = *options.temperature > 0;
  take(out.do_sample, options.do_sample);
  take(out.temperature, options.temperature);
  take(out.top_k, options.top_k);
  take(out.top_p, options.top_p);
  take(out.min_p, options.min_p);
  take(out.repetition_penalty, options.repetition_penalty);
  take(out.eos_token_id, options.eos_token_id);
  check(out);
  if (options.stop.size() > kMaxStopStrings) {
    throw Error(ErrorCode::invalid_argument, fmt::format("{} stop strings: at most {} are possible",
                                                         options.stop.size(), kMaxStopStrings));
  }
  for (const std::string& stop : options.stop) {
    if (stop.empty() || stop.size() > kMaxStopString) {
      throw Error(
          ErrorCode::invalid_argument,
          fmt::format("a stop string of {} bytes: expected 1 to {}", stop.size(), kMaxStopString));
    }
  }
  return out;
}

}  // namespace gpumcp::gpu_runtime

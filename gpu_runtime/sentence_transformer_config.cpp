#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <system_error>
#include <utility>

#include "gpu_runtime/error.h"
#include "gpu_runtime/model_config.h"

// modules.json lists the pipeline; each module has a folder with its own config.json, except those
// without parameters (Normalize), whose folder is often absent.
namespace gpumcp::gpu_runtime {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kMaxWidth = 1 << 20;
constexpr std::int64_t kMaxSequence = std::int64_t{1} << 24;

// The flag in 1_Pooling/config.json, the newer name, and the order in which sentence-transformers
// concatenates the results.
struct PoolingFlag {
  const char* flag;
  const char* name;
  PoolingMode mode;
};
constexpr std::array<PoolingFlag, 6> kPoolingFlags{{
    {"pooling_mode_cls_token", "cls", PoolingMode::cls},
    {"pooling_mode_max_tokens", "max", PoolingMode::max},
    {"pooling_mode_mean_tokens", "mean", PoolingMode::mean},
    {"pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens", PoolingMode::mean_sqrt_len},
    {"pooling_mode_weightedmean_tokens", "weightedmean", PoolingMode::weighted_mean},
    {"pooling_mode_lasttoken", "lasttoken", PoolingMode::last_token},
}};

bool is_file(const fs::path& path) {
  std::error_code ignored;
  return fs::is_regular_file(path, ignored);
}

ModelConfig read_config(const fs::path& path) {
  return ModelConfig::from_json(read_json_file(path, {.max_bytes = std::size_t{16} << 20}),
                                path.string());
}

// The folder of a module; its path comes from the model and must stay inside the model's folder.
fs::path module_folder(const fs::path& folder, const std::string& path, const std::string& origin) {
  const fs::path relative(path);
  const bool inside =
      !relative.has_root_path() && path.find('\0') == path.npos &&
      std::ranges::none_of(relative, [](const fs::path& part) { return part == ".."; });
  if (!inside) {
    throw Error(ErrorCode::corrupt_checkpoint,
                fmt::format("{}: the module path {} leaves the model's folder", origin,
                            describe_json(Json(path))));
  }
  return path.empty() ? folder : folder / relative;
}

void read_transformer(SentenceTransformerConfig& config, const fs::path& folder) {
  config.transformer_folder = folder;
  for (const char* name :
       {"bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet"}) {
    const fs::path path = folder / fmt::format("sentence_{}_config.json", name);
    if (!is_file(path)) continue;
    const ModelConfig json = read_config(path);
    if (json.has("max_seq_length")) {
      config.max_seq_length = json.get_int("max_seq_length", 1, kMaxSequence);
    }
    config.do_lower_case = json.get_bool("do_lower_case", false);
    return;
  }
}

void read_pooling(SentenceTransformerConfig& config, const fs::path& folder) {
  const ModelConfig json = read_config(folder / "config.json");
  config.pooling.clear();
  if (json.has("pooling_mode")) {  // the newer form: a name, or several
    const Json& mode = json.json()["pooling_mode"];
    std::vector<std::string> names;
    for (const Json& name : mode.is_array() ? mode : Json::array({mode})) {
      if (!name.is_string()) json.get_string("pooling_mode");  // throws: says what it must be
      names.push_back(name.get<std::string>());
    }
    for (const PoolingFlag& row : kPoolingFlags) {
      if (std::erase(names, std::string(row.name)) > 0) config.pooling.push_back(row.mode);
    }
    if (!names.empty()) {
      throw Error(ErrorCode::unsupported, fmt::format("{}: unknown pooling mode {}", json.origin(),
                                                      describe_json(Json(names.front()))));
    }
  } else {
    for (const PoolingFlag& row : kPoolingFlags) {
      if (json.get_bool(row.flag, row.mode == PoolingMode::mean))
        config.pooling.push_back(row.mode);
    }
  }
  if (config.pooling.empty()) {
    throw Error(ErrorCode::corrupt_checkpoint,
                fmt::format("{}: no pooling mode is on", json.origin()));
  }
  const char* width =
      json.has("embedding_dimension") ? "embedding_dimension" : "word_embedding_dimension";
  if (json.has(width)) config.word_embedding_dimension = json.get_int(width, 1, kMaxWidth);
  config.include_prompt = json.get_bool("include_prompt", true);
}

DenseModule read_dense(const fs::path& folder) {
  const ModelConfig json = read_config(folder / "config.json");
  DenseModule dense;
  dense.folder = folder;
  dense.in_features = json.get_int("in_features", 1, kMaxWidth);
  dense.out_features = json.get_int("out_features", 1, kMaxWidth);
  dense.bias = json.get_bool("bias", true);
  const std::string activation =
      json.get_string("activation_function", "torch.nn.modules.activation.Tanh");
  dense.activation = activation.substr(activation.rfind('.') + 1);
  return dense;
}

void read_prompts(SentenceTransformerConfig& config, const fs::path& folder) {
  const fs::path path = folder / "config_sentence_transformers.json";
  if (!is_file(path)) return;
  const ModelConfig json = read_config(path);
  if (json.has("prompts")) {
    const ModelConfig prompts = json.get_object("prompts");
    for (const auto& [name, unused] : prompts.json().items()) {
      if (prompts.has(name)) config.prompts.emplace(name, prompts.get_string(name));
    }
  }
  if (json.has("default_prompt_name")) {
    config.default_prompt_name = json.get_string("default_prompt_name");
    if (!config.prompts.contains(*config.default_prompt_name)) {
      throw Error(ErrorCode::corrupt_checkpoint,
                  fmt::format("{}: default_prompt_name {} is none of its prompts", path.string(),
                              describe_json(Json(*config.default_prompt_name))));
    }
  }
  config.similarity = json.get_string("similarity_fn_name", "cosine");
}

void read_modules(SentenceTransformerConfig& config, const fs::path& folder, const fs::path& path) {
  const Json modules = read_json_file(path, {.max_bytes = std::size_t{1} << 20});
  const std::string origin = path.string();
  if (!modules.is_array() || modules.empty() || modules.size() > 64) {
    throw Error(
        ErrorCode::corrupt_checkpoint,
        fmt::format("{}: must list 1 to 64 modules, but is {}", origin, describe_json(modules)));
  }
  config.has_modules = true;
  enum { transformer, pooling, dense, normalize } last = transformer;
  for (std::size_t i = 0; i < modules.size(); ++i) {
    const ModelConfig module = ModelConfig::from_json(modules[i], fmt::format("{}[{}]", origin, i));
    const std::string type = module.get_string("type");
    const std::string kind = type.substr(type.rfind('.') + 1);
    const fs::path place = module_folder(folder, module.get_string("path", ""), module.origin());
    if (i == 0 && kind == "Transformer") {
      read_transformer(config, place);
    } else if (i == 1 && kind == "Pooling") {
      read_pooling(config, place);
      last = pooling;
    } else if (kind == "Dense" && (last == pooling || last == dense)) {
      config.dense.push_back(read_dense(place));
      last = dense;
    } else if (kind == "Normalize" && (last == pooling || last == dense)) {
      config.normalize = true;
      last = normalize;
    } else {
      throw Error(
          ErrorCode::unsupported,
          fmt::format("{}: module {} of type {} at this place is not supported; supported are "
                      "Transformer, Pooling, any Dense, then Normalize",
                      origin, i, describe_json(Json(type))));
    }
  }
  if (last == transformer) {
    throw Error(ErrorCode::unsupported, fmt::format("{}: lists no Pooling module", origin));
  }
}

}  // namespace

std::string_view to_string(PoolingMode mode) {
  switch (mode) {
    case PoolingMode::cls:
      return "cls";
    case PoolingMode::max:
      return "max";
    case PoolingMode::mean:
      return "mean";
    case PoolingMode::mean_sqrt_len:
      return "mean_sqrt_len";
    case PoolingMode::weighted_mean:
      return "weighted_mean";
    case PoolingMode::last_token:
      return "last_token";
  }
  return "mean";
}

SentenceTransformerConfig SentenceTransformerConfig::from_pretrained(const fs::path& folder) {
  SentenceTransformerConfig config;
  const fs::path modules = folder / "modules.json";
  if (is_file(modules)) {
    read_modules(config, folder, modules);
  } else {
    read_transformer(config,
                     folder);  // and mean pooling, no normalisation: sentence-transformers' rule
  }
  read_prompts(config, folder);
  return config;
}

}  // namespace gpumcp::gpu_runtime

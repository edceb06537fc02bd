#include <fmt/format.h>

#include <array>
#include <system_error>
#include <utility>

#include "gpu_runtime/error.h"
#include "gpu_runtime/tokenizer.h"
#include "gpu_runtime/tokenizer_parts.h"
#include "gpu_runtime/tokenizer_state.h"

// From a folder's files to a Tokenizer: tokenizer.json, or a BERT's vocab.txt made into the same
// form; then tokenizer_config.json and special_tokens_map.json for the roles of the special tokens.
namespace gpumcp::gpu_runtime {
namespace {

namespace fs = std::filesystem;

constexpr JsonLimits kTokenizerLimits{.max_bytes = std::size_t{256} << 20, .max_depth = 32};
// transformers writes 1e30 for "no limit"; nothing real comes near this.
constexpr double kVeryLarge = 1e9;

struct Role {
  const char* key;
  std::optional<std::int32_t> TokenRoles::* member;
  std::array<const char*, 2> usual;  // what the token is mostly called
};
constexpr std::array<Role, 7> kRoles{{
    {"cls_token", &TokenRoles::cls, {"[CLS]", nullptr}},
    {"sep_token", &TokenRoles::sep, {"[SEP]", nullptr}},
    {"pad_token", &TokenRoles::pad, {"[PAD]", "<pad>"}},
    {"mask_token", &TokenRoles::mask, {"[MASK]", "<mask>"}},
    {"unk_token", &TokenRoles::unk, {"[UNK]", "<unk>"}},
    {"bos_token", &TokenRoles::bos, {"<bos>", "<s>"}},
    {"eos_token", &TokenRoles::eos, {"<eos>", "</s>"}},
}};

const Json& field(const Json& json, const char* key) {
  static const Json null;
  const auto found = json.find(key);
  return found == json.end() ? null : *found;
}

// {"cls_token": "[CLS]"} or {"cls_token": {"content": "[CLS]", …}}; nullopt where there is none.
std::optional<std::string> token_of_role(const Json& config, const char* key) {
  const Json& value = config.is_object() ? field(config, key) : config;
  if (value.is_string()) return value.get<std::string>();
  if (value.is_object() && field(value, "content").is_string())
    return field(value, "content").get<std::string>();
  return {};
}

bool is_file(const fs::path& path) {
  std::error_code ignored;
  return fs::is_regular_file(path, ignored);
}

Json read_if_there(const fs::path& path) {
  return is_file(path) ? read_json_file(path, {.max_bytes = std::size_t{64} << 20}) : Json();
}

// The tokenizer.json that a BERT's vocab.txt stands for.
Json from_vocab_txt(const fs::path& path, const Json& config) {
  static const Json none = Json::object();
  const TokenizerPart part(config.is_null() ? none : config, "tokenizer_config.json");
  const std::string type = part.string("tokenizer_class", "BertTokenizer");
  if (!type.starts_with("Bert") && !type.starts_with("DistilBert") && !type.starts_with("MiniLM")) {
    throw Error(
        ErrorCode::unsupported,
        fmt::format(
            "{}: vocab.txt without tokenizer.json is read for BERT tokenizers only, not for {}",
            path.string(), describe_json(Json(type))));
  }
  const std::string text = read_text_file(path, std::size_t{64} << 20);
  Json vocab = Json::object();
  std::int64_t id = 0;
  for (std::size_t at = 0; at < text.size(); ++id) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    std::string token = text.substr(at, end - at);
    if (!token.empty() && token.back() == '\r') token.pop_back();
    vocab[std::move(token)] = id;
    at = end + 1;
  }
  Json added = Json::array(), special = Json::object();
  const auto name_of = [&](const char* role, const char* usual) {
    return token_of_role(config, role).value_or(usual);
  };
  for (const auto& [role, usual] :
       {std::pair{"pad_token", "[PAD]"}, std::pair{"unk_token", "[UNK]"},
        std::pair{"cls_token", "[CLS]"}, std::pair{"sep_token", "[SEP]"},
        std::pair{"mask_token", "[MASK]"}}) {
    const std::string token = name_of(role, usual);
    if (!vocab.contains(token)) continue;
    added.push_back(
        {{"id", vocab[token]}, {"content", token}, {"special", true}, {"normalized", false}});
  }
  const std::string cls = name_of("cls_token", "[CLS]"), sep = name_of("sep_token", "[SEP]");
  for (const std::string& token : {cls, sep}) {
    if (!vocab.contains(token)) {
      throw Error(ErrorCode::corrupt_checkpoint,
                  fmt::format("{}: has no token {}", path.string(), describe_json(Json(token))));
    }
  }
  Json normalizer = {{"type", "BertNormalizer"},
                     {"lowercase", part.boolean("do_lower_case", true)},
                     {"handle_chinese_chars", part.boolean("tokenize_chinese_chars", true)}};
  if (const auto strip = part.optional_boolean("strip_accents"))
    normalizer["strip_accents"] = *strip;
  return {
      {"normalizer", normalizer},
      {"pre_tokenizer", {{"type", "BertPreTokenizer"}}},
      {"post_processor",
       {{"type", "BertProcessing"}, {"cls", {cls, vocab[cls]}}, {"sep", {sep, vocab[sep]}}}},
      {"decoder", {{"type", "WordPiece"}}},
      {"added_tokens", added},
      {"model",
       {{"type", "WordPiece"}, {"unk_token", name_of("unk_token", "[UNK]")}, {"vocab", vocab}}}};
}

const Json& require_object(const Json& json, const std::string& origin) {
  if (!json.is_object() || field(json, "model").is_null()) {
    throw Error(
        ErrorCode::corrupt_checkpoint,
        fmt::format("{}: is no tokenizer.json: it must be an object with a \"model\"", origin));
  }
  return json;
}

}  // namespace

Tokenizer::State::State(const Json& json, const std::string& origin)
    : normalizer(make_normalizer(field(require_object(json, origin), "normalizer"), origin)),
      pre_tokenizer(make_pre_tokenizer(field(json, "pre_tokenizer"), origin)),
      model(make_token_model(field(json, "model"), origin, pre_tokenizer->byte_level())),
      decoder(make_decoder(field(json, "decoder"), origin)),
      added_tokens(field(json, "added_tokens"), *model, *normalizer, origin),
      post_processor(field(json, "post_processor"), origin) {
  vocab_size = model->vocab_size();
  for (const AddedToken& token : added_tokens.all())
    vocab_size += !model->token_to_id(token.content);
  for (const Role& role : kRoles) {
    for (const char* usual : role.usual) {
      if (usual && !(roles.*role.member)) roles.*role.member = token_to_id(usual);
    }
  }
  if (model->unk_id()) roles.unk = model->unk_id();
}

std::optional<std::int32_t> Tokenizer::State::token_to_id(std::string_view token) const {
  const AddedToken* added = added_tokens.find(token);
  return added ? std::optional(added->id) : model->token_to_id(token);
}

std::optional<std::string_view> Tokenizer::State::id_to_token(std::int32_t id) const {
  const AddedToken* added = added_tokens.find(id);
  return added ? std::optional<std::string_view>(added->shown) : model->id_to_token(id);
}

Tokenizer Tokenizer::from_json(std::string_view tokenizer_json, const std::string& origin) {
  return Tokenizer(
      std::make_shared<const State>(parse_json(tokenizer_json, origin, kTokenizerLimits), origin));
}

Tokenizer Tokenizer::from_pretrained(const fs::path& folder) {
  const Json config = read_if_there(folder / "tokenizer_config.json");
  const Json map = read_if_there(folder / "special_tokens_map.json");
  const fs::path path = folder / "tokenizer.json", vocab = folder / "vocab.txt";
  std::shared_ptr<State> state;
  if (is_file(path)) {
    state = std::make_shared<State>(read_json_file(path, kTokenizerLimits), path.string());
  } else if (is_file(vocab)) {
    state = std::make_shared<State>(from_vocab_txt(vocab, config), vocab.string());
  } else {
    throw Error(
        ErrorCode::not_found,
        fmt::format(
            "{}: has neither tokenizer.json nor vocab.txt: half downloaded, or no model with "
            "a tokenizer. Pull the model again.",
            folder.string()));
  }
  for (const Role& role : kRoles) {
    auto token = token_of_role(config, role.key);
    if (!token) token = token_of_role(map, role.key);
    if (!token) continue;
    if (const auto id = state->token_to_id(*token)) state->roles.*role.member = id;
  }
  if (config.is_object()) {
    const Json& length = field(config, "model_max_length");
    if (length.is_number() && length.get<double>() >= 1 && length.get<double>() < kVeryLarge) {
      state->model_max_length = static_cast<std::size_t>(length.get<double>());
    }
  }
  return Tokenizer(std::move(state));
}

}  // namespace gpumcp::gpu_runtime

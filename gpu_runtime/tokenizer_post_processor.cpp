#include "gpu_runtime/tokenizer_post_processor.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "gpu_runtime/error.h"
#include "gpu_runtime/tokenizer_parts.h"

namespace gpumcp::gpu_runtime {
namespace {

constexpr std::size_t kMaxSteps = 64;
constexpr std::size_t kMaxSpecialIds = 64;

// Tokens [begin, end) of a list.
struct Range {
  std::size_t begin, end;
  std::size_t size() const { return end - begin; }
};

Range cut(std::size_t size, std::size_t keep, Side side) {
  if (keep >= size) return {0, size};
  return side == Side::right ? Range{0, keep} : Range{size - keep, size};
}

// How many tokens of two texts remain when both together may have `room`: the longer one gives
// first.
std::pair<std::size_t, std::size_t> share(std::size_t n1, std::size_t n2, std::size_t room) {
  const bool swapped = n1 > n2;
  if (swapped) std::swap(n1, n2);
  n2 = n1 > room ? n1 : std::max(n1, room - n1);
  if (n1 + n2 > room) {
    n1 = room / 2;
    n2 = n1 + room % 2;
  }
  return swapped ? std::pair(n2, n1) : std::pair(n1, n2);
}

std::pair<std::size_t, std::size_t> keep_of_each(std::size_t n1, std::optional<std::size_t> n2,
                                                 std::size_t room, TruncationStrategy strategy) {
  const std::size_t total = n1 + n2.value_or(0);
  if (total <= room) return {n1, n2.value_or(0)};
  if (room == 0) return {0, 0};
  if (strategy == TruncationStrategy::longest_first)
    return n2 ? share(n1, *n2, room) : std::pair(room, std::size_t{0});
  const bool first = strategy == TruncationStrategy::only_first;
  if (!first && !n2) {
    throw Error(ErrorCode::invalid_argument,
                "truncation \"only_second\" needs a second text; use \"longest_first\"");
  }
  std::size_t& target = first ? n1 : *n2;
  if (target <= total - room) {
    throw Error(
        ErrorCode::invalid_argument,
        fmt::format("truncation cannot take {} tokens from a text of {}; use \"longest_first\"",
                    total - room, target));
  }
  target -= total - room;
  return {n1, n2.value_or(0)};
}

void append(Encoding& to, const TokenList& tokens, Range range, std::int32_t type_id,
            bool with_offsets) {
  const auto begin = static_cast<std::ptrdiff_t>(range.begin),
             end = static_cast<std::ptrdiff_t>(range.end);
  to.ids.insert(to.ids.end(), tokens.ids.begin() + begin, tokens.ids.begin() + end);
  to.type_ids.insert(to.type_ids.end(), range.size(), type_id);
  to.special_tokens_mask.insert(to.special_tokens_mask.end(), range.size(), 0);
  if (with_offsets) {
    to.offsets.insert(to.offsets.end(), tokens.offsets.begin() + begin,
                      tokens.offsets.begin() + end);
  }
}

}  // namespace

PostProcessor::Template PostProcessor::read_template(const Json& steps, const Json& special_tokens,
                                                     const std::string& name) {
  if (!steps.is_array() || steps.size() > kMaxSteps) {
    throw Error(ErrorCode::corrupt_checkpoint,
                fmt::format("{}: must be an array of at most {} steps", name, kMaxSteps));
  }
  Template result;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const std::string where = fmt::format("{}[{}]", name, i);
    const TokenizerPart step(steps[i], where);
    if (const Json* sequence = step.find("Sequence")) {
      const TokenizerPart part(*sequence, where + ": Sequence");
      const std::string id = part.string("id");
      if (id != "A" && id != "B") part.refuse("id", "\"A\" or \"B\"", part.at("id"));
      result.push_back({id == "A" ? Step::Kind::first : Step::Kind::second,
                        static_cast<std::int32_t>(part.integer("type_id", 0, 1024, 0)),
                        {}});
      continue;
    }
    const TokenizerPart part(step.at("SpecialToken"), where + ": SpecialToken");
    const TokenizerPart all(special_tokens, name + ": special_tokens");
    const TokenizerPart special(all.at(part.string("id")), all.name() + ": " + part.string("id"));
    const Json& ids = special.at("ids");
    if (!ids.is_array() || ids.size() > kMaxSpecialIds)
      special.refuse("ids", "an array of at most 64 ids", ids);
    Step added{
        Step::Kind::special, static_cast<std::int32_t>(part.integer("type_id", 0, 1024, 0)), {}};
    for (const Json& id : ids) added.ids.push_back(to_token_id(id, special.name()));
    result.push_back(std::move(added));
  }
  return result;
}

PostProcessor::PostProcessor(const Json& json, const std::string& origin) {
  using Kind = Step::Kind;
  single_ = {{Kind::first, 0, {}}};
  pair_ = {{Kind::first, 0, {}}, {Kind::second, 1, {}}};
  if (json.is_null()) return;
  read(TokenizerPart(json, origin + ": post_processor"));
}

void PostProcessor::read(const TokenizerPart& part) {
  using Kind = Step::Kind;
  const std::string type = part.type();
  if (type == "Sequence") {
    const Json& list = part.at("processors");
    if (!list.is_array() || list.size() > kMaxSteps)
      part.refuse("processors", "an array of at most 64 parts", list);
    for (std::size_t i = 0; i < list.size(); ++i)
      read(TokenizerPart(list[i], fmt::format("{}: processors[{}]", part.name(), i)));
    return;
  }
  if (type == "ByteLevel" || type == "RobertaProcessing") {
    if (part.boolean("trim_offsets", true)) {
      trim_offsets_ = true;
      added_prefix_space_ = part.boolean("add_prefix_space", true);
    }
    if (type == "ByteLevel") return;
  }
  if (has_template_) {
    throw Error(ErrorCode::unsupported,
                fmt::format("{}: only one post-processor that adds tokens is supported, and this "
                            "is the second",
                            part.name()));
  }
  has_template_ = true;
  if (type == "BertProcessing" || type == "RobertaProcessing") {
    const auto id_of = [&](const char* role) {
      const Json& value = part.at(role);  // ["[SEP]", 102]
      if (!value.is_array() || value.size() != 2) part.refuse(role, "a token and its id", value);
      return to_token_id(value[1], part.name() + ": " + role);
    };
    const std::int32_t cls = id_of("cls"), sep = id_of("sep");
    single_ = {{Kind::special, 0, {cls}}, {Kind::first, 0, {}}, {Kind::special, 0, {sep}}};
    pair_ = single_;
    const bool roberta = type == "RobertaProcessing";
    if (roberta) pair_.push_back({Kind::special, 0, {sep}});
    pair_.push_back({Kind::second, roberta ? 0 : 1, {}});
    pair_.push_back({Kind::special, roberta ? 0 : 1, {sep}});
    return;
  }
  if (type != "TemplateProcessing") {
    part.unsupported("BertProcessing, ByteLevel, RobertaProcessing, Sequence, TemplateProcessing");
  }
  const Json* special_tokens = part.find("special_tokens");
  const Json none = Json::object();
  single_ = read_template(part.at("single"), special_tokens ? *special_tokens : none,
                          part.name() + ": single");
  pair_ = read_template(part.at("pair"), special_tokens ? *special_tokens : none,
                        part.name() + ": pair");
  const auto uses = [](const Template& steps, Kind kind) {
    return std::ranges::count(steps, kind, &Step::kind) == 1;
  };
  if (!uses(single_, Kind::first) || std::ranges::count(single_, Kind::second, &Step::kind) != 0 ||
      !uses(pair_, Kind::first) || !uses(pair_, Kind::second)) {
    throw Error(ErrorCode::corrupt_checkpoint,
                fmt::format("{}: single must use A once, pair A and B once each", part.name()));
  }
}

std::size_t PostProcessor::n_special_tokens(bool pair) const {
  std::size_t n = 0;
  for (const Step& step : pair ? pair_ : single_) n += step.ids.size();
  return n;
}

Encoding PostProcessor::assemble(const TokenList& first, const TokenList* pair,
                                 const EncodeOptions& options) const {
  const Template& steps = pair ? pair_ : single_;
  const std::size_t n_special = options.add_special_tokens ? n_special_tokens(pair != nullptr) : 0;
  const std::size_t n1 = first.ids.size();
  const auto n2 = pair ? std::optional(pair->ids.size()) : std::nullopt;
  auto keep = std::pair(n1, n2.value_or(0));
  if (options.max_length) {
    if (*options.max_length < n_special) {
      throw Error(ErrorCode::invalid_argument,
                  fmt::format("max_length {} cannot hold the {} special tokens; give at least {}",
                              *options.max_length, n_special, n_special));
    }
    keep = keep_of_each(n1, n2, *options.max_length - n_special, options.strategy);
  }

  Encoding encoding;
  encoding.n_tokens_before_truncation = n1 + n2.value_or(0) + n_special;
  const std::size_t size = keep.first + keep.second + n_special;
  encoding.truncated = size < encoding.n_tokens_before_truncation;
  encoding.ids.reserve(size);
  encoding.type_ids.reserve(size);
  encoding.special_tokens_mask.reserve(size);
  if (options.return_offsets) encoding.offsets.reserve(size);
  for (const Step& step : steps) {
    if (step.kind == Step::Kind::first) {
      append(encoding, first, cut(n1, keep.first, options.truncation_side), step.type_id,
             options.return_offsets);
    } else if (step.kind == Step::Kind::second) {
      append(encoding, *pair, cut(*n2, keep.second, options.truncation_side), step.type_id,
             options.return_offsets);
    } else if (options.add_special_tokens) {
      for (const std::int32_t id : step.ids) {
        encoding.ids.push_back(id);
        encoding.type_ids.push_back(step.type_id);
        encoding.special_tokens_mask.push_back(1);
        if (options.return_offsets) encoding.offsets.emplace_back(0, 0);
      }
    }
  }
  encoding.attention_mask.assign(encoding.ids.size(), 1);
  return encoding;
}

}  // namespace gpumcp::gpu_runtime

#include "mcp/schema/ecma_regex.h"

#include <fmt/format.h>
#include <re2/re2.h>

#include <algorithm>
#include <utility>

namespace gpumcp::mcp::schema {
namespace {

constexpr int64_t kMaxRegexMemory = 4 << 20;

}  // namespace

Result<Pattern> Pattern::compile(std::string_view pattern) {
  auto translated = ecma_to_re2(pattern);
  if (!translated) return tl::unexpected(std::move(translated.error()));
  re2::RE2::Options options;
  options.set_log_errors(false);
  options.set_never_capture(true);
  options.set_max_mem(kMaxRegexMemory);
  auto regex = std::make_shared<const re2::RE2>(*translated, options);
  if (!regex->ok()) {
    const bool repeats = regex->error_code() == re2::RE2::ErrorRepeatSize ||
                         regex->error_code() == re2::RE2::ErrorPatternTooLarge;
    return fail(
        ErrorCode::invalid_params,
        fmt::format(
            "the pattern \"{}\" cannot be used: {}{}", pattern.substr(0, 100), regex->error(),
            repeats ? "; repeat at most 1000 times, and bound lengths with maxLength" : ""));
  }
  return Pattern(std::string(pattern), std::move(regex));
}

bool Pattern::matches(std::string_view text) const {
  return re2::RE2::PartialMatch(re2::StringPiece(text.data(), text.size()), *regex_);
}

std::size_t Pattern::program_size() const {
  return static_cast<std::size_t>(std::max(0, regex_->ProgramSize()));
}

}  // namespace gpumcp::mcp::schema

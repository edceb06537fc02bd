#include "cli/text_lines.h"

#include <fmt/format.h>

#include <stdexcept>

#include "mcp/json.h"

namespace gpumcp::cli {
namespace {

bool is_blank(const std::string& line) { return line.find_first_not_of(" \t") == line.npos; }

// The text in a line of JSON; nothing: it is something else.
std::optional<std::string> text_in(const std::string& line) {
  auto json = mcp::parse_json(line);
  if (!json) return {};
  if (json->is_string()) return json->get<std::string>();
  if (!json->is_object()) return {};
  const auto it = json->find("text");
  return it != json->end() && it->is_string() ? std::optional(it->get<std::string>())
                                              : std::nullopt;
}

}  // namespace

bool TextLines::take(const std::string& line, std::string& text) {
  const auto where = [&] {
    return fmt::format("{}, line {}", input_.name(), input_.line_number());
  };
  if (format_ == TextFormat::automatic && !is_blank(line))
    format_ = text_in(line) ? TextFormat::json : TextFormat::text;
  if (format_ == TextFormat::json) {
    if (is_blank(line)) return false;
    auto found = text_in(line);
    if (!found)
      throw std::invalid_argument(
          fmt::format("{}: expected a JSON string or an object with a \"text\", as in the lines "
                      "before (--format "
                      "text takes lines as they stand)",
                      where()));
    text = std::move(*found);
    return true;
  }
  if (mcp::find_invalid_utf8(line) != line.npos)
    throw std::invalid_argument(fmt::format("{}: is not valid UTF-8", where()));
  text = line;
  return true;
}

void TextLines::next(std::vector<std::string>& texts, size_t max_texts, size_t max_bytes,
                     bool may_wait) {
  size_t bytes = 0;
  std::string line, text;
  while (texts.size() < max_texts && bytes < max_bytes) {
    const auto got = input_.next(line, may_wait && texts.empty());
    if (got == LineInput::Got::end) ended_ = true;
    if (got != LineInput::Got::line) return;
    if (!take(line, text)) continue;
    bytes += text.size();
    texts.push_back(std::move(text));
  }
}

}  // namespace gpumcp::cli

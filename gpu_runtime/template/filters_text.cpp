// Filters of text. As in Jinja they take any value, for its text.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "gpu_runtime/template/builtins.h"

namespace gpumcp::gpu_runtime::jinja {
namespace {

// A filter that only changes text.
template <std::string (*F)(std::string_view)>
Value changed(Interpreter& in, const Value& subject, const Arguments& given) {
  const Bound args("the filter", given, {});
  const std::string text = in.text(subject);
  in.budget().spend(4 * text.size());
  return F(text);
}

Value do_trim(Interpreter& in, const Value& subject, const Arguments& given) {
  const Bound args("trim", given, {"chars"});
  const std::string text = in.text(subject);
  return strip(text, args.string(0, ""), true, true);
}

Value do_replace(Interpreter& in, const Value& subject, const Arguments& given) {
  const Bound args("replace", given, {"old", "new", "count"});
  return replace_all(in.text(subject), in.text(args.required(0)), in.text(args.required(1)),
                     args.integer(2, -1), in.budget());
}

Value do_indent(Interpreter& in, const Value& subject, const Arguments& given) {
  const Bound args("indent", given, {"width", "first", "blank"});
  std::string space;
  if (args.given(0) && args[0]->is_string())
    space = args[0]->string();
  else
    space.assign(static_cast<std::size_t>(std::clamp<std::int64_t>(args.integer(0, 4), 0, 1000)),
                 ' ');
  const bool blank = args.truth(2, false);
  const std::string text = in.text(subject);
  std::string out = args.truth(1, false) ? space : "";
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t newline = std::min(text.find('\n', at), text.size());
    const std::string_view line = std::string_view(text).substr(at, newline - at);
    in.budget().spend(space.size() + line.size());
    if (at > 0 && (blank || !line.empty())) out += space;
    out += line;
    if (newline < text.size()) out += '\n';
    at = newline + 1;
  }
  return out;
}

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&#34;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string quoted(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       std::string_view("/_.-~").find(c) != std::string_view::npos;
    if (plain)
      out += c;
    else
      out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return out;
}

Value do_wordcount(Interpreter& in, const Value& subject, const Arguments& given) {
  const Bound args("wordcount", given, {});
  const std::string text = in.text(subject);
  std::int64_t words = 0;
  for (std::string_view rest = strip(text, {}, true, true); !rest.empty();) {
    ++words;
    const std::size_t end = std::min(rest.find_first_of(" \t\n\r\f\v"), rest.size());
    rest = strip(rest.substr(end), {}, true, false);
  }
  return words;
}

Value do_truncate(Interpreter& in, const Value& subject, const Arguments& given) {
  const Bound args("truncate", given, {"length", "killwords", "end", "leeway"});
  const std::string text = in.text(subject), end = args.string(2, "...");
  const auto letters = characters(text);
  const auto size = static_cast<std::int64_t>(letters.size());
  const std::int64_t length = args.integer(0, 255), leeway = args.integer(3, 5);
  const auto tail = static_cast<std::int64_t>(characters(end).size());
  if (length < tail) throw TemplateError("truncate: 'length' is shorter than 'end'");
  if (size <= length + leeway) return text;
  std::string out;
  for (std::int64_t i = 0; i < length - tail; ++i) out += letters[static_cast<std::size_t>(i)];
  if (!args.truth(1, false)) out = out.substr(0, std::min(out.rfind(' '), out.size()));
  return out + end;
}

Value do_center(Interpreter& in, const Value& subject, const Arguments& given) {
  const Bound args("center", given, {"width"});
  std::string text = in.text(subject);
  const std::int64_t width = std::min<std::int64_t>(args.integer(0, 80), 100'000);
  const auto size = static_cast<std::int64_t>(characters(text).size());
  if (size >= width) return text;
  const std::int64_t room = width - size, left = room / 2 + (room & width & 1);
  in.budget().spend(static_cast<std::size_t>(room));
  return std::string(static_cast<std::size_t>(left), ' ') + text +
         std::string(static_cast<std::size_t>(room - left), ' ');
}

// Python's "%s is %d" for the conversions that templates use.
Value do_format(Interpreter& in, const Value& subject, const Arguments& given) {
  const std::string text = in.text(subject);
  std::string out;
  std::size_t next = 0;
  for (std::size_t at = 0; at < text.size(); ++at) {
    in.budget().spend(1);
    if (text[at] != '%') {
      out += text[at];
      continue;
    }
    const char kind = at + 1 < text.size() ? text[++at] : '\0';
    if (kind == '%') {
      out += '%';
      continue;
    }
    if (std::string_view("sdif").find(kind) == std::string_view::npos)
      throw TemplateError("format: only %s, %d, %i, %f and %% are supported");
    if (next >= given.positional.size()) throw TemplateError("format: not enough arguments");
    const Value& value = given.positional[next++];
    if (kind == 's') {
      out += in.text(value);
    } else if (!value.is_number()) {
      throw TemplateError(fmt::format("format: %{} needs a number", kind));
    } else {
      out += kind == 'f' ? fmt::format("{:f}", value.real())
                         : fmt::format("{:.0f}", std::trunc(value.real()));
    }
  }
  return out;
}

constexpr Filter kFilters[] = {
    {"capitalize", changed<capitalize>},
    {"center", do_center},
    {"e", changed<escaped>},
    {"escape", changed<escaped>},
    {"forceescape", changed<escaped>},
    {"format", do_format},
    {"indent", do_indent},
    {"lower", changed<lower>},
    {"replace", do_replace},
    {"title", changed<title>},
    {"trim", do_trim},
    {"truncate", do_truncate},
    {"upper", changed<upper>},
    {"urlencode", changed<quoted>},
    {"wordcount", do_wordcount},
};

}  // namespace

const Filter* find_text_filter(std::string_view name) {
  for (const Filter& filter : kFilters) {
    if (filter.name == name) return &filter;
  }
  return nullptr;
}

}  // namespace gpumcp::gpu_runtime::jinja

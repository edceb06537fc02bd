// Methods of strings, lists and dicts, as Python has them.
#include <fmt/format.h>

#include <algorithm>

#include "gpu_runtime/template/builtins.h"
#include "gpu_runtime/unicode.h"

namespace gpumcp::gpu_runtime::jinja {
namespace {

using Method = Value (*)(Interpreter&, const Value& self, const Arguments&);

// --- strings ----------------------------------------------------------------------------------
template <bool Left, bool Right>
Value do_strip(Interpreter& in, const Value& self, const Arguments& given) {
  const Bound args("strip", given, {"chars"});
  in.budget().spend(self.string().size() / 4);
  return strip(self.string(), args.string(0, ""), Left, Right);
}

// At runs of white space, or at a separator; `most` below 0: everywhere.
template <bool FromRight>
Value do_split(Interpreter& in, const Value& self, const Arguments& given) {
  const Bound args("split", given, {"sep", "maxsplit"});
  std::int64_t most = args.integer(1, -1);
  std::string_view rest = self.string();
  in.budget().spend(2 * rest.size());
  List out;
  if (!args.given(0)) {
    rest = strip(rest, {}, !FromRight, FromRight);
    while (!rest.empty()) {
      std::string_view piece = rest;
      if (most != 0) {
        const auto letters = characters(rest);
        std::size_t length = 0, i = 0;
        for (; i < letters.size(); ++i) {
          const std::string_view letter = FromRight ? letters[letters.size() - 1 - i] : letters[i];
          if (strip(letter, {}, true, true).empty()) break;
          length += letter.size();
        }
        in.budget().spend(letters.size());
        piece = FromRight ? rest.substr(rest.size() - length) : rest.substr(0, length);
        if (i < letters.size() && most > 0) --most;
      }
      out.emplace_back(piece);
      rest = FromRight ? strip(rest.substr(0, rest.size() - piece.size()), {}, false, true)
                       : strip(rest.substr(piece.size()), {}, true, false);
    }
  } else {
    const std::string& between = args.string(0);
    if (between.empty()) throw TemplateError("split: empty separator");
    for (; most != 0; --most) {
      const std::size_t at = FromRight ? rest.rfind(between) : rest.find(between);
      if (at == rest.npos) break;
      in.budget().spend(4);
      out.emplace_back(FromRight ? rest.substr(at + between.size()) : rest.substr(0, at));
      rest = FromRight ? rest.substr(0, at) : rest.substr(at + between.size());
    }
    out.emplace_back(rest);
  }
  if (FromRight) std::reverse(out.begin(), out.end());
  return Value::list(std::move(out));
}

Value do_splitlines(Interpreter& in, const Value& self, const Arguments& given) {
  const Bound args("splitlines", given, {"keepends"});
  const bool keep = args.truth(0, false);
  const std::string_view text = self.string();
  in.budget().spend(2 * text.size());
  List out;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find_first_of("\n\r\v\f", at), text.size());
    const bool two = text.substr(end).starts_with("\r\n");
    const std::size_t next = std::min(end + (two ? 2 : 1), text.size());
    out.emplace_back(text.substr(at, (keep ? next : end) - at));
    at = next;
  }
  return Value::list(std::move(out));
}

template <bool End>
Value do_affix(Interpreter& in, const Value& self, const Arguments& given) {
  const Bound args(End ? "endswith" : "startswith", given, {"affix", "start", "end"});
  std::string_view text = self.string();
  if (args.given(1) || args.given(2)) {
    const auto letters = characters(text);
    in.budget().spend(letters.size());
    const SliceRange range =
        slice_range(static_cast<std::int64_t>(letters.size()), args.given(1) ? *args[1] : Value(),
                    args.given(2) ? *args[2] : Value(), Value());
    if (range.count == 0) {
      text = {};
    } else {
      const std::string_view first = letters[static_cast<std::size_t>(range.begin)];
      const std::string_view last =
          letters[static_cast<std::size_t>(range.begin + range.count - 1)];
      text = text.substr(static_cast<std::size_t>(first.data() - text.data()),
                         static_cast<std::size_t>(last.data() + last.size() - first.data()));
    }
  }
  auto holds = [&](const Value& affix) {
    if (!affix.is_string()) throw TemplateError("startswith and endswith need a string");
    return End ? text.ends_with(affix.string()) : text.starts_with(affix.string());
  };
  const Value& affix = args.required(0);
  if (!affix.is_tuple()) return holds(affix);
  return std::any_of(affix.items().begin(), affix.items().end(), holds);
}

template <std::string (*F)(std::string_view)>
Value changed(Interpreter& in, const Value& self, const Arguments& given) {
  const Bound args("the method", given, {});
  in.budget().spend(4 * self.string().size());
  return F(self.string());
}

// Python's own, by letters; the filter's is Jinja's.
std::string python_title(std::string_view text) {
  std::string out;
  bool begins = true;
  for (const std::string_view character : characters(text)) {
    const std::string small = lower(character), large = upper(character);
    const bool letter = small != large;
    out += !letter ? std::string(character) : begins ? large : small;
    begins = !letter;
  }
  return out;
}

Value do_replace(Interpreter& in, const Value& self, const Arguments& given) {
  const Bound args("replace", given, {"old", "new", "count"});
  return replace_all(self.string(), args.string(0), args.string(1), args.integer(2, -1),
                     in.budget());
}

// In characters; -1 where it is not.
template <bool FromRight>
std::int64_t position(Interpreter& in, const Value& self, const Value& what) {
  if (!what.is_string()) throw TemplateError("find needs a string");
  in.budget().spend(self.string().size());
  const std::size_t at =
      FromRight ? self.string().rfind(what.string()) : self.string().find(what.string());
  if (at == std::string::npos) return -1;
  return static_cast<std::int64_t>(count_chars(std::string_view(self.string()).substr(0, at)));
}
template <bool FromRight>
Value do_find(Interpreter& in, const Value& self, const Arguments& given) {
  const Bound args("find", given, {"sub"});
  return position<FromRight>(in, self, args.required(0));
}
Value do_index(Interpreter& in, const Value& self, const Arguments& given) {
  const Bound args("index", given, {"value"});
  if (self.is_string()) {
    const std::int64_t at = position<false>(in, self, args.required(0));
    if (at < 0) throw TemplateError("substring not found");
    return at;
  }
  for (std::size_t i = 0; i < self.items().size(); ++i) {
    if (equals(self.items()[i], args.required(0), in.budget())) return static_cast<std::int64_t>(i);
  }
  throw TemplateError("the value is not in the list");
}
Value do_count(Interpreter& in, const Value& self, const Arguments& given) {
  const Bound args("count", given, {"value"});
  std::int64_t count = 0;
  if (!self.is_string()) {
    for (const Value& item : self.items()) count += equals(item, args.required(0), in.budget());
    return count;
  }
  const std::string& what = args.string(0);
  in.budget().spend(self.string().size());
  if (what.empty()) return static_cast<std::int64_t>(count_chars(self.string())) + 1;
  for (std::size_t at = 0; (at = self.string().find(what, at)) != std::string::npos;
       at += what.size())
    ++count;
  return count;
}

Value do_join(Interpreter& in, const Value& self, const Arguments& given) {
  const Bound args("join", given, {"items"});
  std::string out;
  bool first = true;
  for (const Value& item : in.iterate(args.required(0))) {
    if (!item.is_string())
      throw TemplateError(fmt::format("join: expected strings, got a '{}'", type_name(item)));
    in.budget().spend(self.string().size() + item.string().size());
    if (!std::exchange(first, false)) out += self.string();
    out += item.string();
  }
  return out;
}

template <bool Suffix>
Value do_remove(Interpreter&, const Value& self, const Arguments& given) {
  const Bound args(Suffix ? "removesuffix" : "removeprefix", given, {"affix"});
  std::string_view text = self.string();
  const std::string& affix = args.string(0);
  if (Suffix ? text.ends_with(affix) : text.starts_with(affix))
    text = Suffix ? text.substr(0, text.size() - affix.size()) : text.substr(affix.size());
  return text;
}

template <bool FromRight>
Value do_partition(Interpreter& in, const Value& self, const Arguments& given) {
  const Bound args("partition", given, {"sep"});
  const std::string_view text = self.string();
  const std::string& between = args.string(0);
  if (between.empty()) throw TemplateError("partition: empty separator");
  in.budget().spend(text.size());
  const std::size_t at = FromRight ? text.rfind(between) : text.find(between);
  if (at == text.npos)
    return FromRight ? Value::tuple({"", "", text}) : Value::tuple({text, "", ""});
  return Value::tuple({text.substr(0, at), between, text.substr(at + between.size())});
}

template <bool (*F)(std::string_view letter)>
Value all_are(Interpreter& in, const Value& self, const Arguments& given) {
  const Bound args("the method", given, {});
  in.budget().spend(self.string().size());
  const auto letters = characters(self.string());
  return !letters.empty() && std::all_of(letters.begin(), letters.end(), F);
}
bool is_space(std::string_view letter) { return strip(letter, {}, true, true).empty(); }
bool is_digit(std::string_view letter) {
  return letter.size() == 1 && letter[0] >= '0' && letter[0] <= '9';
}
bool is_alnum(std::string_view letter) {
  return letter != "_" && is_word_char(decode_utf8(letter.data()).code_point);
}
bool is_alpha(std::string_view letter) { return is_alnum(letter) && !is_digit(letter); }

Value is_lower(Interpreter& in, const Value& self, const Arguments&) {
  return in.test("lower", self, {});
}
Value is_upper(Interpreter& in, const Value& self, const Arguments&) {
  return in.test("upper", self, {});
}

Value do_zfill(Interpreter& in, const Value& self, const Arguments& given) {
  const Bound args("zfill", given, {"width"});
  std::string text = self.string();
  const std::int64_t room = std::min<std::int64_t>(args.integer(0, 0), 100'000) -
                            static_cast<std::int64_t>(count_chars(text));
  if (room <= 0) return text;
  in.budget().spend(static_cast<std::size_t>(room));
  const bool sign = text.starts_with('-') || text.starts_with('+');
  return text.insert(sign ? 1 : 0, static_cast<std::size_t>(room), '0');
}

// "{} and {name}" alone; what is inside the braces beside a name or number is refused.
Value do_format(Interpreter& in, const Value& self, const Arguments& given) {
  const std::string& text = self.string();
  std::string out;
  std::size_t next = 0;
  for (std::size_t at = 0; at < text.size(); ++at) {
    in.budget().spend(1);
    if ((text[at] == '{' || text[at] == '}') && at + 1 < text.size() && text[at + 1] == text[at]) {
      out += text[at++];
    } else if (text[at] == '{') {
      const std::size_t end = text.find('}', at);
      if (end == text.npos) throw TemplateError("format: '{' without '}'");
      const std::string name = text.substr(at + 1, end - at - 1);
      const bool number =
          !name.empty() && name.size() < 6 && name.find_first_not_of("0123456789") == name.npos;
      if (name.empty() || number) {
        const std::size_t place = number ? std::stoul(name) : next++;
        if (place >= given.positional.size())
          throw TemplateError("format: more places than arguments");
        out += in.text(given.positional[place]);
      } else {
        const auto found = std::find_if(given.named.begin(), given.named.end(),
                                        [&](const auto& one) { return one.first == name; });
        if (found == given.named.end())
          throw TemplateError("format: {" + name.substr(0, 40) + "} is not supported");
        out += in.text(found->second);
      }
      at = end;
    } else {
      out += text[at];
    }
  }
  return out;
}

// --- dicts ------------------------------------------------------------------------------------
Value do_get(Interpreter& in, const Value& self, const Arguments& given) {
  const Bound args("get", given, {"key", "default"});
  if (const Value* value = self.find(args.required(0), in.budget())) return *value;
  return args[1] == nullptr ? Value() : *args[1];
}
Value do_items(Interpreter& in, const Value& self, const Arguments& given) {
  return in.filter("items", self, given);
}
Value do_keys(Interpreter& in, const Value& self, const Arguments& given) {
  const Bound args("keys", given, {});
  return Value::list(in.iterate(self));
}
Value do_values(Interpreter& in, const Value& self, const Arguments& given) {
  const Bound args("values", given, {});
  in.budget().spend(self.entries().size());
  List out;
  for (const auto& [key, value] : self.entries()) out.push_back(value);
  return Value::list(std::move(out));
}
Value do_copy(Interpreter&, const Value& self, const Arguments& given) {
  const Bound args("copy", given, {});
  return self;
}

Value do_refuse(Interpreter&, const Value& self, const Arguments&) {
  throw TemplateError(fmt::format("a template may not change a '{}'", type_name(self)));
}

struct Entry {
  std::string_view name;
  Method method;
};
constexpr Entry kStringMethods[] = {
    {"capitalize", changed<capitalize>},
    {"count", do_count},
    {"endswith", do_affix<true>},
    {"find", do_find<false>},
    {"format", do_format},
    {"index", do_index},
    {"isalnum", all_are<is_alnum>},
    {"isalpha", all_are<is_alpha>},
    {"isdecimal", all_are<is_digit>},
    {"isdigit", all_are<is_digit>},
    {"islower", is_lower},
    {"isnumeric", all_are<is_digit>},
    {"isspace", all_are<is_space>},
    {"isupper", is_upper},
    {"join", do_join},
    {"lower", changed<lower>},
    {"lstrip", do_strip<true, false>},
    {"partition", do_partition<false>},
    {"removeprefix", do_remove<false>},
    {"removesuffix", do_remove<true>},
    {"replace", do_replace},
    {"rfind", do_find<true>},
    {"rpartition", do_partition<true>},
    {"rsplit", do_split<true>},
    {"rstrip", do_strip<false, true>},
    {"split", do_split<false>},
    {"splitlines", do_splitlines},
    {"startswith", do_affix<false>},
    {"strip", do_strip<true, true>},
    {"title", changed<python_title>},
    {"upper", changed<upper>},
    {"zfill", do_zfill},
};
constexpr Entry kListMethods[] = {
    {"append", do_refuse}, {"clear", do_refuse},   {"copy", do_copy},     {"count", do_count},
    {"extend", do_refuse}, {"index", do_index},    {"insert", do_refuse}, {"pop", do_refuse},
    {"remove", do_refuse}, {"reverse", do_refuse}, {"sort", do_refuse},
};
constexpr Entry kDictMethods[] = {
    {"clear", do_refuse},  {"copy", do_copy},     {"get", do_get},        {"items", do_items},
    {"keys", do_keys},     {"pop", do_refuse},    {"popitem", do_refuse}, {"setdefault", do_refuse},
    {"update", do_refuse}, {"values", do_values},
};

template <class Table>
Method look_up(const Table& table, std::string_view name) {
  for (const Entry& entry : table) {
    if (entry.name == name) return entry.method;
  }
  return nullptr;
}

}  // namespace

std::optional<Value> find_method(const Value& object, std::string_view name) {
  const Method method = object.is_string()     ? look_up(kStringMethods, name)
                        : object.is_sequence() ? look_up(kListMethods, name)
                        : object.is_dict()     ? look_up(kDictMethods, name)
                                               : nullptr;
  if (method == nullptr) return std::nullopt;
  return Value::function(
      std::string(name),
      [method, object](Interpreter& in, const Arguments& given) {
        return method(in, object, given);
      },
      &object);
}

}  // namespace gpumcp::gpu_runtime::jinja

// What every template sees by name, and what "loop" knows.
#include <fmt/format.h>

#include <map>

#include "gpu_runtime/template/builtins.h"
#include "gpu_runtime/unicode.h"

namespace gpumcp::gpu_runtime::jinja {
namespace {

constexpr std::int64_t kMaxRange = 100'000;  // as Jinja's sandbox has it

Value do_range(Interpreter& in, const Arguments& given) {
  const Bound args("range", given, {"start", "stop", "step"});
  const bool one = args[1] == nullptr;
  args.required(0);
  const std::int64_t begin = one ? 0 : args.integer(0, 0), end = args.integer(one ? 0 : 1, 0);
  const std::int64_t step = args.integer(2, 1);
  if (step == 0) throw TemplateError("range: step must not be zero");
  List out;
  for (std::int64_t i = begin; step > 0 ? i < end : i > end;) {
    if (static_cast<std::int64_t>(out.size()) == kMaxRange)
      throw TemplateError(fmt::format("range: more than {} numbers", kMaxRange));
    in.budget().spend(1);
    out.emplace_back(i);
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  return Value::list(std::move(out));
}

// dict(a=1), dict(other, a=1), dict([[key, value]…])
Dict make_dict(Interpreter& in, const Arguments& given) {
  if (given.positional.size() > 1) throw TemplateError("dict takes one value without a name");
  Dict out;
  for (const Value& first : given.positional) {
    if (first.is_dict()) {
      in.budget().spend(first.entries().size());
      out = first.entries();
      continue;
    }
    for (const Value& pair : in.iterate(first)) {
      const List both = in.iterate(pair);
      if (both.size() != 2) throw TemplateError("dict needs pairs of a key and a value");
      put(out, both[0], both[1], in.budget());
    }
  }
  for (const auto& [name, value] : given.named) put(out, name, value, in.budget());
  return out;
}

Value do_dict(Interpreter& in, const Arguments& given) { return Value::dict(make_dict(in, given)); }

Value do_namespace(Interpreter& in, const Arguments& given) {
  std::vector<std::pair<std::string, Value>> names;
  for (auto& [key, value] : make_dict(in, given)) {
    if (!key.is_string() || key.string().starts_with('_'))
      throw TemplateError("a namespace's names are strings that do not begin with '_'");
    names.emplace_back(key.string(), value);
  }
  return in.make_namespace(std::move(names));
}

Value do_raise(Interpreter& in, const Arguments& given) {
  const Bound args("raise_exception", given, {"message"});
  throw TemplateError(in.text(args.required(0)));
}

Value do_strftime_now(Interpreter& in, const Arguments& given) {
  const Bound args("strftime_now", given, {"format"});
  const std::string& format = args.string(0);
  if (format.empty()) return "";
  if (format.size() > 200) throw TemplateError("strftime_now: a format of more than 200 bytes");
  char text[8192];
  const std::size_t length = std::strftime(text, sizeof text, format.c_str(), &in.now());
  if (find_invalid_utf8({text, length})) throw TemplateError("strftime_now: the text is no UTF-8");
  return std::string(text, length);
}

}  // namespace

const Value* find_global(std::string_view name) {
  static const std::map<std::string_view, Value> kGlobals{
      {"range", Value::function("range", do_range)},
      {"dict", Value::function("dict", do_dict)},
      {"namespace", Value::function("namespace", do_namespace)},
      {"raise_exception", Value::function("raise_exception", do_raise)},
      {"strftime_now", Value::function("strftime_now", do_strftime_now)},
  };
  const auto found = kGlobals.find(name);
  return found == kGlobals.end() ? nullptr : &found->second;
}

std::optional<Value> loop_attribute(const Value& value, std::string_view name) {
  const Loop& loop = value.loop();
  const auto at = static_cast<std::int64_t>(loop.at);
  const auto size = static_cast<std::int64_t>(loop.items.size());
  auto item = [&](std::int64_t place, const char* why) {
    return place >= 0 && place < size ? loop.items[static_cast<std::size_t>(place)]
                                      : Value::undefined(why);
  };
  if (name == "index") return at + 1;
  if (name == "index0") return at;
  if (name == "revindex") return size - at;
  if (name == "revindex0") return size - at - 1;
  if (name == "first") return at == 0;
  if (name == "last") return at == size - 1;
  if (name == "length") return size;
  if (name == "depth") return loop.level;
  if (name == "depth0") return loop.level - 1;
  if (name == "previtem") return item(at - 1, "there is no previous item");
  if (name == "nextitem") return item(at + 1, "there is no next item");
  if (name == "cycle") {
    return Value::function("cycle", [at](Interpreter&, const Arguments& given) -> Value {
      const auto& items = given.positional;
      if (items.empty()) throw TemplateError("no items for cycling given");
      return items[static_cast<std::size_t>(at) % items.size()];
    });
  }
  return std::nullopt;
}

}  // namespace gpumcp::gpu_runtime::jinja

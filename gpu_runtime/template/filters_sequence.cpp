// Filters of lists and dicts. Where Jinja gives a generator they give a list.
#include <fmt/format.h>

#include <algorithm>

#include "gpu_runtime/template/builtins.h"

namespace gpumcp::gpu_runtime::jinja {
namespace {

// What "a.b.0" names in a value, for attribute="a.b.0".
Value by_path(Interpreter& in, Value value, const Value& path, const Value* fallback = nullptr) {
  if (!path.is_string()) return in.item(value, path);
  for (std::string_view rest = path.string();;) {
    const std::size_t dot = rest.find('.');
    const std::string part(rest.substr(0, dot));
    const bool number =
        !part.empty() && part.size() < 10 && part.find_first_not_of("0123456789") == part.npos;
    if (number)
      value = in.item(value, static_cast<std::int64_t>(std::stoll(part)));
    else
      value = in.item(value, Value(part));
    if (value.is_undefined() && fallback != nullptr) return *fallback;
    if (dot == rest.npos) return value;
    rest.remove_prefix(dot + 1);
  }
}

Value lowered(const Value& value, bool case_sensitive) {
  return value.is_string() && !case_sensitive ? Value(lower(value.string())) : value;
}

// The items with what they are compared by.
struct Keyed {
  Value key, item;
};
std::vector<Keyed> keyed(Interpreter& in, const List& items, const Value* attribute,
                         bool case_sensitive) {
  std::vector<Keyed> out;
  for (const Value& item : items) {
    const bool whole = attribute == nullptr || attribute->is_none();
    out.push_back({lowered(whole ? item : by_path(in, item, *attribute), case_sensitive), item});
  }
  return out;
}
void sort_keyed(Interpreter& in, std::vector<Keyed>& all, bool reverse) {
  std::stable_sort(all.begin(), all.end(), [&](const Keyed& a, const Keyed& b) {
    return reverse ? order(b.key, a.key, in.budget()) < 0 : order(a.key, b.key, in.budget()) < 0;
  });
}

Value do_first(Interpreter& in, const Value& subject, const Arguments& given) {
  const Bound args("first", given, {});
  const List items = in.iterate(subject);
  return items.empty() ? Value::undefined("No first item, sequence was empty.") : items.front();
}
Value do_last(Interpreter& in, const Value& subject, const Arguments& given) {
  const Bound args("last", given, {});
  const List items = in.iterate(subject);
  return items.empty() ? Value::undefined("No last item, sequence was empty.") : items.back();
}
Value do_list(Interpreter& in, const Value& subject, const Arguments& given) {
  const Bound args("list", given, {});
  return Value::list(in.iterate(subject));
}

Value do_join(Interpreter& in, const Value& subject, const Arguments& given) {
  const Bound args("join", given, {"d", "attribute"});
  const std::string between = args.given(0) ? in.text(*args[0]) : "";
  std::string out;
  bool first = true;
  for (const Value& item : in.iterate(subject)) {
    if (!std::exchange(first, false)) {
      in.budget().spend(between.size());
      out += between;
    }
    out += in.text(args.given(1) ? by_path(in, item, *args[1]) : item);
  }
  return out;
}

Value do_reverse(Interpreter& in, const Value& subject, const Arguments& given) {
  const Bound args("reverse", given, {});
  List items = in.iterate(subject);
  std::reverse(items.begin(), items.end());
  if (!subject.is_string()) return Value::list(std::move(items));
  std::string out;
  for (const Value& item : items) out += item.string();
  return out;
}

Value do_sort(Interpreter& in, const Value& subject, const Arguments& given) {
  const Bound args("sort", given, {"reverse", "case_sensitive", "attribute"});
  auto all = keyed(in, in.iterate(subject), args[2], args.truth(1, false));
  sort_keyed(in, all, args.truth(0, false));
  List out;
  for (Keyed& one : all) out.push_back(std::move(one.item));
  return Value::list(std::move(out));
}

Value do_unique(Interpreter& in, const Value& subject, const Arguments& given) {
  const Bound args("unique", given, {"case_sensitive", "attribute"});
  std::vector<Keyed> kept;
  for (Keyed& one : keyed(in, in.iterate(subject), args[1], args.truth(0, false))) {
    const bool had = std::any_of(kept.begin(), kept.end(), [&](const Keyed& other) {
      return equals(one.key, other.key, in.budget());
    });
    if (!had) kept.push_back(std::move(one));
  }
  List out;
  for (Keyed& one : kept) out.push_back(std::move(one.item));
  return Value::list(std::move(out));
}

Value least(Interpreter& in, const Value& subject, const Arguments& given, bool most) {
  const Bound args(most ? "max" : "min", given, {"case_sensitive", "attribute"});
  const auto all = keyed(in, in.iterate(subject), args[1], args.truth(0, false));
  if (all.empty()) return Value::undefined("No aggregated item, sequence was empty.");
  const Keyed* best = &all[0];
  for (const Keyed& one : all) {
    const int sign = order(one.key, best->key, in.budget());
    if (most ? sign > 0 : sign < 0) best = &one;
  }
  return best->item;
}
Value do_min(Interpreter& in, const Value& subject, const Arguments& given) {
  return least(in, subject, given, false);
}
Value do_max(Interpreter& in, const Value& subject, const Arguments& given) {
  return least(in, subject, given, true);
}

Value do_sum(Interpreter& in, const Value& subject, const Arguments& given) {
  const Bound args("sum", given, {"attribute", "start"});
  Value total = args.given(1) ? *args[1] : Value(std::int64_t{0});
  for (const Value& item : in.iterate(subject))
    total =
        apply_binary("+", total, args.given(0) ? by_path(in, item, *args[0]) : item, in.budget());
  return total;
}

Value do_items(Interpreter& in, const Value& subject, const Arguments& given) {
  const Bound args("items", given, {});
  if (subject.is_undefined()) return Value::list({});
  if (!subject.is_dict()) throw TemplateError("Can only get item pairs from a mapping.");
  in.budget().spend(4 * subject.entries().size());
  List out;
  for (const auto& [key, value] : subject.entries()) out.push_back(Value::tuple({key, value}));
  return Value::list(std::move(out));
}

Value do_dictsort(Interpreter& in, const Value& subject, const Arguments& given) {
  const Bound args("dictsort", given, {"case_sensitive", "by", "reverse"});
  const std::string by = args.string(1, "key");
  if (by != "key" && by != "value") throw TemplateError("dictsort: 'by' must be key or value");
  const Value pairs = do_items(in, subject, {});
  const Value place = std::int64_t{by == "key" ? 0 : 1};
  auto all = keyed(in, pairs.items(), &place, args.truth(0, false));
  sort_keyed(in, all, args.truth(2, false));
  List out;
  for (Keyed& one : all) out.push_back(std::move(one.item));
  return Value::list(std::move(out));
}

// map(attribute="a"), map(attribute="a", default=x), map("filter", arguments…)
Value do_map(Interpreter& in, const Value& subject, const Arguments& given) {
  List out;
  if (given.positional.empty()) {
    const Bound args("map", given, {"attribute", "default"});
    const Value& path = args.required(0);
    for (const Value& item : in.iterate(subject)) out.push_back(by_path(in, item, path, args[1]));
    return Value::list(std::move(out));
  }
  const Arguments rest{{given.positional.begin() + 1, given.positional.end()}, given.named};
  const std::string name = in.text(given.positional[0]);
  for (const Value& item : in.iterate(subject)) out.push_back(in.filter(name, item, rest));
  return Value::list(std::move(out));
}

// select("test", arguments…) and its kin; by attribute, the first argument names it.
Value chosen(Interpreter& in, const Value& subject, const Arguments& given, bool wanted,
             bool by_attribute) {
  std::size_t next = 0;
  const auto& words = given.positional;
  if (by_attribute && words.empty()) throw TemplateError("selectattr needs an attribute's name");
  const Value* path = by_attribute ? &words[next++] : nullptr;
  const std::string test = next < words.size() ? in.text(words[next++]) : "";
  const Arguments rest{{words.begin() + static_cast<std::ptrdiff_t>(next), words.end()},
                       given.named};
  List out;
  for (const Value& item : in.iterate(subject)) {
    const Value value = path != nullptr ? by_path(in, item, *path) : item;
    if ((test.empty() ? value.truth() : in.test(test, value, rest)) == wanted) out.push_back(item);
  }
  return Value::list(std::move(out));
}
Value do_select(Interpreter& in, const Value& subject, const Arguments& given) {
  return chosen(in, subject, given, true, false);
}
Value do_reject(Interpreter& in, const Value& subject, const Arguments& given) {
  return chosen(in, subject, given, false, false);
}
Value do_selectattr(Interpreter& in, const Value& subject, const Arguments& given) {
  return chosen(in, subject, given, true, true);
}
Value do_rejectattr(Interpreter& in, const Value& subject, const Arguments& given) {
  return chosen(in, subject, given, false, true);
}

Value do_batch(Interpreter& in, const Value& subject, const Arguments& given) {
  const Bound args("batch", given, {"linecount", "fill_with"});
  const std::int64_t size = args.integer(0, 0);
  if (size < 1) throw TemplateError("batch: 'linecount' must be 1 or more");
  List out, line;
  for (const Value& item : in.iterate(subject)) {
    if (static_cast<std::int64_t>(line.size()) == size)
      out.push_back(Value::list(std::exchange(line, {})));
    line.push_back(item);
  }
  if (line.empty()) return Value::list(std::move(out));
  while (args.given(1) && static_cast<std::int64_t>(line.size()) < size) {
    in.budget().spend(1);
    line.push_back(*args[1]);
  }
  out.push_back(Value::list(std::move(line)));
  return Value::list(std::move(out));
}

Value do_groupby(Interpreter& in, const Value& subject, const Arguments& given) {
  const Bound args("groupby", given, {"attribute", "default", "case_sensitive"});
  const Value path = args.required(0);
  const bool case_sensitive = args.truth(2, false);
  auto all = keyed(in, in.iterate(subject), &path, case_sensitive);
  sort_keyed(in, all, false);
  List out;
  for (std::size_t i = 0; i < all.size();) {
    List group;
    const std::size_t first = i;
    while (i < all.size() && equals(all[i].key, all[first].key, in.budget()))
      group.push_back(all[i++].item);
    out.push_back(Value::tuple({by_path(in, group[0], path), Value::list(std::move(group))}));
  }
  return Value::list(std::move(out));
}

constexpr Filter kFilters[] = {
    {"batch", do_batch},
    {"dictsort", do_dictsort},
    {"first", do_first},
    {"groupby", do_groupby},
    {"items", do_items},
    {"join", do_join},
    {"last", do_last},
    {"list", do_list},
    {"map", do_map},
    {"max", do_max},
    {"min", do_min},
    {"reject", do_reject},
    {"rejectattr", do_rejectattr},
    {"reverse", do_reverse},
    {"select", do_select},
    {"selectattr", do_selectattr},
    {"sort", do_sort},
    {"sum", do_sum},
    {"unique", do_unique},
};

}  // namespace

const Filter* find_sequence_filter(std::string_view name) {
  for (const Filter& filter : kFilters) {
    if (filter.name == name) return &filter;
  }
  return nullptr;
}

}  // namespace gpumcp::gpu_runtime::jinja

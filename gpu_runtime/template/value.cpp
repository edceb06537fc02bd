#include "gpu_runtime/template/value.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace gpumcp::gpu_runtime::jinja {
namespace {

constexpr int kMaxDepth = 100;

int deeper(int depth) {
  if (depth >= kMaxDepth)
    throw TemplateError(fmt::format("lists nest more than {} deep", kMaxDepth));
  return depth + 1;
}

}  // namespace

Value Value::undefined(std::string why) {
  Value out;
  out.data_ = Undefined{std::make_shared<const std::string>(std::move(why))};
  return out;
}

Value Value::list(List items) {
  int depth = 0;
  for (const Value& item : items) depth = std::max(depth, item.depth());
  return std::make_shared<const Sequence>(Sequence{std::move(items), false, deeper(depth)});
}

Value Value::tuple(List items) {
  int depth = 0;
  for (const Value& item : items) depth = std::max(depth, item.depth());
  return std::make_shared<const Sequence>(Sequence{std::move(items), true, deeper(depth)});
}

Value Value::dict(Dict entries) {
  int depth = 0;
  for (const auto& [key, item] : entries) depth = std::max({depth, key.depth(), item.depth()});
  return std::make_shared<const Mapping>(Mapping{std::move(entries), deeper(depth)});
}

Value Value::function(std::string name, std::function<Value(Interpreter&, const Arguments&)> call,
                      const Value* holds) {
  const int depth = holds == nullptr ? 0 : deeper(holds->depth());
  return std::make_shared<const Function>(Function{std::move(name), std::move(call), depth});
}

Value Value::from_json(const OrderedJson& json) {
  switch (json.type()) {
    case OrderedJson::value_t::boolean:
      return json.get<bool>();
    case OrderedJson::value_t::number_integer:
      return json.get<std::int64_t>();
    case OrderedJson::value_t::number_unsigned: {
      const auto value = json.get<std::uint64_t>();
      if (value > static_cast<std::uint64_t>(INT64_MAX)) return json.get<double>();
      return static_cast<std::int64_t>(value);
    }
    case OrderedJson::value_t::number_float:
      return json.get<double>();
    case OrderedJson::value_t::string:
      return json.get<std::string>();
    case OrderedJson::value_t::array: {
      List items;
      for (const auto& item : json) items.push_back(from_json(item));
      return list(std::move(items));
    }
    case OrderedJson::value_t::object: {
      Dict entries;
      for (const auto& [key, item] : json.items()) entries.emplace_back(key, from_json(item));
      return dict(std::move(entries));
    }
    default:
      return {};
  }
}

const List& Value::items() const { return get<std::shared_ptr<const Sequence>>()->items; }
bool Value::is_tuple() const {
  return is_sequence() && get<std::shared_ptr<const Sequence>>()->tuple;
}
const Dict& Value::entries() const { return get<std::shared_ptr<const Mapping>>()->entries; }

std::int64_t Value::integer() const { return is_bool() ? boolean() : get<std::int64_t>(); }
double Value::real() const { return is_real() ? get<double>() : static_cast<double>(integer()); }

int Value::depth() const {
  if (is_sequence()) return get<std::shared_ptr<const Sequence>>()->depth;
  if (is_dict()) return get<std::shared_ptr<const Mapping>>()->depth;
  if (is_loop()) return loop().depth;
  if (is_function()) return function().depth;
  return 0;
}

bool Value::truth() const {
  if (is_undefined() || is_none()) return false;
  if (is_bool()) return boolean();
  if (is_int()) return integer() != 0;
  if (is_real()) return real() != 0;
  if (is_string()) return !string().empty();
  if (is_sequence()) return !items().empty();
  if (is_dict()) return !entries().empty();
  return true;
}

const Value* Value::find(const Value& key, Budget& budget) const {
  for (const auto& [name, value] : entries()) {
    if (equals(name, key, budget)) return &value;
  }
  return nullptr;
}

bool Value::identical(const Value& other) const {
  return std::visit(
      [&]<class T>(const T& mine) {
        const T& theirs = std::get<T>(other.data_);
        if constexpr (std::is_same_v<T, Undefined>) {
          return mine.why == theirs.why;
        } else if constexpr (std::is_same_v<T, None>) {
          return true;
        } else {
          return mine == theirs;
        }
      },
      data_);
}

bool equals(const Value& a, const Value& b, Budget& budget) {
  budget.spend(1);
  if (a.is_number() && b.is_number()) {
    if (a.is_real() || b.is_real()) return a.real() == b.real();
    return a.integer() == b.integer();
  }
  if (a.is_string() && b.is_string()) {
    if (a.string().size() != b.string().size()) return false;
    budget.spend(a.string().size() / 16);
    return a.string() == b.string();
  }
  if (a.is_sequence() && b.is_sequence()) {
    return a.is_tuple() == b.is_tuple() &&
           std::equal(a.items().begin(), a.items().end(), b.items().begin(), b.items().end(),
                      [&](const Value& x, const Value& y) { return equals(x, y, budget); });
  }
  if (a.is_dict() && b.is_dict()) {
    if (a.entries().size() != b.entries().size()) return false;
    for (const auto& [key, value] : a.entries()) {
      const Value* other = b.find(key, budget);
      if (other == nullptr || !equals(value, *other, budget)) return false;
    }
    return true;
  }
  if (a.is_undefined() && b.is_undefined()) return true;
  return a.same_object(b);
}

int order(const Value& a, const Value& b, Budget& budget) {
  budget.spend(1);
  if (a.is_number() && b.is_number()) {
    if (a.is_real() || b.is_real()) return a.real() < b.real() ? -1 : a.real() > b.real() ? 1 : 0;
    return a.integer() < b.integer() ? -1 : a.integer() > b.integer() ? 1 : 0;
  }
  if (a.is_string() && b.is_string()) {
    budget.spend(std::min(a.string().size(), b.string().size()) / 16);
    return a.string().compare(b.string());
  }
  if (a.is_sequence() && b.is_sequence()) {
    const List &left = a.items(), &right = b.items();
    for (std::size_t i = 0; i < std::min(left.size(), right.size()); ++i) {
      if (!equals(left[i], right[i], budget)) return order(left[i], right[i], budget);
    }
    return left.size() < right.size() ? -1 : left.size() > right.size() ? 1 : 0;
  }
  for (const Value* value : {&a, &b}) {
    if (value->is_undefined()) throw TemplateError(value->why_undefined());
  }
  throw TemplateError(
      fmt::format("'{}' and '{}' have no order between them", type_name(a), type_name(b)));
}

std::string_view type_name(const Value& value) {
  if (value.is_undefined()) return "Undefined";
  if (value.is_none()) return "NoneType";
  if (value.is_bool()) return "bool";
  if (value.is_int()) return "int";
  if (value.is_real()) return "float";
  if (value.is_string()) return "str";
  if (value.is_sequence()) return value.is_tuple() ? "tuple" : "list";
  if (value.is_dict()) return "dict";
  if (value.is_namespace()) return "Namespace";
  if (value.is_loop()) return "LoopContext";
  return "function";
}

}  // namespace gpumcp::gpu_runtime::jinja

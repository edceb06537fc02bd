// The half of the interpreter that computes expressions.
#include <fmt/format.h>

#include <algorithm>

#include "gpu_runtime/template/builtins.h"
#include "gpu_runtime/template/interpreter.h"

namespace gpumcp::gpu_runtime::jinja {
namespace {

using Type = Expression::Type;

[[noreturn]] void fail_undefined(const Value& value) { throw TemplateError(value.why_undefined()); }

}  // namespace

Value Interpreter::evaluate(const Expression& e, const ScopePtr& scope) {
  const Depth depth(*this);
  line_ = e.line;
  switch (e.type) {
    case Type::constant:
      return e.value;
    case Type::name: {
      if (const Value* value = scope->find(e.name)) return *value;
      if (const Value* value = find_global(e.name)) return *value;
      return Value::undefined(fmt::format("'{}' is undefined", e.name));
    }
    case Type::list:
    case Type::tuple: {
      List items;
      for (const ExpressionPtr& part : e.parts) items.push_back(evaluate(*part, scope));
      return e.type == Type::list ? Value::list(std::move(items)) : Value::tuple(std::move(items));
    }
    case Type::dict: {
      Dict entries;
      for (std::size_t i = 0; i + 1 < e.parts.size(); i += 2) {
        Value key = evaluate(*e.parts[i], scope), value = evaluate(*e.parts[i + 1], scope);
        put(entries, std::move(key), std::move(value), budget_);
      }
      return Value::dict(std::move(entries));
    }
    case Type::attribute: {
      const Value object = evaluate(*e.parts[0], scope);
      line_ = e.line;
      return attribute(object, e.name);
    }
    case Type::item: {
      const Value object = evaluate(*e.parts[0], scope);
      if (e.parts[1]->type == Type::slice) return evaluate_slice(object, *e.parts[1], scope);
      const Value key = evaluate(*e.parts[1], scope);
      line_ = e.line;
      return item(object, key);
    }
    case Type::slice:
      break;
    case Type::call:
      return evaluate_call(e, scope);
    case Type::filter: {
      const Value subject = evaluate(*e.parts[0], scope);
      const Arguments given = arguments(e, 1, scope);
      line_ = e.line;
      return filter(e.name, subject, given);
    }
    case Type::test: {
      const Value subject = evaluate(*e.parts[0], scope);
      const Arguments given = arguments(e, 1, scope);
      line_ = e.line;
      return test(e.name, subject, given);
    }
    case Type::unary: {
      const Value value = evaluate(*e.parts[0], scope);
      line_ = e.line;
      return apply_unary(e.name, value);
    }
    case Type::binary: {
      const Value a = evaluate(*e.parts[0], scope), b = evaluate(*e.parts[1], scope);
      line_ = e.line;
      if (e.name != "~") return apply_binary(e.name, a, b, budget_);
      return text(a) + text(b);
    }
    case Type::compare:
      return evaluate_compare(e, scope);
    case Type::both: {
      Value a = evaluate(*e.parts[0], scope);
      return a.truth() ? evaluate(*e.parts[1], scope) : a;
    }
    case Type::either: {
      Value a = evaluate(*e.parts[0], scope);
      return a.truth() ? a : evaluate(*e.parts[1], scope);
    }
    case Type::conditional:
      if (evaluate(*e.parts[1], scope).truth()) return evaluate(*e.parts[0], scope);
      if (e.parts[2]) return evaluate(*e.parts[2], scope);
      return Value::undefined("an 'if' without 'else' has no value here");
  }
  throw TemplateError("a slice stands where a value is expected");
}

Arguments Interpreter::arguments(const Expression& e, std::size_t first, const ScopePtr& scope) {
  Arguments out;
  for (std::size_t i = first; i < e.parts.size(); ++i)
    out.positional.push_back(evaluate(*e.parts[i], scope));
  for (const auto& [name, value] : e.named) out.named.emplace_back(name, evaluate(*value, scope));
  return out;
}

Value Interpreter::evaluate_call(const Expression& e, const ScopePtr& scope) {
  const Value function = evaluate(*e.parts[0], scope);
  const Arguments given = arguments(e, 1, scope);
  line_ = e.line;
  return call(function, given);
}

Value Interpreter::call(const Value& function, const Arguments& arguments) {
  if (function.is_undefined()) fail_undefined(function);
  if (function.is_loop() && function.loop().again && arguments.positional.size() == 1)
    return function.loop().again(arguments.positional[0]);
  if (!function.is_function())
    throw TemplateError(fmt::format("'{}' object is not callable", type_name(function)));
  budget_.spend(5);
  return function.function().call(*this, arguments);
}

// {% filter upper | trim %}: the first of the chain has no subject of its own.
Value Interpreter::filter_block(const Expression& chain, const Value& text, const ScopePtr& scope) {
  if (chain.type != Type::filter) throw TemplateError("only filters can follow one another here");
  const Value subject = chain.parts[0] ? filter_block(*chain.parts[0], text, scope) : text;
  const Arguments given = arguments(chain, 1, scope);
  line_ = chain.line;
  return filter(chain.name, subject, given);
}

Value Interpreter::filter(std::string_view name, const Value& subject, const Arguments& arguments) {
  const Filter* found = find_filter(name);
  if (found == nullptr) throw TemplateError(fmt::format("no filter named '{}'", name));
  budget_.spend(5);
  return found->apply(*this, subject, arguments);
}

bool Interpreter::test(std::string_view name, const Value& subject, const Arguments& arguments) {
  const Test* found = find_test(name);
  if (found == nullptr) throw TemplateError(fmt::format("no test named '{}'", name));
  budget_.spend(2);
  return found->apply(*this, subject, arguments);
}

Value Interpreter::evaluate_compare(const Expression& e, const ScopePtr& scope) {
  Value left = evaluate(*e.parts[0], scope);
  for (std::size_t i = 0; i < e.operators.size(); ++i) {
    Value right = evaluate(*e.parts[i + 1], scope);
    line_ = e.line;
    const std::string& op = e.operators[i];
    bool holds = false;
    if (op == "==") {
      holds = equals(left, right, budget_);
    } else if (op == "!=") {
      holds = !equals(left, right, budget_);
    } else if (op == "in") {
      holds = contains(right, left);
    } else if (op == "not in") {
      holds = !contains(right, left);
    } else {
      const int sign = order(left, right, budget_);
      holds = op == "<" ? sign < 0 : op == "<=" ? sign <= 0 : op == ">" ? sign > 0 : sign >= 0;
    }
    if (!holds) return false;
    left = std::move(right);
  }
  return true;
}

bool Interpreter::contains(const Value& all, const Value& one) {
  if (all.is_string()) {
    if (one.is_undefined()) fail_undefined(one);
    if (!one.is_string())
      throw TemplateError(fmt::format("'in' a string needs a string, not '{}'", type_name(one)));
    budget_.spend(1 + all.string().size() / 8);
    return all.string().find(one.string()) != std::string::npos;
  }
  if (all.is_dict()) return all.find(one, budget_) != nullptr;
  if (all.is_sequence()) {
    return std::any_of(all.items().begin(), all.items().end(),
                       [&](const Value& item) { return equals(item, one, budget_); });
  }
  if (all.is_undefined()) return false;
  throw TemplateError(fmt::format("argument of type '{}' is not iterable", type_name(all)));
}

List Interpreter::iterate(const Value& value) {
  if (value.is_sequence()) {
    budget_.spend(value.items().size());
    return value.items();
  }
  List out;
  if (value.is_dict()) {
    budget_.spend(value.entries().size());
    for (const auto& [key, item] : value.entries()) out.push_back(key);
  } else if (value.is_string()) {
    budget_.spend(10 * value.string().size());
    for (const std::string_view character : characters(value.string())) out.emplace_back(character);
  } else if (!value.is_undefined()) {
    throw TemplateError(fmt::format("'{}' object is not iterable", type_name(value)));
  }
  return out;
}

Value Interpreter::attribute(const Value& object, const std::string& name) {
  if (object.is_undefined()) fail_undefined(object);
  if (object.is_namespace()) {
    budget_.spend(object.name_space().names.size());
    for (const auto& [key, value] : object.name_space().names) {
      if (key == name) return value;
    }
  } else if (object.is_loop()) {
    if (auto value = loop_attribute(object, name)) return *value;
  } else {
    if (auto method = find_method(object, name)) return *method;
    if (object.is_dict()) {
      if (const Value* value = object.find(Value(name), budget_)) return *value;
    }
  }
  return Value::undefined(
      fmt::format("'{} object' has no attribute '{}'", type_name(object), name));
}

Value Interpreter::item(const Value& object, const Value& key) {
  if (object.is_undefined()) fail_undefined(object);
  if (object.is_dict()) {
    if (const Value* value = object.find(key, budget_)) return *value;
  } else if (key.is_int() || key.is_bool()) {
    const bool string = object.is_string();
    if (string || object.is_sequence()) {
      std::vector<std::string_view> letters;
      if (string) {
        budget_.spend(object.string().size());
        letters = characters(object.string());
      }
      const auto size = static_cast<std::int64_t>(string ? letters.size() : object.items().size());
      std::int64_t at = key.integer();
      if (at < 0) at += size;
      if (at >= 0 && at < size) {
        const auto place = static_cast<std::size_t>(at);
        return string ? Value(letters[place]) : object.items()[place];
      }
    }
  }
  if (key.is_string()) {
    if (auto method = find_method(object, key.string())) return *method;
    if (object.is_namespace() || object.is_loop()) return attribute(object, key.string());
  }
  return Value::undefined(
      fmt::format("'{} object' has no element {}", type_name(object), to_repr(key, budget_)));
}

Value Interpreter::evaluate_slice(const Value& object, const Expression& slice,
                                  const ScopePtr& scope) {
  Value bounds[3];
  for (std::size_t i = 0; i < 3; ++i) {
    if (slice.parts[i]) bounds[i] = evaluate(*slice.parts[i], scope);
  }
  line_ = slice.line;
  if (object.is_undefined()) fail_undefined(object);
  if (object.is_string()) {
    budget_.spend(2 * object.string().size());
    const auto letters = characters(object.string());
    const SliceRange range =
        slice_range(static_cast<std::int64_t>(letters.size()), bounds[0], bounds[1], bounds[2]);
    std::string out;
    for (std::int64_t i = 0; i < range.count; ++i)
      out += letters[static_cast<std::size_t>(range.begin + i * range.step)];
    return out;
  }
  if (!object.is_sequence())
    throw TemplateError(fmt::format("'{}' object has no slices", type_name(object)));
  const SliceRange range = slice_range(static_cast<std::int64_t>(object.items().size()), bounds[0],
                                       bounds[1], bounds[2]);
  budget_.spend(static_cast<std::size_t>(range.count));
  List out;
  for (std::int64_t i = 0; i < range.count; ++i)
    out.push_back(object.items()[static_cast<std::size_t>(range.begin + i * range.step)]);
  return object.is_tuple() ? Value::tuple(std::move(out)) : Value::list(std::move(out));
}

}  // namespace gpumcp::gpu_runtime::jinja

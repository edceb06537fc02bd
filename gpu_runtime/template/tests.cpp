// The tests behind "is".
#include <fmt/format.h>

#include "gpu_runtime/template/builtins.h"

namespace gpumcp::gpu_runtime::jinja {
namespace {

// A test of the subject alone.
template <bool (*F)(const Value&)>
bool plain(Interpreter&, const Value& subject, const Arguments& given) {
  const Bound args("the test", given, {});
  return F(subject);
}
// A comparison with one other value.
template <bool (*F)(Interpreter&, const Value&, const Value&)>
bool against(Interpreter& in, const Value& subject, const Arguments& given) {
  const Bound args("the test", given, {"other"});
  return F(in, subject, args.required(0));
}

std::int64_t whole(const Value& value) {
  if (value.is_undefined()) throw TemplateError(value.why_undefined());
  if (!value.is_int() && !value.is_bool())
    throw TemplateError(fmt::format("a '{}' is no integer", type_name(value)));
  return value.integer();
}

bool is_defined(const Value& v) { return !v.is_undefined(); }
bool is_undefined(const Value& v) { return v.is_undefined(); }
bool is_none(const Value& v) { return v.is_none(); }
bool is_boolean(const Value& v) { return v.is_bool(); }
bool is_true(const Value& v) { return v.is_bool() && v.boolean(); }
bool is_false(const Value& v) { return v.is_bool() && !v.boolean(); }
bool is_integer(const Value& v) { return v.is_int(); }
bool is_float(const Value& v) { return v.is_real(); }
bool is_number(const Value& v) { return v.is_number(); }
bool is_string(const Value& v) { return v.is_string(); }
bool is_mapping(const Value& v) { return v.is_dict(); }
// Jinja asks for a length and items by number, which an undefined value has, too.
bool is_sequence(const Value& v) {
  return v.is_string() || v.is_sequence() || v.is_dict() || v.is_undefined();
}
bool is_iterable(const Value& v) { return is_sequence(v); }
bool is_callable(const Value& v) { return v.is_function() || v.is_undefined(); }
bool is_odd(const Value& v) { return whole(v) % 2 != 0; }
bool is_even(const Value& v) { return whole(v) % 2 == 0; }
bool is_lower(const Value& v) {
  return v.is_string() && lower(v.string()) == v.string() && upper(v.string()) != v.string();
}
bool is_upper(const Value& v) {
  return v.is_string() && upper(v.string()) == v.string() && lower(v.string()) != v.string();
}
bool is_escaped(const Value&) { return false; }
bool is_filter(const Value& v) { return v.is_string() && find_filter(v.string()) != nullptr; }
bool is_test(const Value& v) { return v.is_string() && find_test(v.string()) != nullptr; }

bool eq(Interpreter& in, const Value& a, const Value& b) { return equals(a, b, in.budget()); }
bool ne(Interpreter& in, const Value& a, const Value& b) { return !equals(a, b, in.budget()); }
bool lt(Interpreter& in, const Value& a, const Value& b) { return order(a, b, in.budget()) < 0; }
bool le(Interpreter& in, const Value& a, const Value& b) { return order(a, b, in.budget()) <= 0; }
bool gt(Interpreter& in, const Value& a, const Value& b) { return order(a, b, in.budget()) > 0; }
bool ge(Interpreter& in, const Value& a, const Value& b) { return order(a, b, in.budget()) >= 0; }
bool in_test(Interpreter& in, const Value& a, const Value& b) { return in.contains(b, a); }
bool same(Interpreter&, const Value& a, const Value& b) { return a.same_object(b); }
bool divisible(Interpreter&, const Value& a, const Value& b) {
  if (whole(b) == 0) throw TemplateError("division by zero");
  return whole(b) == -1 || whole(a) % whole(b) == 0;
}

constexpr Test kTests[] = {
    {"defined", plain<is_defined>},
    {"undefined", plain<is_undefined>},
    {"none", plain<is_none>},
    {"boolean", plain<is_boolean>},
    {"true", plain<is_true>},
    {"false", plain<is_false>},
    {"integer", plain<is_integer>},
    {"float", plain<is_float>},
    {"number", plain<is_number>},
    {"string", plain<is_string>},
    {"mapping", plain<is_mapping>},
    {"sequence", plain<is_sequence>},
    {"iterable", plain<is_iterable>},
    {"callable", plain<is_callable>},
    {"odd", plain<is_odd>},
    {"even", plain<is_even>},
    {"lower", plain<is_lower>},
    {"upper", plain<is_upper>},
    {"escaped", plain<is_escaped>},
    {"filter", plain<is_filter>},
    {"test", plain<is_test>},
    {"==", against<eq>},
    {"eq", against<eq>},
    {"equalto", against<eq>},
    {"!=", against<ne>},
    {"ne", against<ne>},
    {"<", against<lt>},
    {"lt", against<lt>},
    {"lessthan", against<lt>},
    {"<=", against<le>},
    {"le", against<le>},
    {">", against<gt>},
    {"gt", against<gt>},
    {"greaterthan", against<gt>},
    {">=", against<ge>},
    {"ge", against<ge>},
    {"in", against<in_test>},
    {"sameas", against<same>},
    {"divisibleby", against<divisible>},
};

}  // namespace

const Test* find_test(std::string_view name) {
  for (const Test& test : kTests) {
    if (test.name == name) return &test;
  }
  return nullptr;
}

}  // namespace gpumcp::gpu_runtime::jinja

#pragma once

// What templates can call by name: functions, filters, tests and methods, as Jinja and Python have
// them. Each is a plain function over values; the tables are constants. A name that is not in them
// is no filter, so a template reaches nothing else.
#include <optional>
#include <string_view>

#include "gpu_runtime/template/interpreter.h"

namespace gpumcp::gpu_runtime::jinja {

struct Filter {
  std::string_view name;
  Value (*apply)(Interpreter&, const Value& subject, const Arguments&);
};
struct Test {
  std::string_view name;
  bool (*apply)(Interpreter&, const Value& subject, const Arguments&);
};

const Filter* find_filter(std::string_view name);           // filters.cpp
const Filter* find_text_filter(std::string_view name);      // filters_text.cpp
const Filter* find_sequence_filter(std::string_view name);  // filters_sequence.cpp
const Test* find_test(std::string_view name);               // tests.cpp
const Value* find_global(std::string_view name);            // globals.cpp
// Of strings, lists and dicts; a method that would change its object is one that refuses.
std::optional<Value> find_method(const Value& object, std::string_view name);   // methods.cpp
std::optional<Value> loop_attribute(const Value& loop, std::string_view name);  // globals.cpp

// A call's arguments under the names of its parameters; null for those that were not given.
// TemplateError for too many and for unknown names.
class Bound {
 public:
  Bound(std::string_view function, const Arguments& arguments,
        std::initializer_list<std::string_view> names);
  const Value* operator[](std::size_t i) const { return values_[i]; }
  bool given(std::size_t i) const { return values_[i] != nullptr && !values_[i]->is_none(); }
  // TemplateError where the argument is missing or of another kind.
  const Value& required(std::size_t i) const;
  const std::string& string(std::size_t i) const;
  std::string string(std::size_t i, std::string_view fallback) const;
  std::int64_t integer(std::size_t i, std::int64_t fallback) const;
  bool truth(std::size_t i, bool fallback) const;

 private:
  [[noreturn]] void fail(std::size_t i, std::string_view expected) const;
  std::string_view function_;
  std::vector<std::string_view> names_;
  std::vector<const Value*> values_;
};

// Adds or replaces a dict's entry.
void put(Dict& entries, Value key, Value value, Budget& budget);

// Python's strip() and its kin; `set` empty: white space.
std::string_view strip(std::string_view text, std::string_view set, bool left, bool right);
std::string upper(std::string_view text);
std::string lower(std::string_view text);
std::string capitalize(std::string_view text);
std::string title(std::string_view text);
std::string replace_all(std::string_view text, std::string_view from, std::string_view to,
                        std::int64_t count, Budget& budget);

}  // namespace gpumcp::gpu_runtime::jinja

#pragma once

// What a template computes with: Python's values as far as templates can make them, with Python's
// meaning of truth, equality, order and text. Values are immutable but for namespaces; copying is
// cheap. Owned by one rendering. How deep lists nest is bounded, so that nothing recurses far.
#include <cstdint>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "gpu_runtime/json.h"

namespace gpumcp::gpu_runtime::jinja {

using OrderedJson = nlohmann::ordered_json;

// What is wrong with a template or with what it was given; the renderer adds the line.
class TemplateError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// What a rendering may still do: a value looked at costs 1, text its bytes, a turn of a
// loop 10. A template is hostile input, and a few of its lines can ask for a lifetime of work.
class Budget {
 public:
  explicit Budget(std::int64_t units) : left_(units) {}
  void spend(std::size_t units) {
    left_ -= static_cast<std::int64_t>(units);
    if (left_ < 0)
      throw TemplateError("it does too much work: it loops too long or its texts grow");
  }

 private:
  std::int64_t left_;
};

class Value;
class Interpreter;
using List = std::vector<Value>;
using Dict = std::vector<std::pair<Value, Value>>;  // in the order in which keys came

struct Arguments {
  List positional;
  std::vector<std::pair<std::string, Value>> named;
};
struct Function {
  std::string name;
  std::function<Value(Interpreter&, const Arguments&)> call;
  int depth = 0;  // of what it holds, as of a list
};

struct Sequence;
struct Mapping;
struct Namespace;
struct Loop;

struct Undefined {
  std::shared_ptr<const std::string> why;  // "'x' is undefined"
};
struct None {};

class Value {
 public:
  Value() : data_(None()) {}
  Value(bool value) : data_(value) {}
  Value(std::int64_t value) : data_(value) {}
  Value(double value) : data_(value) {}
  Value(std::string value) : data_(std::make_shared<const std::string>(std::move(value))) {}
  Value(std::string_view value) : Value(std::string(value)) {}
  Value(const char* value) : Value(std::string(value)) {}
  Value(std::shared_ptr<const Sequence> value) : data_(std::move(value)) {}
  Value(std::shared_ptr<const Mapping> value) : data_(std::move(value)) {}
  Value(std::shared_ptr<Namespace> value) : data_(std::move(value)) {}
  Value(std::shared_ptr<Loop> value) : data_(std::move(value)) {}
  Value(std::shared_ptr<const Function> value) : data_(std::move(value)) {}
  template <class T>
  Value(const T*) = delete;  // else it would be a bool

  static Value undefined(std::string why);
  static Value list(List items);
  static Value tuple(List items);
  static Value dict(Dict entries);
  // `holds`: a value that the function keeps.
  static Value function(std::string name, std::function<Value(Interpreter&, const Arguments&)> call,
                        const Value* holds = nullptr);
  static Value from_json(const OrderedJson& json);

  bool is_undefined() const { return holds<Undefined>(); }
  bool is_none() const { return holds<None>(); }
  bool is_bool() const { return holds<bool>(); }
  bool is_int() const { return holds<std::int64_t>(); }  // without booleans
  bool is_real() const { return holds<double>(); }
  bool is_number() const { return is_int() || is_real() || is_bool(); }
  bool is_string() const { return holds<std::shared_ptr<const std::string>>(); }
  bool is_sequence() const { return holds<std::shared_ptr<const Sequence>>(); }
  bool is_dict() const { return holds<std::shared_ptr<const Mapping>>(); }
  bool is_namespace() const { return holds<std::shared_ptr<Namespace>>(); }
  bool is_loop() const { return holds<std::shared_ptr<Loop>>(); }
  bool is_function() const { return holds<std::shared_ptr<const Function>>(); }

  // The value as what it is; the caller has asked.
  const std::string& string() const { return *get<std::shared_ptr<const std::string>>(); }
  const List& items() const;
  bool is_tuple() const;
  const Dict& entries() const;
  Namespace& name_space() const { return *get<std::shared_ptr<Namespace>>(); }
  Loop& loop() const { return *get<std::shared_ptr<Loop>>(); }
  const Function& function() const { return *get<std::shared_ptr<const Function>>(); }
  const std::string& why_undefined() const { return *get<Undefined>().why; }
  bool boolean() const { return get<bool>(); }
  std::int64_t integer() const;  // of a boolean too
  double real() const;           // of any number

  bool truth() const;
  const Value* find(const Value& key, Budget& budget) const;  // of a dict
  // How deep others nest in it, so that freeing one never recurses far; 0 for what holds nothing.
  int depth() const;
  bool same_object(const Value& other) const {
    return data_.index() == other.data_.index() && identical(other);
  }

 private:
  template <class T>
  bool holds() const {
    return std::holds_alternative<T>(data_);
  }
  template <class T>
  const T& get() const {
    return std::get<T>(data_);
  }
  bool identical(const Value& other) const;

  std::variant<Undefined, None, bool, std::int64_t, double, std::shared_ptr<const std::string>,
               std::shared_ptr<const Sequence>, std::shared_ptr<const Mapping>,
               std::shared_ptr<Namespace>, std::shared_ptr<Loop>, std::shared_ptr<const Function>>
      data_;
};

struct Sequence {
  List items;
  bool tuple = false;
  int depth = 1;
};
struct Mapping {
  Dict entries;
  int depth = 1;
};
struct Namespace {
  std::vector<std::pair<std::string, Value>> names;
};
struct Loop {
  List items;
  std::size_t at = 0;
  std::int64_t level = 1;
  std::function<Value(const Value& items)> again;  // of a recursive loop
  int depth = 1;
};

// As Python's str(), repr(), == and <.
std::string to_text(const Value& value, Budget& budget);
std::string to_repr(const Value& value, Budget& budget);
bool equals(const Value& a, const Value& b, Budget& budget);
// Below 0, 0 or above; TemplateError for kinds that have no order between them.
int order(const Value& a, const Value& b, Budget& budget);
// As json.dumps(): indent below 0 means one line. TemplateError for what JSON has not.
struct JsonStyle {
  int indent = -1;
  bool ensure_ascii = false, sort_keys = false;
  std::string between = ", ", after_key = ": ";
};
std::string to_json(const Value& value, const JsonStyle& style, Budget& budget);
// "str", "int", "NoneType"…, for messages.
std::string_view type_name(const Value& value);

}  // namespace gpumcp::gpu_runtime::jinja

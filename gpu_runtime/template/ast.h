#pragma once

// A parsed template. Immutable once made; shared by renderings on any threads. How deep it nests is
// bounded by the parser.
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gpu_runtime/template/value.h"

namespace gpumcp::gpu_runtime::jinja {

struct Expression;
using ExpressionPtr = std::unique_ptr<const Expression>;

struct Expression {
  enum class Type {
    constant,  // value
    name,      // name
    list,
    tuple,      // parts
    dict,       // parts: key, value, key, value…
    attribute,  // parts: object; name
    item,       // parts: object, index
    slice,      // parts: begin, end, step, each may be null; only as an index
    call,       // parts: function, arguments…; named
    filter,     // name; parts: subject (null in a filter block), arguments…; named
    test,       // name; parts: subject, arguments…; named
    unary,      // name "-", "+" or "not"; parts: one
    binary,     // name of the operator; parts: two
    compare,    // operators; parts: one more than those
    both,
    either,       // "and", "or": two parts
    conditional,  // parts: then, condition, else (may be null)
  };
  Type type = Type::constant;
  int line = 0;
  int depth = 0;
  Value value;
  std::string name;
  std::vector<ExpressionPtr> parts;
  std::vector<std::pair<std::string, ExpressionPtr>> named;
  std::vector<std::string> operators;
};

struct Statement;
using Block = std::vector<std::unique_ptr<const Statement>>;

struct Branch {
  ExpressionPtr condition;  // null: else
  Block body;
};
struct Parameter {
  std::string name;
  ExpressionPtr fallback;  // may be null
};

struct Statement {
  enum class Type {
    text,          // text
    output,        // value
    condition,     // branches
    loop,          // target, value, filter (may be null), body, otherwise, recursive
    set,           // target, value
    set_block,     // target, filter (may be null), body
    macro,         // text is its name; parameters, body
    call_block,    // value is the call; parameters, body
    filter_block,  // filter, body
    with,          // assignments, body
    scope,         // body ({% generation %})
    leave,         // {% break %}
    next,          // {% continue %}
  };
  Type type = Type::text;
  int line = 0;
  std::string text;
  ExpressionPtr target, value, filter;
  std::vector<Branch> branches;
  std::vector<Parameter> parameters;
  std::vector<std::pair<ExpressionPtr, ExpressionPtr>> assignments;
  Block body, otherwise;
  bool recursive = false;
};

}  // namespace gpumcp::gpu_runtime::jinja

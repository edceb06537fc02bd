#pragma once

// Runs a parsed template once: Jinja's scopes and operators over the values of value.h. It reaches
// nothing but what it is given, the functions of builtins.h and the time it is told. All work is
// charged to a budget, and nesting is bounded, so every template ends soon, with text or with an
// error. Used by one thread; made for one rendering.
#include <ctime>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gpu_runtime/template/ast.h"

namespace gpumcp::gpu_runtime::jinja {

struct Scope {
  std::vector<std::pair<std::string, Value>> names;
  std::shared_ptr<Scope> parent;

  const Value* find(std::string_view name) const;
  void set(std::string_view name, Value value);
};

struct RenderLimits {
  std::int64_t work = 20'000'000;  // units of Budget, half a second; a long chat costs about 200 a message
  std::size_t output = 16u << 20;  // bytes
  int nesting = 1000;              // statements, expressions and macros within one another
};

class Interpreter {
 public:
  Interpreter(const RenderLimits& limits, std::tm now)
      : limits_(limits), now_(now), budget_(limits.work) {}
  ~Interpreter();
  Interpreter(const Interpreter&) = delete;
  Interpreter& operator=(const Interpreter&) = delete;

  // TemplateError("line N: …").
  std::string run(const Block& block, std::vector<std::pair<std::string, Value>> names);

  // What functions, filters and tests use.
  Budget& budget() { return budget_; }
  const std::tm& now() const { return now_; }
  Value call(const Value& function, const Arguments& arguments);
  Value filter(std::string_view name, const Value& subject, const Arguments& arguments);
  bool test(std::string_view name, const Value& subject, const Arguments& arguments);
  Value attribute(const Value& object, const std::string& name);
  Value item(const Value& object, const Value& key);
  // The items of a list, the keys of a dict, the characters of a string.
  List iterate(const Value& value);
  std::string text(const Value& value) { return to_text(value, budget_); }
  bool contains(const Value& all, const Value& one);
  Value make_namespace(std::vector<std::pair<std::string, Value>> names);

 private:
  enum class Flow { on, leave, next };
  using ScopePtr = std::shared_ptr<Scope>;
  // One more level while it lives.
  struct Depth {
    explicit Depth(Interpreter& interpreter) : depth(interpreter.depth_) {
      if (depth >= interpreter.limits_.nesting) {
        throw TemplateError("it nests more than " + std::to_string(interpreter.limits_.nesting) +
                            " deep when it runs");
      }
      ++depth;
      interpreter.budget_.spend(2);
    }
    ~Depth() { --depth; }
    int& depth;
  };

  Flow run_block(const Block& block, const ScopePtr& scope, std::string& out);
  Flow run_statement(const Statement& statement, const ScopePtr& scope, std::string& out);
  Flow run_condition(const Statement& statement, const ScopePtr& scope, std::string& out);
  void run_loop(const Statement& statement, const ScopePtr& scope, std::string& out,
                const Value& items, std::int64_t level);
  void assign(const Expression& target, Value value, const ScopePtr& scope);
  std::size_t capture(const ScopePtr& scope);
  Value macro(const Statement& statement, const ScopePtr& scope, std::string name);
  void append(std::string& out, std::string_view text);

  Value evaluate(const Expression& e, const ScopePtr& scope);
  Value evaluate_call(const Expression& e, const ScopePtr& scope);
  Value evaluate_compare(const Expression& e, const ScopePtr& scope);
  Value evaluate_slice(const Value& object, const Expression& slice, const ScopePtr& scope);
  Value filter_block(const Expression& chain, const Value& text, const ScopePtr& scope);
  Arguments arguments(const Expression& e, std::size_t first, const ScopePtr& scope);

  const RenderLimits limits_;
  const std::tm now_;
  Budget budget_;
  int line_ = 0, depth_ = 0;
  // What may hold itself: emptied at the end, so that nothing leaks.
  std::vector<ScopePtr> captured_;
  std::vector<std::shared_ptr<Namespace>> namespaces_;
};

// operators.cpp
Value apply_unary(std::string_view op, const Value& value);
Value apply_binary(std::string_view op, const Value& a, const Value& b, Budget& budget);
// Where a slice of `size` items begins, ends and steps, as Python has it.
struct SliceRange {
  std::int64_t begin = 0, step = 1, count = 0;
};
SliceRange slice_range(std::int64_t size, const Value& begin, const Value& end, const Value& step);
// A string's characters, each its own bytes.
std::vector<std::string_view> characters(std::string_view text);

}  // namespace gpumcp::gpu_runtime::jinja

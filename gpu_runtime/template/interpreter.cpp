#include "gpu_runtime/template/interpreter.h"

#include <fmt/format.h>

#include <algorithm>

#include "gpu_runtime/template/builtins.h"

namespace gpumcp::gpu_runtime::jinja {
namespace {

using Type = Statement::Type;

}  // namespace

const Value* Scope::find(std::string_view name) const {
  for (const Scope* scope = this; scope != nullptr; scope = scope->parent.get()) {
    for (const auto& [key, value] : scope->names) {
      if (key == name) return &value;
    }
  }
  return nullptr;
}

void Scope::set(std::string_view name, Value value) {
  for (auto& [key, had] : names) {
    if (key == name) {
      had = std::move(value);
      return;
    }
  }
  names.emplace_back(name, std::move(value));
}

Interpreter::~Interpreter() {
  for (const ScopePtr& scope : captured_) scope->names.clear();
  for (const auto& space : namespaces_) space->names.clear();
}

std::string Interpreter::run(const Block& block, std::vector<std::pair<std::string, Value>> names) {
  auto given = std::make_shared<Scope>(Scope{std::move(names), nullptr});
  auto root = std::make_shared<Scope>(Scope{{}, given});
  std::string out;
  try {
    run_block(block, root, out);
  } catch (const TemplateError& error) {
    throw TemplateError(fmt::format("line {}: {}", line_, error.what()));
  }
  return out;
}

void Interpreter::append(std::string& out, std::string_view text) {
  budget_.spend(text.size());
  if (out.size() + text.size() > limits_.output)
    throw TemplateError(fmt::format("its text is longer than {} bytes", limits_.output));
  out += text;
}

Interpreter::Flow Interpreter::run_block(const Block& block, const ScopePtr& scope,
                                         std::string& out) {
  for (const auto& statement : block) {
    const Flow flow = run_statement(*statement, scope, out);
    if (flow != Flow::on) return flow;
  }
  return Flow::on;
}

Interpreter::Flow Interpreter::run_statement(const Statement& s, const ScopePtr& scope,
                                             std::string& out) {
  const Depth depth(*this);
  line_ = s.line;
  auto inner = [&] { return std::make_shared<Scope>(Scope{{}, scope}); };
  // The block's text, in a scope of its own.
  auto captured = [&](const Block& block) {
    std::string text;
    run_block(block, inner(), text);
    return text;
  };
  switch (s.type) {
    case Type::text:
      append(out, s.text);
      return Flow::on;
    case Type::output:
      append(out, text(evaluate(*s.value, scope)));
      return Flow::on;
    case Type::condition:
      return run_condition(s, scope, out);
    case Type::loop:
      run_loop(s, scope, out, evaluate(*s.value, scope), 1);
      return Flow::on;
    case Type::set:
      assign(*s.target, evaluate(*s.value, scope), scope);
      return Flow::on;
    case Type::set_block: {
      Value value = captured(s.body);
      if (s.filter) value = filter_block(*s.filter, value, scope);
      assign(*s.target, std::move(value), scope);
      return Flow::on;
    }
    case Type::macro:
      scope->set(s.text, macro(s, scope, s.text));
      return Flow::on;
    case Type::call_block: {
      const Expression& call = *s.value;
      const Value function = evaluate(*call.parts[0], scope);
      Arguments given = arguments(call, 1, scope);
      given.named.emplace_back("caller", macro(s, scope, "caller"));
      line_ = s.line;
      append(out, text(this->call(function, given)));
      return Flow::on;
    }
    case Type::filter_block:
      append(out, text(filter_block(*s.filter, captured(s.body), scope)));
      return Flow::on;
    case Type::with: {
      const ScopePtr own = inner();
      for (const auto& [target, value] : s.assignments)
        assign(*target, evaluate(*value, scope), own);
      return run_block(s.body, own, out);
    }
    case Type::scope:
      return run_block(s.body, inner(), out);
    case Type::leave:
      return Flow::leave;
    case Type::next:
      return Flow::next;
  }
  return Flow::on;
}

Interpreter::Flow Interpreter::run_condition(const Statement& s, const ScopePtr& scope,
                                             std::string& out) {
  for (const Branch& branch : s.branches) {
    if (!branch.condition || evaluate(*branch.condition, scope).truth())
      return run_block(branch.body, scope, out);
  }
  return Flow::on;
}

void Interpreter::run_loop(const Statement& s, const ScopePtr& scope, std::string& out,
                           const Value& items, std::int64_t level) {
  List all = iterate(items);
  if (s.filter) {
    List kept;
    for (const Value& item : all) {
      const auto own = std::make_shared<Scope>(Scope{{}, scope});
      assign(*s.target, item, own);
      if (evaluate(*s.filter, own).truth()) kept.push_back(item);
    }
    all = std::move(kept);
  }
  if (all.empty()) {
    run_block(s.otherwise, std::make_shared<Scope>(Scope{{}, scope}), out);
    return;
  }
  auto loop = std::make_shared<Loop>();
  loop->depth = Value::list(all).depth();
  loop->items = std::move(all);
  loop->level = level;
  if (s.recursive) {
    loop->again = [this, &s, place = capture(scope), level](const Value& inner) -> Value {
      const ScopePtr outer = captured_[place];  // a copy: the loop captures more
      std::string text;
      run_loop(s, outer, text, inner, level + 1);
      return text;
    };
  }
  for (; loop->at < loop->items.size(); ++loop->at) {
    budget_.spend(10);  // a turn makes a scope, however little it does there
    const auto own = std::make_shared<Scope>(Scope{{}, scope});
    assign(*s.target, loop->items[loop->at], own);
    own->set("loop", loop);
    if (run_block(s.body, own, out) == Flow::leave) return;
  }
}

void Interpreter::assign(const Expression& target, Value value, const ScopePtr& scope) {
  if (target.type == Expression::Type::name) {
    scope->set(target.name, std::move(value));
    return;
  }
  line_ = target.line;
  if (target.type == Expression::Type::attribute) {
    const Value* object = scope->find(target.parts[0]->name);
    if (object == nullptr || !object->is_namespace())
      throw TemplateError("only a namespace's names can be set, as in {% set ns.name = value %}");
    if (target.name.starts_with('_'))
      throw TemplateError("a namespace's names do not begin with '_'");
    auto& names = object->name_space().names;
    budget_.spend(names.size());
    const auto found = std::find_if(names.begin(), names.end(),
                                    [&](const auto& name) { return name.first == target.name; });
    if (found == names.end())
      names.emplace_back(target.name, std::move(value));
    else
      found->second = std::move(value);
    return;
  }
  const List items = iterate(value);
  if (items.size() != target.parts.size())
    throw TemplateError(fmt::format("{} values for {} names", items.size(), target.parts.size()));
  for (std::size_t i = 0; i < items.size(); ++i) assign(*target.parts[i], items[i], scope);
}

// A scope that a value needs lives here: the value must not hold it, or each could hold the other.
std::size_t Interpreter::capture(const ScopePtr& scope) {
  budget_.spend(200);
  captured_.push_back(scope);
  return captured_.size() - 1;
}

Value Interpreter::macro(const Statement& s, const ScopePtr& scope, std::string name) {
  return Value::function(
      std::move(name),
      [&s, place = capture(scope)](Interpreter& self, const Arguments& given) -> Value {
        const auto own = std::make_shared<Scope>(Scope{{}, self.captured_[place]});
        List rest;
        for (std::size_t i = s.parameters.size(); i < given.positional.size(); ++i)
          rest.push_back(given.positional[i]);
        own->set("varargs", Value::tuple(std::move(rest)));
        Dict others;
        for (const auto& [key, value] : given.named) {
          const bool known = std::any_of(s.parameters.begin(), s.parameters.end(),
                                         [&](const Parameter& p) { return p.name == key; });
          if (key == "caller")
            own->set(key, value);
          else if (!known)
            others.emplace_back(key, value);
        }
        own->set("kwargs", Value::dict(std::move(others)));
        for (std::size_t i = 0; i < s.parameters.size(); ++i) {
          const Parameter& parameter = s.parameters[i];
          const auto named =
              std::find_if(given.named.begin(), given.named.end(),
                           [&](const auto& one) { return one.first == parameter.name; });
          if (i < given.positional.size()) {
            own->set(parameter.name, given.positional[i]);
          } else if (named != given.named.end()) {
            own->set(parameter.name, named->second);
          } else if (parameter.fallback) {
            own->set(parameter.name, self.evaluate(*parameter.fallback, own));
          } else {
            own->set(parameter.name, Value::undefined(fmt::format("parameter '{}' was not provided",
                                                                  parameter.name)));
          }
        }
        std::string text;
        self.run_block(s.body, own, text);
        return text;
      });
}

Value Interpreter::make_namespace(std::vector<std::pair<std::string, Value>> names) {
  auto space = std::make_shared<Namespace>(Namespace{std::move(names)});
  namespaces_.push_back(space);
  budget_.spend(200);
  return space;
}

}  // namespace gpumcp::gpu_runtime::jinja

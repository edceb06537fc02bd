#include "gpu_runtime/template/expression_parser.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace gpumcp::gpu_runtime::jinja {
namespace {

// Far beyond any template that people wrote; each level costs some kilobytes of stack.
constexpr int kMaxNesting = 100;
constexpr int kMaxDepth = 250;  // of a tree: a + b + c + … is one level for each "+"

using Type = Expression::Type;

Expression expression_of(Type type, int line) {
  Expression out;
  out.type = type;
  out.line = line;
  return out;
}

std::string describe(const Token& token) {
  if (token.type == Token::Type::string) return "a string";
  return fmt::format("'{}'", token.text.substr(0, 40));
}

}  // namespace

ExpressionParser::Nesting ExpressionParser::nest() {
  if (depth_ >= kMaxNesting) fail(fmt::format("it nests more than {} deep", kMaxNesting));
  ++depth_;
  return {depth_};
}

void ExpressionParser::fail_at(int line, const std::string& message) const {
  throw TemplateError(fmt::format("line {}: {}", line, message));
}
void ExpressionParser::fail(const std::string& message) const { fail_at(current().line, message); }

ExpressionPtr ExpressionParser::made(Expression&& expression) const {
  int depth = 0;
  for (const ExpressionPtr& part : expression.parts)
    depth = std::max(depth, part ? part->depth : 0);
  for (const auto& [name, part] : expression.named) depth = std::max(depth, part->depth);
  expression.depth = depth + 1;
  if (expression.depth > kMaxDepth)
    fail_at(expression.line,
            fmt::format("an expression is more than {} operations deep", kMaxDepth));
  return std::make_unique<const Expression>(std::move(expression));
}

bool ExpressionParser::skip_op(std::string_view op) {
  if (!is_op(op)) return false;
  take();
  return true;
}
bool ExpressionParser::skip_name(std::string_view name) {
  if (!is_name(name)) return false;
  take();
  return true;
}
void ExpressionParser::expect_op(std::string_view op) {
  if (!skip_op(op)) fail(fmt::format("expected '{}', got {}", op, describe(current())));
}
void ExpressionParser::expect_name(std::string_view name) {
  if (!skip_name(name)) fail(fmt::format("expected '{}', got {}", name, describe(current())));
}
void ExpressionParser::expect(Token::Type type, std::string_view what) {
  if (!is(type)) fail(fmt::format("expected {}, got {}", what, describe(current())));
  take();
}
std::string ExpressionParser::identifier(std::string_view what) {
  if (!is(Token::Type::name)) fail(fmt::format("expected {}, got {}", what, describe(current())));
  return take().text;
}

ExpressionPtr ExpressionParser::expression() {
  const Nesting nesting = nest();
  ExpressionPtr out = either();
  while (is_name("if")) {
    Expression conditional = expression_of(Type::conditional, take().line);
    conditional.parts.push_back(std::move(out));
    conditional.parts.push_back(either());
    conditional.parts.push_back(skip_name("else") ? expression() : nullptr);
    out = made(std::move(conditional));
  }
  return out;
}

ExpressionPtr ExpressionParser::either() {
  ExpressionPtr out = both();
  while (is_name("or")) {
    Expression joined = expression_of(Type::either, take().line);
    joined.parts.push_back(std::move(out));
    joined.parts.push_back(both());
    out = made(std::move(joined));
  }
  return out;
}

ExpressionPtr ExpressionParser::both() {
  ExpressionPtr out = negation();
  while (is_name("and")) {
    Expression joined = expression_of(Type::both, take().line);
    joined.parts.push_back(std::move(out));
    joined.parts.push_back(negation());
    out = made(std::move(joined));
  }
  return out;
}

ExpressionPtr ExpressionParser::negation() {
  if (!is_name("not")) return comparison();
  const Nesting nesting = nest();
  Expression out = expression_of(Type::unary, take().line);
  out.name = "not";
  out.parts.push_back(negation());
  return made(std::move(out));
}

ExpressionPtr ExpressionParser::comparison() {
  ExpressionPtr first = binary(0);
  Expression out = expression_of(Type::compare, current().line);
  out.parts.push_back(std::move(first));
  for (;;) {
    std::string op;
    if (is(Token::Type::op) &&
        (is_op("==") || is_op("!=") || is_op("<") || is_op("<=") || is_op(">") || is_op(">="))) {
      op = take().text;
    } else if (skip_name("in")) {
      op = "in";
    } else if (is_name("not") && ahead().type == Token::Type::name && ahead().text == "in") {
      take();
      take();
      op = "not in";
    } else {
      break;
    }
    out.operators.push_back(std::move(op));
    out.parts.push_back(binary(0));
  }
  return out.operators.empty() ? std::move(out.parts[0]) : made(std::move(out));
}

// From what binds least: + and -, then ~, then * / // %, then **.
ExpressionPtr ExpressionParser::binary(int level) {
  static const std::vector<std::vector<std::string_view>> kLevels{
      {"+", "-"}, {"~"}, {"*", "/", "//", "%"}, {"**"}};
  if (level == static_cast<int>(kLevels.size())) return unary(true);
  const auto& ops = kLevels[static_cast<std::size_t>(level)];
  ExpressionPtr out = binary(level + 1);
  while (is(Token::Type::op) &&
         std::find(ops.begin(), ops.end(), std::string_view(current().text)) != ops.end()) {
    const Token& op = take();
    Expression joined = expression_of(Type::binary, op.line);
    joined.name = op.text;
    joined.parts.push_back(std::move(out));
    joined.parts.push_back(binary(level + 1));
    out = made(std::move(joined));
  }
  return out;
}

ExpressionPtr ExpressionParser::unary(bool with_filters) {
  const Nesting nesting = nest();
  ExpressionPtr out;
  if (is_op("-") || is_op("+")) {
    const Token& op = take();
    Expression sign = expression_of(Type::unary, op.line);
    sign.name = op.text;
    sign.parts.push_back(unary(false));
    out = made(std::move(sign));
  } else {
    out = primary();
  }
  out = postfix(std::move(out));
  return with_filters ? filter_chain(std::move(out), false) : std::move(out);
}

Value ExpressionParser::number(const Token& token) const {
  const char *begin = token.text.data(), *end = begin + token.text.size();
  if (token.type == Token::Type::real) {
    double value = 0;
    std::from_chars(begin, end, value);
    return value;
  }
  std::int64_t value = 0;
  const auto [at, error] = std::from_chars(begin, end, value);
  if (error != std::errc()) fail_at(token.line, "the number " + token.text + " is too large");
  return value;
}

ExpressionPtr ExpressionParser::primary() {
  const Token& token = current();
  Expression out = expression_of(Type::constant, token.line);
  switch (token.type) {
    case Token::Type::name:
      take();
      if (token.text == "true" || token.text == "True" || token.text == "false" ||
          token.text == "False") {
        out.value = token.text[0] == 't' || token.text[0] == 'T';
      } else if (token.text != "none" && token.text != "None") {
        out.type = Type::name;
        out.name = token.text;
      }
      return made(std::move(out));
    case Token::Type::string: {
      std::string text = take().text;
      while (is(Token::Type::string)) text += take().text;
      out.value = std::move(text);
      return made(std::move(out));
    }
    case Token::Type::integer:
    case Token::Type::real:
      out.value = number(take());
      return made(std::move(out));
    default:
      if (is_op("(")) return parenthesised();
      if (is_op("[")) return list();
      if (is_op("{")) return dict();
      fail("unexpected " + describe(token));
  }
}

ExpressionPtr ExpressionParser::parenthesised() {
  const int line = take().line;
  if (is_op(")")) {
    take();
    return made(expression_of(Type::tuple, line));
  }
  ExpressionPtr out = expressions(true);
  expect_op(")");
  return out;
}

ExpressionPtr ExpressionParser::list() {
  Expression out = expression_of(Type::list, take().line);
  while (!is_op("]")) {
    if (!out.parts.empty()) expect_op(",");
    if (is_op("]")) break;
    out.parts.push_back(expression());
  }
  expect_op("]");
  return made(std::move(out));
}

ExpressionPtr ExpressionParser::dict() {
  Expression out = expression_of(Type::dict, take().line);
  while (!is_op("}")) {
    if (!out.parts.empty()) expect_op(",");
    if (is_op("}")) break;
    out.parts.push_back(expression());
    expect_op(":");
    out.parts.push_back(expression());
  }
  expect_op("}");
  return made(std::move(out));
}

ExpressionPtr ExpressionParser::expressions(bool conditional, std::string_view until) {
  const int line = current().line;
  auto at_end = [&] {
    return is(Token::Type::output_end) || is(Token::Type::block_end) || is_op(")") ||
           (!until.empty() && is_name(until));
  };
  ExpressionPtr first = conditional ? expression() : either();
  if (!is_op(",")) return first;
  Expression out = expression_of(Type::tuple, line);
  out.parts.push_back(std::move(first));
  while (skip_op(",")) {
    if (at_end()) break;
    out.parts.push_back(conditional ? expression() : either());
  }
  return made(std::move(out));
}

ExpressionPtr ExpressionParser::target(bool attributes) {
  const Nesting nesting = nest();
  Expression names = expression_of(Type::tuple, current().line);
  auto one = [&]() -> ExpressionPtr {
    if (skip_op("(")) {
      ExpressionPtr inner = target(attributes);
      expect_op(")");
      return inner;
    }
    Expression out = expression_of(Type::name, current().line);
    out.name = identifier("a name to assign to");
    if (!attributes || !is_op(".")) return made(std::move(out));
    take();
    Expression attribute = expression_of(Type::attribute, out.line);
    attribute.name = identifier("a name behind '.'");
    attribute.parts.push_back(made(std::move(out)));
    return made(std::move(attribute));
  };
  names.parts.push_back(one());
  bool several = false;
  while (skip_op(",")) {
    several = true;
    if (!(is(Token::Type::name) || is_op("(")) || is_name("in")) break;
    names.parts.push_back(one());
  }
  return several ? made(std::move(names)) : std::move(names.parts[0]);
}

ExpressionPtr ExpressionParser::postfix(ExpressionPtr subject) {
  for (;;) {
    const int line = current().line;
    if (skip_op(".")) {
      if (is(Token::Type::integer)) {
        Expression item = expression_of(Type::item, line);
        Expression place = expression_of(Type::constant, line);
        place.value = number(take());
        item.parts.push_back(std::move(subject));
        item.parts.push_back(made(std::move(place)));
        subject = made(std::move(item));
        continue;
      }
      Expression attribute = expression_of(Type::attribute, line);
      attribute.name = identifier("a name or number behind '.'");
      attribute.parts.push_back(std::move(subject));
      subject = made(std::move(attribute));
    } else if (skip_op("[")) {
      Expression item = expression_of(Type::item, line);
      item.parts.push_back(std::move(subject));
      item.parts.push_back(index());
      expect_op("]");
      subject = made(std::move(item));
    } else if (is_op("(")) {
      Expression call = expression_of(Type::call, line);
      call.parts.push_back(std::move(subject));
      arguments(call);
      subject = made(std::move(call));
    } else {
      return subject;
    }
  }
}

ExpressionPtr ExpressionParser::index() {
  Expression slice = expression_of(Type::slice, current().line);
  auto bound = [&]() -> ExpressionPtr { return is_op(":") || is_op("]") ? nullptr : expression(); };
  ExpressionPtr begin = bound();
  if (!is_op(":")) {
    if (!begin) fail("expected an index");
    return begin;
  }
  take();
  slice.parts.push_back(std::move(begin));
  slice.parts.push_back(bound());
  slice.parts.push_back(skip_op(":") ? bound() : nullptr);
  return made(std::move(slice));
}

void ExpressionParser::arguments(Expression& call) {
  expect_op("(");
  bool first = true;
  while (!is_op(")")) {
    if (!std::exchange(first, false)) expect_op(",");
    if (is_op(")")) break;
    if (is_op("*") || is_op("**")) fail("'*' in a call is not supported");
    if (is(Token::Type::name) && ahead().type == Token::Type::op && ahead().text == "=") {
      std::string name = take().text;
      take();
      call.named.emplace_back(std::move(name), expression());
    } else {
      if (!call.named.empty()) fail("an argument without a name stands behind one with a name");
      call.parts.push_back(expression());
    }
  }
  expect_op(")");
}

ExpressionPtr ExpressionParser::filter_chain(ExpressionPtr subject, bool first_without_bar) {
  if (first_without_bar) subject = one_filter(std::move(subject));
  for (;;) {
    if (skip_op("|")) {
      subject = one_filter(std::move(subject));
    } else if (is_name("is")) {
      subject = test(std::move(subject));
    } else if (is_op("(")) {
      subject = postfix(std::move(subject));
    } else {
      return subject;
    }
  }
}

ExpressionPtr ExpressionParser::one_filter(ExpressionPtr subject) {
  Expression out = expression_of(Type::filter, current().line);
  out.name = identifier("a filter's name");
  while (skip_op(".")) {
    out.name += '.';
    out.name += identifier("a filter's name");
  }
  out.parts.push_back(std::move(subject));
  if (is_op("(")) arguments(out);
  return made(std::move(out));
}

ExpressionPtr ExpressionParser::test(ExpressionPtr subject) {
  Expression out = expression_of(Type::test, take().line);
  const bool negated = skip_name("not");
  out.name = identifier("a test's name");
  out.parts.push_back(std::move(subject));
  const bool value = is(Token::Type::string) || is(Token::Type::integer) || is(Token::Type::real) ||
                     is_op("[") || is_op("{") ||
                     (is(Token::Type::name) && !is_name("else") && !is_name("or") &&
                      !is_name("and") && !is_name("if") && !is_name("is") && !is_name("not") &&
                      !is_name("in") && !is_name("recursive"));
  if (is_op("(")) {
    arguments(out);
  } else if (value) {
    out.parts.push_back(postfix(primary()));
  }
  if (!negated) return made(std::move(out));
  Expression negation = expression_of(Type::unary, out.line);
  negation.name = "not";
  negation.parts.push_back(made(std::move(out)));
  return made(std::move(negation));
}

}  // namespace gpumcp::gpu_runtime::jinja

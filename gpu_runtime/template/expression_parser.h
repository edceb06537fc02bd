#pragma once

// The half of the parser that reads expressions; the statements' half (parser.cpp) is built on it.
// Lives while one template is parsed.
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "gpu_runtime/template/ast.h"
#include "gpu_runtime/template/lexer.h"

namespace gpumcp::gpu_runtime::jinja {

class ExpressionParser {
 public:
  explicit ExpressionParser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

 protected:
  // Takes back one level of nesting when it ends; see nest().
  struct Nesting {
    int& depth;
    ~Nesting() { --depth; }
  };
  Nesting nest();

  const Token& current() const { return tokens_[at_]; }
  const Token& ahead() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  const Token& take() { return tokens_[at_ + 1 < tokens_.size() ? at_++ : at_]; }
  bool is(Token::Type type) const { return current().type == type; }
  bool is_op(std::string_view op) const { return is(Token::Type::op) && current().text == op; }
  bool is_name(std::string_view name) const {
    return is(Token::Type::name) && current().text == name;
  }
  bool skip_op(std::string_view op);
  bool skip_name(std::string_view name);
  void expect_op(std::string_view op);
  void expect_name(std::string_view name);
  void expect(Token::Type type, std::string_view what);
  std::string identifier(std::string_view what);
  [[noreturn]] void fail(const std::string& message) const;
  [[noreturn]] void fail_at(int line, const std::string& message) const;

  ExpressionPtr expression();  // with "a if b else c"
  ExpressionPtr either();      // … without
  // Several, separated by commas, are a tuple. Ends before `until`, if that name is given.
  ExpressionPtr expressions(bool conditional, std::string_view until = {});
  ExpressionPtr target(bool attributes);  // what is assigned to: name, names, or ns.name
  ExpressionPtr filter_chain(ExpressionPtr subject, bool first_without_bar);
  ExpressionPtr postfix(ExpressionPtr subject);

  ExpressionPtr made(Expression&& expression) const;

 private:
  ExpressionPtr both();
  ExpressionPtr negation();
  ExpressionPtr comparison();
  ExpressionPtr binary(int level);
  ExpressionPtr unary(bool with_filters);
  ExpressionPtr primary();
  ExpressionPtr list();
  ExpressionPtr dict();
  ExpressionPtr parenthesised();
  ExpressionPtr index();
  ExpressionPtr one_filter(ExpressionPtr subject);
  ExpressionPtr test(ExpressionPtr subject);
  void arguments(Expression& call);
  Value number(const Token& token) const;

  const std::vector<Token> tokens_;
  std::size_t at_ = 0;
  int depth_ = 0;
};

}  // namespace gpumcp::gpu_runtime::jinja

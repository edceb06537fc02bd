#include "gpu_runtime/template/parser.h"

#include <fmt/format.h>

#include <algorithm>

#include "gpu_runtime/template/expression_parser.h"

namespace gpumcp::gpu_runtime::jinja {
namespace {

using Type = Statement::Type;

class Parser : ExpressionParser {
 public:
  using ExpressionParser::ExpressionParser;

  Block run() {
    Block out = block({});
    if (!is(Token::Type::end)) fail(fmt::format("unexpected '{}'", current().text));
    return out;
  }

 private:
  static Statement statement_of(Type type, int line) {
    Statement out;
    out.type = type;
    out.line = line;
    return out;
  }
  static void add(Block& to, Statement&& statement) {
    to.push_back(std::make_unique<const Statement>(std::move(statement)));
  }

  // Up to a tag whose name is one of these, which stays current (behind its "{%"); at the top, to
  // the end.
  Block block(std::initializer_list<std::string_view> until) {
    const Nesting nesting = nest();
    Block out;
    for (;;) {
      const Token& token = current();
      switch (token.type) {
        case Token::Type::text: {
          Statement text = statement_of(Type::text, token.line);
          text.text = take().text;
          add(out, std::move(text));
          break;
        }
        case Token::Type::output_begin: {
          Statement output = statement_of(Type::output, take().line);
          output.value = expressions(true);
          expect(Token::Type::output_end, "'}}'");
          add(out, std::move(output));
          break;
        }
        case Token::Type::block_begin:
          take();
          if (std::find(until.begin(), until.end(), std::string_view(current().text)) !=
              until.end())
            return out;
          tag(out);
          break;
        case Token::Type::end:
          if (until.size() > 0)
            fail(fmt::format("the template ends where '{}' is expected", *(until.end() - 1)));
          return out;
        default:
          fail(fmt::format("unexpected '{}'", token.text));
      }
    }
  }

  void close() { expect(Token::Type::block_end, "'%}'"); }
  // The body of a tag that has been read up to its "%}", and the tag that ends it.
  Block body(std::string_view end) {
    close();
    Block out = block({end});
    take();
    close();
    return out;
  }

  void tag(Block& out) {
    const int line = current().line;
    const std::string name = identifier("a tag's name");
    if (name == "if") {
      condition(out, line);
    } else if (name == "for") {
      loop(out, line);
    } else if (name == "set") {
      set(out, line);
    } else if (name == "macro") {
      Statement macro = statement_of(Type::macro, line);
      macro.text = identifier("a macro's name");
      parameters(macro);
      macro.body = body("endmacro");
      add(out, std::move(macro));
    } else if (name == "call") {
      Statement call = statement_of(Type::call_block, line);
      if (is_op("(")) parameters(call);
      call.value = expression();
      if (call.value->type != Expression::Type::call) fail_at(line, "{% call %} needs a call");
      call.body = body("endcall");
      add(out, std::move(call));
    } else if (name == "filter") {
      Statement filter = statement_of(Type::filter_block, line);
      filter.filter = filter_chain(nullptr, true);
      filter.body = body("endfilter");
      add(out, std::move(filter));
    } else if (name == "with") {
      with(out, line);
    } else if (name == "generation") {
      Statement scope = statement_of(Type::scope, line);
      scope.body = body("endgeneration");
      add(out, std::move(scope));
    } else if (name == "break" || name == "continue") {
      if (loops_ == 0) fail_at(line, fmt::format("'{}' stands in no loop", name));
      close();
      add(out, statement_of(name == "break" ? Type::leave : Type::next, line));
    } else {
      fail_at(line, fmt::format("the tag '{}' is not supported in a chat template", name));
    }
  }

  void condition(Block& out, int line) {
    Statement statement = statement_of(Type::condition, line);
    ExpressionPtr test = expressions(false);
    for (;;) {
      close();
      Branch branch{std::move(test), block({"elif", "else", "endif"})};
      const bool is_else = branch.condition == nullptr;
      statement.branches.push_back(std::move(branch));
      const std::string name = take().text;
      if (name == "endif") break;
      if (is_else) fail(fmt::format("'{}' stands behind 'else'", name));
      test = name == "elif" ? expressions(false) : nullptr;
    }
    close();
    add(out, std::move(statement));
  }

  void loop(Block& out, int line) {
    Statement statement = statement_of(Type::loop, line);
    statement.target = target(false);
    expect_name("in");
    statement.value = expressions(false, "recursive");
    if (skip_name("if")) statement.filter = expression();
    statement.recursive = skip_name("recursive");
    close();
    ++loops_;
    statement.body = block({"else", "endfor"});
    --loops_;
    if (take().text == "else") {
      statement.otherwise = body("endfor");
    } else {
      close();
    }
    add(out, std::move(statement));
  }

  void set(Block& out, int line) {
    Statement statement = statement_of(Type::set, line);
    statement.target = target(true);
    if (skip_op("=")) {
      statement.value = expressions(true);
      close();
    } else {
      statement.type = Type::set_block;
      if (skip_op("|")) statement.filter = filter_chain(nullptr, true);
      statement.body = body("endset");
    }
    add(out, std::move(statement));
  }

  void with(Block& out, int line) {
    Statement statement = statement_of(Type::with, line);
    while (!is(Token::Type::block_end)) {
      if (!statement.assignments.empty()) expect_op(",");
      ExpressionPtr name = target(false);
      expect_op("=");
      statement.assignments.emplace_back(std::move(name), expression());
    }
    statement.body = body("endwith");
    add(out, std::move(statement));
  }

  void parameters(Statement& statement) {
    expect_op("(");
    while (!is_op(")")) {
      if (!statement.parameters.empty()) expect_op(",");
      Parameter parameter{identifier("a parameter's name"), nullptr};
      if (skip_op("=")) {
        parameter.fallback = expression();
      } else if (!statement.parameters.empty() && statement.parameters.back().fallback) {
        fail("a parameter without a default stands behind one with a default");
      }
      statement.parameters.push_back(std::move(parameter));
    }
    expect_op(")");
  }

  int loops_ = 0;
};

}  // namespace

Block parse_template(std::string_view source) { return Parser(tokenize_template(source)).run(); }

}  // namespace gpumcp::gpu_runtime::jinja

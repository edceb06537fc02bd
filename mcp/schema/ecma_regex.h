// Regular expressions of JSON Schema: ECMA-262 syntax with Unicode semantics, run by RE2, which
// takes time linear in the text whatever the pattern. The syntax is translated; what RE2 cannot do
// (look-around, back-references) or what ECMA-262 does not know is an error that says so. A Pattern
// is an immutable value, shared when copied, thread-safe.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "mcp/result.h"

namespace re2 {
class RE2;
}

namespace gpumcp::mcp::schema {

// The same expression in RE2's syntax, without capturing.
Result<std::string> ecma_to_re2(std::string_view pattern);

class Pattern {
 public:
  static Result<Pattern> compile(std::string_view pattern);

  // Whether it matches anywhere in the text.
  bool matches(std::string_view text) const;
  // In the evaluator's steps: a pass over the text, and more where the program is so large that RE2
  // may have to simulate it instruction by instruction.
  std::size_t cost(std::string_view text) const {
    return text.size() / 16 + text.size() * program_size() / 256;
  }
  const std::string& text() const { return text_; }  // as its author wrote it
  std::size_t program_size() const;                  // RE2 instructions: what it costs to keep

 private:
  Pattern(std::string text, std::shared_ptr<const re2::RE2> regex)
      : text_(std::move(text)), regex_(std::move(regex)) {}
  std::string text_;
  std::shared_ptr<const re2::RE2> regex_;
};

}  // namespace gpumcp::mcp::schema

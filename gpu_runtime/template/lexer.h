#pragma once

// A template's text as tokens, with the blanks gone that Jinja takes away: trim_blocks and
// lstrip_blocks as transformers sets them, "-" and "+" beside a tag, and the last newline. Free
// function, callable from any thread.
#include <string>
#include <string_view>
#include <vector>

namespace gpumcp::gpu_runtime::jinja {

struct Token {
  enum class Type {
    text,
    output_begin,
    output_end,
    block_begin,
    block_end,
    name,
    string,
    integer,
    real,
    op,
    end
  };
  Type type = Type::end;
  std::string text;  // of a string its value; of an op its characters
  int line = 1;
};

// TemplateError("line N: …") for what is no token.
std::vector<Token> tokenize_template(std::string_view source);

}  // namespace gpumcp::gpu_runtime::jinja

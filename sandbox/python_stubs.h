// Tools as Python signatures: what `expose` writes into modules, prompts and skills. Pure.
#pragma once

#include <string>
#include <vector>

#include "mcp/protocol.h"

namespace gpumcp::sandbox {

struct StubParameter {
  std::string name;      // as Python spells it
  std::string original;  // as the tool does
  std::string type, description;
  std::string default_value = {};  // Python text; empty: it must be given
  bool drops_none = false;         // None means: not given
};

struct Stub {
  std::string name;  // of the function
  std::string tool, doc;
  std::vector<StubParameter> parameters;  // those that must be given first
  bool takes_more = false;                // **more
  std::string returns;
  bool unwraps = false;                  // the value stands alone under "result"
  bool asks_inline = false;              // the parameter `output` is ours: always "inline"
  std::vector<std::string> definitions;  // classes that its types need, in order

  // "(text: str, k: int = 10) -> Embedding"
  std::string signature() const;
};

Stub make_stub(const mcp::Tool& tool);

// A value as Python writes it.
std::string python_literal(const mcp::Json& value);
std::string python_string(std::string_view text);
// A name that Python takes: reserved words get a trailing _, other characters become _.
std::string python_name(std::string_view name);

}  // namespace gpumcp::sandbox

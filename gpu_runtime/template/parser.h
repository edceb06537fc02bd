#pragma once

// Tokens to a tree, by Jinja's grammar; what chat templates do not use (include, import, extends,
// block) is refused by name. Free function, callable from any thread.
#include <string_view>

#include "gpu_runtime/template/ast.h"

namespace gpumcp::gpu_runtime::jinja {

// TemplateError("line N: …").
Block parse_template(std::string_view source);

}  // namespace gpumcp::gpu_runtime::jinja

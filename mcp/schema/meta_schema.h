// The meta-schema of 2020-12 and its vocabularies, built in, so that "$ref" to them needs no
// network. Thread-safe; the documents live as long as the program.
#pragma once

#include <string_view>

#include "mcp/json.h"

namespace gpumcp::mcp::schema {

// By URI, without a fragment; nullptr if it is none of them.
const Json* find_meta_schema(std::string_view uri);

}  // namespace gpumcp::mcp::schema

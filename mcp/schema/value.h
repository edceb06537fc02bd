// JSON values as JSON Schema compares them: numbers by their mathematical value (1 equals 1.0),
// objects without regard to the order of members. Pure functions, thread-safe. The recursive ones
// go as deep as the value does: their callers have bounded that (nested_deeper_than).
#pragma once

#include <compare>
#include <cstddef>
#include <string>
#include <string_view>

#include "mcp/json.h"

namespace gpumcp::mcp::schema {

// Both must be numbers. unordered: one of them is NaN.
std::partial_ordering compare_numbers(const Json& a, const Json& b);

// 3 and 3.0; not 3.5, infinities or NaN.
bool is_integer(const Json& value);

// Exact in decimal: 0.0075 is a multiple of 0.0001. `divisor` must be above 0.
bool is_multiple_of(const Json& value, const Json& divisor);

// Equal values give equal texts, others different ones. Not JSON.
std::string canonical_text(const Json& value);

// Whether containers lie in one another more than `levels` deep; recursion stops there.
bool nested_deeper_than(const Json& value, int levels);

// Code points of well-formed UTF-8.
std::size_t count_characters(std::string_view utf8);

}  // namespace gpumcp::mcp::schema

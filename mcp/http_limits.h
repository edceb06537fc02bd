// How many sessions an HTTP server keeps, and for how long. A value.
#pragma once

#include <chrono>
#include <cstddef>

namespace gpumcp::mcp {

struct HttpSessionLimits {
  size_t max = 4096;
  std::chrono::milliseconds idle = std::chrono::minutes(30);
  // At the limit a session that idled for this long makes room for a new one.
  std::chrono::milliseconds spare = std::chrono::minutes(1);
};

}  // namespace gpumcp::mcp

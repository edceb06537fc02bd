// Result<T> and Error: how mcp reports what can be expected to fail (a broken message, a peer that
// left). Values; thread-safe as values are. Exceptions are for bugs and for tool handlers, which
// may throw anything: the call's barrier (session.cpp) turns that into an isError result.
#pragma once

#include <string>
#include <tl/expected.hpp>
#include <utility>

namespace gpumcp::mcp {

// JSON-RPC 2.0 codes, and those of MCP 2026-07-28 (spec: basic/index, "Error codes").
enum class ErrorCode : int {
  parse_error = -32700,
  invalid_request = -32600,
  method_not_found = -32601,
  invalid_params = -32602,
  internal_error = -32603,
  resource_not_found_legacy = -32002,  // up to 2025-11-25; never sent to a modern peer
  header_mismatch = -32020,
  missing_client_capability = -32021,
  unsupported_protocol_version = -32022,
  // Ours, between a worker and its fronts: the worker is leaving, the call was not begun.
  not_begun = -31001,
  // Local, never on the wire: the transport or the peer failed.
  closed = 1,
  timeout = 2,
  cancelled = 3,
  io_error = 4,
};

struct Error {
  ErrorCode code = ErrorCode::internal_error;
  std::string message;    // names the value, the limit and the remedy
  std::string data = {};  // JSON text of the error's `data`, empty for none
};

template <class T>
using Result = tl::expected<T, Error>;

inline tl::unexpected<Error> fail(ErrorCode code, std::string message, std::string data = {}) {
  return tl::unexpected<Error>(Error{code, std::move(message), std::move(data)});
}

}  // namespace gpumcp::mcp

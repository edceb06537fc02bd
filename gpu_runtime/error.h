#pragma once

// What gpu_runtime throws: one exception type with a code that callers may act on and a message for
// people. The message names the value that was refused, the limit, and what to do about it, because
// it travels unchanged to the agent that made the call. Values of this type may cross threads.
#include <stdexcept>
#include <string>
#include <string_view>

#include "gpu_runtime/export.h"

namespace gpumcp::gpu_runtime {

enum class ErrorCode {
  invalid_argument,    // the caller's value is refused; another value would do
  not_found,           // a model, file, tensor or artifact that is not there
  corrupt_checkpoint,  // a model folder whose files are broken, truncated or hostile
  unsupported,         // well-formed, but not something this build can do
  overloaded,          // a queue is full; try again later
  cancelled,           // the caller left or asked to stop
  deadline,            // the caller's time limit passed
  out_of_memory,       // host or device memory did not suffice
  device_lost,         // the device failed for good: nothing runs on it in this process any more
  internal,            // a bug of ours
};

// "corrupt_checkpoint" for ErrorCode::corrupt_checkpoint: for logs and for `_meta`.
constexpr std::string_view to_string(ErrorCode code) {
  switch (code) {
    case ErrorCode::invalid_argument:
      return "invalid_argument";
    case ErrorCode::not_found:
      return "not_found";
    case ErrorCode::corrupt_checkpoint:
      return "corrupt_checkpoint";
    case ErrorCode::unsupported:
      return "unsupported";
    case ErrorCode::overloaded:
      return "overloaded";
    case ErrorCode::cancelled:
      return "cancelled";
    case ErrorCode::deadline:
      return "deadline";
    case ErrorCode::out_of_memory:
      return "out_of_memory";
    case ErrorCode::device_lost:
      return "device_lost";
    case ErrorCode::internal:
      return "internal";
  }
  return "internal";
}

class GPUMCP_RUNTIME_API Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}

  ErrorCode code() const noexcept { return code_; }

 private:
  ErrorCode code_;
};

}  // namespace gpumcp::gpu_runtime

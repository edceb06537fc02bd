// What an exception becomes for a caller (declared in model_executor.h).
#include <c10/util/Exception.h>

#include <new>

#include "gpu_runtime/executor_parts.h"

namespace gpumcp::gpu_runtime {

std::exception_ptr current_error(const std::string& doing) {
  try {
    throw;
  } catch (const Error&) {
    return std::current_exception();
  } catch (const c10::OutOfMemoryError& e) {
    return executor_error(
        ErrorCode::out_of_memory,
        doing + ": the device's memory does not suffice: " + e.what_without_backtrace());
  } catch (const c10::Error& e) {
    return executor_error(ErrorCode::internal,
                          doing + ": torch says: " + e.what_without_backtrace());
  } catch (const std::bad_alloc&) {
    return executor_error(ErrorCode::out_of_memory, doing + ": host memory does not suffice");
  } catch (const std::exception& e) {
    return executor_error(ErrorCode::internal, doing + ": " + e.what());
  } catch (...) {
    return executor_error(ErrorCode::internal, doing + ": an exception of unknown type");
  }
}

ErrorCode code_of(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const Error& e) {
    return e.code();
  } catch (...) {
    return ErrorCode::internal;
  }
}

std::string message_of(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& e) {
    return e.what();
  } catch (...) {
    return "an exception of unknown type";
  }
}

}  // namespace gpumcp::gpu_runtime

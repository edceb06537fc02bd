// What an exception becomes for a caller (declared in model_executor.h).
#include <c10/util/Exception.h>

#include <new>
#include <string_view>

#include "gpu_runtime/device.h"
#include "gpu_runtime/executor_parts.h"

namespace gpumcp::gpu_runtime {

bool is_device_lost(const c10::Error& error) {
  const auto* device_error = dynamic_cast<const c10::AcceleratorError*>(&error);
  if (device_error == nullptr) return false;
  switch (device_error->get_error_code()) {
    case 46:   // cudaErrorDevicesUnavailable
    case 214:  // cudaErrorECCUncorrectable
    case 220:  // cudaErrorNvlinkUncorrectable
    case 226:  // cudaErrorContained
    case 700:  // cudaErrorIllegalAddress
    case 702:  // cudaErrorLaunchTimeout
    case 710:  // cudaErrorAssert
    case 714:  // cudaErrorHardwareStackError
    case 715:  // cudaErrorIllegalInstruction
    case 716:  // cudaErrorMisalignedAddress
    case 717:  // cudaErrorInvalidAddressSpace
    case 718:  // cudaErrorInvalidPc
    case 719:  // cudaErrorLaunchFailure
    case 721:  // cudaErrorTensorMemoryLeak
    case 999:  // cudaErrorUnknown
      return true;
    default:
      return false;
  }
}

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
    if (is_device_lost(e)) {
      const std::string_view said = e.what_without_backtrace();
      return executor_error(
          ErrorCode::device_lost,
          doing + ": the device is lost: " + std::string(said.substr(0, said.find('\n'))) +
              ". Nothing runs on it in this process any more, so the worker is "
              "replaced: call again");
    }
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

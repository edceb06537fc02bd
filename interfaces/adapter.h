// What tools say of their model's name, and LoRA adapters as they name them: by the name that they
// are served under, for the text of one call and no other. Free functions, callable from any
// thread.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "gpu_runtime/taps.h"
#include "interfaces/interface.h"

namespace gpumcp::interfaces {

// What an interface's model is: a base, and the adapter that goes with it where none is named.
struct AdapterChoice {
  std::string own;                  // "": the base alone
  std::vector<std::string> served;  // all that a call may name
};

// What agents are told that a model is called: "model", where the user hides which it is.
GPUMCP_RUNTIME_API std::string shown_model(const Interface& interface, const std::string& name);

// Of a model by its name, which may be an adapter's.
GPUMCP_RUNTIME_API AdapterChoice adapters_of(const std::string& model);

// The taps with the adapter that the call asks for: "" is the interface's own, "none" the base
// alone. Null where there is nothing to do. ToolError names the adapters that there are.
GPUMCP_RUNTIME_API std::shared_ptr<gpu_runtime::RowTaps> with_adapter(
    std::shared_ptr<gpu_runtime::RowTaps> taps, const std::string& asked,
    const AdapterChoice& choice);

// The parameter of tools that take one.
GPUMCP_RUNTIME_API mcp::Arg adapter_arg(const AdapterChoice& choice);

}  // namespace gpumcp::interfaces

#include "interfaces/adapter.h"

#include "gpu_runtime/error.h"
#include "gpu_runtime/runtime.h"

namespace gpumcp::interfaces {
namespace {

constexpr const char* kNone = "none";

}  // namespace

std::string shown_model(const Interface& interface, const std::string& name) {
  const auto all = interface.options().find("model_options");
  if (all == interface.options().end() || !all->is_object()) return name;
  const auto own = all->find(name);
  const bool hidden = own != all->end() && own->is_object() && own->value("hidden", false);
  return hidden ? "model" : name;
}

AdapterChoice adapters_of(const std::string& model) {
  const gpu_runtime::Runtime& runtime = gpu_runtime::Runtime::current();
  AdapterChoice choice;
  if (runtime.is_adapter(model)) choice.own = model;
  for (const auto& [name, source] : runtime.options().adapters) choice.served.push_back(name);
  return choice;
}

std::shared_ptr<gpu_runtime::RowTaps> with_adapter(std::shared_ptr<gpu_runtime::RowTaps> taps,
                                                   const std::string& asked,
                                                   const AdapterChoice& choice) {
  const std::string& name = asked.empty() ? choice.own : asked;
  if (name.empty() || name == kNone) return taps;
  if (!taps) taps = std::make_shared<gpu_runtime::RowTaps>();
  try {
    taps->adapter = gpu_runtime::Runtime::current().adapter(name);
  } catch (const gpu_runtime::Error& e) {
    throw ToolError("arguments.adapter: " + std::string(e.what()));
  }
  return taps;
}

mcp::Arg adapter_arg(const AdapterChoice& choice) {
  std::string known;
  for (const std::string& name : choice.served) {
    if (known.size() > 300) break;
    known += (known.empty() ? " Served: " : ", ") + name;
  }
  return arg("adapter",
             "A LoRA adapter of this model, for this call alone; \"none\": the model without." +
                 (known.empty() ? known : known + "."),
             "")
      .max_length(200);
}

}  // namespace gpumcp::interfaces

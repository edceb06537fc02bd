// <gpumcp/interface.h>: all that the author of an interface needs. An interface is a shared library
// whose functions agents call:
//   GPUMCP_INTERFACE(model_tools, interface) {
//     auto model = SentenceTransformer::from_pretrained(interface.get_model_path("org/name"));
//     interface.expose("embed", "Text embedding.", [=](const std::string& text) { return
//     to_vector(model.encode(text).vectors); },
//                      arg("text"));
//   }
// The body runs once, on the thread that loads the library, and only registers: models are handles
// whose weights load at the first call. The exposed functions run on many threads at once.
#pragma once

#include <functional>

#include "interfaces/plain_interface.h"

#ifndef GPUMCP_NO_TORCH

#include "gpu_runtime/artifacts.h"
#include "gpu_runtime/auto_model.h"
#include "gpu_runtime/auto_tokenizer.h"
#include "gpu_runtime/call_scope.h"
#include "gpu_runtime/export.h"
#include "gpu_runtime/model_store.h"
#include "gpu_runtime/sentence_transformer.h"
#include "gpu_runtime/tensors.h"
#include "interfaces/tensor_ref.h"

namespace gpumcp {

using gpu_runtime::AutoModel;
using gpu_runtime::AutoModelForCausalLM;
using gpu_runtime::AutoTokenizer;
using gpu_runtime::is_language_model;
using gpu_runtime::ModelPath;
using gpu_runtime::Priority;
using gpu_runtime::SentenceTransformer;
using gpu_runtime::to_vector;
using Tensor = at::Tensor;

// How a function's calls are treated, given to expose() behind its arg()s:
//   interface.expose("embed_corpus", "…", embed_corpus, arg("texts"),
//       CallPolicy{.priority = Priority::background, .deadline = std::chrono::minutes(10)});
struct CallPolicy {
  Priority priority = Priority::normal;  // towards other functions' calls, in the models' queues
  // From its beginning until it is given up; a caller may ask for less (_meta
  // "gpumcp/deadline_ms").
  std::optional<std::chrono::milliseconds> deadline;
};

// A PlainInterface with models. Around each call it keeps a record of what the call cost, which
// goes out as the result's _meta["gpumcp/usage"], and hands the models' queues what they need to
// know of it: its stop token, its deadline, its priority, and whose it is.
class GPUMCP_RUNTIME_API Interface : public PlainInterface {
 public:
  // The first interface on a registry also configures the process' Runtime and registers what all
  // share: the artifacts' resource template, the status, what is done at shutdown, and the tools of
  // the program's own commands.
  explicit Interface(mcp::PluginHost& host);

  template <class F, class... Args>
  void expose(std::string name, std::string description, F function, Args... args) {
    expose(mcp::Tool{.name = std::move(name), .description = std::move(description)},
           std::move(function), std::move(args)...);
  }
  template <class F, class... Args>
  void expose(mcp::Tool tool, F function, Args... args) {
    CallPolicy policy;
    std::vector<mcp::Arg> parameters;
    auto sort = [&]<class T>(T& one) {
      if constexpr (std::is_same_v<T, CallPolicy>)
        policy = one;
      else
        parameters.emplace_back(one);
    };
    (sort(args), ...);
    auto [typed, handler] = mcp::make_typed_tool(detail::short_named(std::move(tool)),
                                                 std::move(function), std::move(parameters));
    host().registry().add_typed_tool(std::move(typed), metered(std::move(handler), policy));
  }
  // The same for a tool that only the program's own commands call (PluginHost::add_shell_tool).
  template <class F, class... Args>
  void expose_to_shell(mcp::Tool tool, F function, Args... args) {
    auto [typed, handler] = mcp::make_typed_tool(std::move(tool), std::move(function),
                                                 std::vector<mcp::Arg>{mcp::Arg(args)...});
    host().add_shell_tool(std::move(typed), metered(std::move(handler), {}));
  }
  void add_tool(mcp::Tool tool, mcp::ToolHandler handler, const CallPolicy& policy = {}) {
    PlainInterface::add_tool(std::move(tool), metered(std::move(handler), policy));
  }

  // Where a model lies: --model NAME=FOLDER, $GPUMCP_MODELS, gpumcp's store, the Hugging Face
  // cache. A model that is nowhere is no error here: the first call that needs it says where it was
  // looked for.
  ModelPath get_model_path(const std::string& name) const;
  // The model that the user named by --model, or `name`. With `fits`: the first of several that
  // fits, and beside other interfaces `name` again where none does, since it was named for those. A
  // model that is not there yet fits; the call that needs it says so.
  std::string default_model(std::string name) const {
    return option("default_model", std::move(name));
  }
  std::string default_model(std::string name,
                            const std::function<bool(const ModelPath&)>& fits) const;
  // Tensors and files that results point to instead of carrying them.
  gpu_runtime::ArtifactStore& artifacts() const;

 private:
  // The handler with the usage record, the call's limits and the errors of gpu_runtime round it.
  mcp::ToolHandler metered(mcp::ToolHandler handler, const CallPolicy& policy);
};

namespace detail {
GPUMCP_RUNTIME_API void load_interface(mcp::PluginHost& host, void (*body)(Interface&));
}  // namespace detail

}  // namespace gpumcp

#endif  // GPUMCP_NO_TORCH

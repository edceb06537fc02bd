// PythonInterface: one Python file's functions as tools of a worker. Keeps the file's process: the
// first call starts it, the next after its death starts another, less often the more it fails.
// Thread-safe; made while the worker loads, ends with stop() when the worker leaves.
#pragma once

#include <memory>
#include <mutex>

#include "gpu_runtime/artifacts.h"
#include "gpu_runtime/held_time.h"
#include "interfaces/python/child.h"
#include "mcp/plugin.h"

namespace gpumcp::python {

class PythonInterface : public std::enable_shared_from_this<PythonInterface> {
 public:
  // From the settings of a worker (mcp/plugin.h). Throws std::invalid_argument.
  PythonInterface(const Json& options, std::shared_ptr<gpu_runtime::ArtifactStore> artifacts,
                  std::shared_ptr<gpu_runtime::HeldTime> held);

  void register_tools(mcp::Registry& registry);
  // Starts the file's process and waits until the file is loaded. Throws ToolError: why it is not.
  void load(mcp::Context& context);
  Json status() const;
  void stop();

 private:
  mcp::CallToolResult call(const mcp::Tool& tool, const Json& arguments, mcp::Context& context);
  std::shared_ptr<Child> child(std::string& refusal, bool& cold);

  ChildOptions child_options_;
  std::vector<mcp::Tool> tools_;
  std::string workspace_;
  const std::shared_ptr<gpu_runtime::ArtifactStore> artifacts_;
  const std::shared_ptr<gpu_runtime::HeldTime> held_;

  mutable std::mutex mutex_;
  // Guarded by mutex_:
  std::shared_ptr<Child> child_;
  int failures_ = 0;  // processes that ended unasked, in a row and soon
  bool stopping_ = false;
};

}  // namespace gpumcp::python

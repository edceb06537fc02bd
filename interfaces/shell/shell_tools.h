// What the program's own commands ask of a worker: gpumcp embed, gpumcp tokenize. These tools name
// their model in each call, so that a command shares the worker, and the loaded models, of the
// agents. Agents never see them (mcp/plugin.h). Registered once a registry, by the first Interface
// on it; run by any number of threads at once.
#pragma once

#include "interfaces/interface.h"

namespace gpumcp::interfaces {

inline constexpr const char* kShellEmbed = "gpumcp_embed";
inline constexpr const char* kShellTokenize = "gpumcp_tokenize";
inline constexpr const char* kShellDetokenize = "gpumcp_detokenize";

// A name for the store, or an absolute folder.
ModelPath shell_model(const std::string& model);

void expose_shell_embed(Interface& interface);
void expose_shell_tokenize(Interface& interface);  // and the way back

}  // namespace gpumcp::interfaces

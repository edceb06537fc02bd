// Packages of the operating system that a sandbox's interfaces need, on the machine where its
// worker runs. Its package manager is asked (dpkg or rpm), and what is missing is installed where
// the worker is root, as it is in a container; nothing here asks for more rights than it has. Free
// functions; they block.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "mcp/result.h"

namespace gpumcp::sandbox {

// Why this is no package's name, as "libsndfile1", "g++" or "git=1:2.39.5-0"; empty: it is one.
std::string system_package_problem(const std::string& name);

// Error: which are missing and by what command they come; or why they could not be installed.
// `on_progress` hears how installing goes. Names are to be checked before.
mcp::Result<void> ensure_system_packages(const std::vector<std::string>& names, bool may_install,
                                         const std::function<void(std::string_view)>& on_progress);

}  // namespace gpumcp::sandbox

# spdlog >= 1.10 (Debian: libspdlog-dev), MIT. Logs to stderr with levels.
find_package(spdlog 1.10 REQUIRED)
set_target_properties(spdlog::spdlog PROPERTIES IMPORTED_GLOBAL TRUE)

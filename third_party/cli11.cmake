# CLI11 >= 2.1 (Debian: libcli11-dev), BSD-3. Command line parsing with help.
find_package(CLI11 2.1 REQUIRED)
set_target_properties(CLI11::CLI11 PROPERTIES IMPORTED_GLOBAL TRUE)

# fmt >= 9 (Debian: libfmt-dev), MIT. Text formatting; checked at compile time.
find_package(fmt 9 REQUIRED)
set_target_properties(fmt::fmt PROPERTIES IMPORTED_GLOBAL TRUE)

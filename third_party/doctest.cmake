# doctest >= 2.4 (Debian: doctest-dev), MIT. Unit tests.
find_package(doctest 2.4 REQUIRED)
set_target_properties(doctest::doctest PROPERTIES IMPORTED_GLOBAL TRUE)

# tl::expected 1.0 (Debian: libexpected-dev), CC0. Result<T> until std::expected (C++23).
find_path(GPUMCP_TL_EXPECTED tl/expected.hpp)
if(NOT GPUMCP_TL_EXPECTED)
  message(FATAL_ERROR "tl/expected.hpp is missing: install libexpected-dev, or set GPUMCP_TL_EXPECTED to its include folder")
endif()
add_library(gpumcp_tl_expected INTERFACE)
target_include_directories(gpumcp_tl_expected SYSTEM INTERFACE $<BUILD_INTERFACE:${GPUMCP_TL_EXPECTED}>)
add_library(gpumcp::tl_expected ALIAS gpumcp_tl_expected)

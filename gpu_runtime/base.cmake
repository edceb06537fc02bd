# gpumcp_gpu_runtime_base: what needs no torch, as objects: the shared library and the tests take them in.
add_library(gpumcp_gpu_runtime_base OBJECT
  json.cpp)
target_compile_features(gpumcp_gpu_runtime_base PUBLIC cxx_std_20)
target_include_directories(gpumcp_gpu_runtime_base PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>)
target_link_libraries(gpumcp_gpu_runtime_base
  PUBLIC nlohmann_json::nlohmann_json fmt::fmt gpumcp::utf8proc gpumcp::tl_expected
  PRIVATE gpumcp::build)
set_target_properties(gpumcp_gpu_runtime_base PROPERTIES POSITION_INDEPENDENT_CODE ON)

# lib/gpumcp/interfaces/test_tools.so: what tests/program and tests/sandbox serve.
gpumcp_add_interface(test_tools NO_TORCH test_tools/test_tools.cpp)
target_link_libraries(test_tools PRIVATE gpumcp::build)

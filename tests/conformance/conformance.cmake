# The programs that the official conformance suite tests; tests/conformance/run_server drives it.
add_executable(conformance_server conformance/conformance_server.cpp)
target_link_libraries(conformance_server PRIVATE gpumcp::mcp gpumcp::build)

# The programs that the official conformance suite tests; tests/conformance/run_server and run_client drive them.
add_executable(conformance_server conformance/conformance_server.cpp)
target_link_libraries(conformance_server PRIVATE gpumcp::mcp gpumcp::build)
add_executable(conformance_client conformance/conformance_client.cpp)
target_link_libraries(conformance_client PRIVATE gpumcp::mcp gpumcp::build)

# Tests of mcp over HTTP: real sockets on loopback.
add_executable(mcp_http_test
  mcp/client_http_test.cpp
  mcp/http_client_test.cpp
  mcp/http_guards_test.cpp
  mcp/http_server_test.cpp
  mcp/http_sessions_test.cpp
  mcp/http_support.cpp
  mcp/http_stream_test.cpp
  mcp/http_wire_test.cpp
  mcp/pitfalls_http_test.cpp
  mcp/sse_test.cpp)
target_link_libraries(mcp_http_test PRIVATE gpumcp::mcp doctest_main fmt::fmt gpumcp::build)
target_include_directories(mcp_http_test PRIVATE mcp)
test_headers(mcp_http_test)
add_test(NAME mcp_http COMMAND mcp_http_test)
set_tests_properties(mcp_http PROPERTIES TIMEOUT 300)

# Tests of mcp's core: no torch, no network but Unix sockets. Also the fuzz targets' corpus as a plain test.
add_executable(mcp_test
  mcp/json_test.cpp
  mcp/json_schema_test.cpp
  mcp/schema_parts_test.cpp
  mcp/message_test.cpp
  mcp/protocol_test.cpp
  mcp/client_features_test.cpp
  mcp/typed_tool_test.cpp
  mcp/checked_tool_test.cpp
  mcp/stand_ins_test.cpp
  mcp/thread_pool_test.cpp
  mcp/line_transport_test.cpp
  mcp/server_test.cpp
  mcp/calls_test.cpp
  mcp/features_test.cpp
  mcp/pitfalls_test.cpp
  mcp/rounds_test.cpp
  mcp/tasks_test.cpp
  mcp/client_test.cpp
  mcp/client_handlers_test.cpp
  mcp/client_lists_test.cpp
  mcp/client_param_headers_test.cpp
  mcp/client_process_test.cpp
  mcp/client_tasks_test.cpp
)
add_executable(mcp_process_server mcp/process_server.cpp)
target_link_libraries(mcp_process_server PRIVATE gpumcp::mcp gpumcp::build)
target_compile_definitions(mcp_test PRIVATE GPUMCP_PROCESS_SERVER="$<TARGET_FILE:mcp_process_server>")
add_dependencies(mcp_test mcp_process_server)
target_link_libraries(mcp_test PRIVATE gpumcp::mcp fmt::fmt doctest_main gpumcp::build)
test_headers(mcp_test)
# Half of what they take to compile is the same templates; each still has its own names, so only these go together.
set_target_properties(mcp_test PROPERTIES UNITY_BUILD ON UNITY_BUILD_MODE GROUP)
foreach(group IN ITEMS "message protocol client_features" "typed_tool checked_tool stand_ins" "thread_pool line_transport server"
    "client_handlers client_lists client_param_headers" "client_process client_tasks")
  string(REPLACE " " ";" files "${group}")
  list(GET files 0 name)
  list(TRANSFORM files REPLACE "(.+)" "mcp/\\1_test.cpp")
  set_source_files_properties(${files} PROPERTIES UNITY_GROUP ${name})
endforeach()
add_test(NAME mcp COMMAND mcp_test)
include(fuzz/fuzz.cmake)

# The official tests of JSON Schema 2020-12, which scripts/fetch brings into the cache.
file(STRINGS ${PROJECT_SOURCE_DIR}/scripts/fetch schema_suite REGEX "^json_schema_suite_package=")
string(REGEX REPLACE ".*==" "" schema_suite "${schema_suite}")
add_executable(json_schema_suite mcp/json_schema_suite.cpp)
target_compile_definitions(json_schema_suite PRIVATE GPUMCP_SCHEMA_SUITE="${schema_suite}")
target_link_libraries(json_schema_suite PRIVATE gpumcp::mcp gpumcp::build)
add_test(NAME mcp_json_schema_suite COMMAND json_schema_suite)

# Transcripts of whole conversations; rewrite the server's lines with: mcp_transcripts --update tests/transcripts/*.jsonl
add_executable(mcp_transcripts mcp/transcripts.cpp)
target_link_libraries(mcp_transcripts PRIVATE gpumcp::mcp gpumcp::build)
add_test(NAME mcp_transcripts COMMAND mcp_transcripts
  ${CMAKE_CURRENT_SOURCE_DIR}/transcripts/modern.jsonl
  ${CMAKE_CURRENT_SOURCE_DIR}/transcripts/legacy.jsonl
  ${CMAKE_CURRENT_SOURCE_DIR}/transcripts/errors.jsonl)

# The snippets of docs/mcp.md, compiled and run; what the document shows is the same.
set(doc_snippets ${CMAKE_CURRENT_SOURCE_DIR}/mcp/docs_server_test.cpp ${CMAKE_CURRENT_SOURCE_DIR}/mcp/docs_client_test.cpp)
add_executable(mcp_docs_test ${doc_snippets})
target_link_libraries(mcp_docs_test PRIVATE gpumcp::mcp doctest_main gpumcp::build)
target_compile_definitions(mcp_docs_test PRIVATE GPUMCP_PROCESS_SERVER="$<TARGET_FILE:mcp_process_server>")
test_headers(mcp_docs_test)
add_dependencies(mcp_docs_test mcp_process_server)
add_test(NAME mcp_docs COMMAND mcp_docs_test)
find_program(GPUMCP_PYTHON python3 REQUIRED)
add_test(NAME mcp_docs_quotes COMMAND ${GPUMCP_PYTHON} ${CMAKE_CURRENT_SOURCE_DIR}/mcp/quote_docs.py
  ${PROJECT_SOURCE_DIR}/docs/mcp.md ${doc_snippets})

# What fronts and workers share: folders, connection files, keys, manifests, hosts' entries. The processes
# themselves are tried from outside, in tests/program.
add_executable(sandbox_test
  sandbox/agent_program_test.cpp sandbox/carried_test.cpp sandbox/host_config_test.cpp sandbox/ledger_test.cpp sandbox/manifest_test.cpp sandbox/provider_test.cpp
  sandbox/python_stubs_test.cpp sandbox/runtime_folder_test.cpp sandbox/sandbox_config_test.cpp sandbox/sandbox_file_test.cpp
  sandbox/scoped_sandbox_test.cpp sandbox/tool_names_test.cpp sandbox/workspace_test.cpp)
target_link_libraries(sandbox_test PRIVATE gpumcp::sandbox gpumcp::build doctest_main fmt::fmt)
test_headers(sandbox_test)
# It starts real workers, of Python files and of a library.
add_dependencies(sandbox_test gpumcp_program gpumcp_python_host test_tools)
add_test(NAME sandbox_test COMMAND sandbox_test)

# Tests of the built interfaces, opened as the program opens them. The test itself links no torch.
add_executable(interfaces_test
  interfaces/main.cpp interfaces/support.cpp
  interfaces/cosine_test.cpp interfaces/embeddings_test.cpp interfaces/interface_test.cpp
  interfaces/interpretability_test.cpp interfaces/language_model_test.cpp
  interfaces/sizes_test.cpp interfaces/tensors_test.cpp interfaces/tiny_models_test.cpp
  interfaces/workspace_file_test.cpp
  ${PROJECT_SOURCE_DIR}/interfaces/embeddings/cosine.cpp
  ${PROJECT_SOURCE_DIR}/interfaces/embeddings/workspace_file.cpp)
target_include_directories(interfaces_test PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
target_link_libraries(interfaces_test PRIVATE gpumcp::mcp doctest::doctest ${CMAKE_DL_LIBS} gpumcp::build)
target_compile_definitions(interfaces_test PRIVATE
  GPUMCP_TEST_GOLDEN="${CMAKE_CURRENT_SOURCE_DIR}/golden" GPUMCP_TEST_INTERFACES="$<TARGET_FILE_DIR:embeddings>")
add_dependencies(interfaces_test embeddings interpretability language_model tensors model_tools test_tools)
test_headers(interfaces_test)
add_test(NAME interfaces COMMAND interfaces_test)

# What authors get, with torch in the test's own process.
add_executable(interface_unit_test interfaces/main.cpp interfaces/support.cpp interfaces/tensor_ref_test.cpp)
target_include_directories(interface_unit_test PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
target_link_libraries(interface_unit_test PRIVATE gpumcp::interface doctest::doctest ${CMAKE_DL_LIBS} gpumcp::build)
target_compile_definitions(interface_unit_test PRIVATE
  GPUMCP_TEST_GOLDEN="${CMAKE_CURRENT_SOURCE_DIR}/golden" GPUMCP_TEST_INTERFACES="$<TARGET_FILE_DIR:embeddings>")
add_test(NAME interface_unit COMMAND interface_unit_test)

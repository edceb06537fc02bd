# Fuzz targets: with clang each is a libFuzzer program too (NAME_fuzz, not run by ctest); with every compiler the
# corpus and a fixed set of mutations of it run as the test fuzz_NAME.
foreach(name json message line)
  add_executable(${name}_replay fuzz/${name}_fuzz.cpp fuzz/replay_main.cpp)
  target_link_libraries(${name}_replay PRIVATE gpumcp::mcp gpumcp::build)
  add_test(NAME fuzz_${name} COMMAND ${name}_replay --mutations $<IF:$<STREQUAL:${name},line>,200,10000> ${CMAKE_CURRENT_SOURCE_DIR}/fuzz/${name}.corpus)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    add_executable(${name}_fuzz EXCLUDE_FROM_ALL fuzz/${name}_fuzz.cpp)
    target_link_libraries(${name}_fuzz PRIVATE gpumcp::mcp gpumcp::build)
    target_compile_options(${name}_fuzz PRIVATE -fsanitize=fuzzer)
    target_link_options(${name}_fuzz PRIVATE -fsanitize=fuzzer)
  endif()
endforeach()

add_executable(chat_template_replay fuzz/chat_template_fuzz.cpp fuzz/replay_main.cpp)
target_link_libraries(chat_template_replay PRIVATE gpumcp_gpu_runtime_base gpumcp::build)
add_test(NAME fuzz_chat_template
  COMMAND chat_template_replay --mutations 100 ${CMAKE_CURRENT_SOURCE_DIR}/fuzz/chat_template.corpus)

# Fuzz targets: with every compiler the corpus and a fixed set of mutations of it run as the test fuzz_NAME. Where
# GPUMCP_FUZZ is on (scripts/fuzz; clang), each is a libFuzzer program too, NAME_fuzz, that `fuzzers` builds.
add_custom_target(fuzzers)
add_library(fuzz_replay_main OBJECT EXCLUDE_FROM_ALL fuzz/replay_main.cpp)
target_link_libraries(fuzz_replay_main PRIVATE gpumcp::mcp gpumcp::build)

# fuzz_target(NAME LIBRARY MUTATIONS): of each input, in the test.
function(fuzz_target name library mutations)
  if(GPUMCP_FUZZ)
    add_executable(${name}_fuzz EXCLUDE_FROM_ALL fuzz/${name}_fuzz.cpp)
    target_link_libraries(${name}_fuzz PRIVATE ${library} gpumcp::build)
    target_link_options(${name}_fuzz PRIVATE -fsanitize=fuzzer)
    add_dependencies(fuzzers ${name}_fuzz)
    return()
  endif()
  add_executable(${name}_replay fuzz/${name}_fuzz.cpp)
  target_link_libraries(${name}_replay PRIVATE fuzz_replay_main ${library} gpumcp::build)
  add_test(NAME fuzz_${name}
    COMMAND ${name}_replay --mutations ${mutations} ${CMAKE_CURRENT_SOURCE_DIR}/fuzz/${name}.corpus)
endfunction()

foreach(name json message http header_value sse uri_template)
  fuzz_target(${name} gpumcp::mcp 10000)
endforeach()
fuzz_target(line gpumcp::mcp 200)
fuzz_target(schema gpumcp::mcp 2000)
foreach(name checkpoint config npy safetensors tokenizer_json tokenizer_text)
  fuzz_target(${name} gpumcp_gpu_runtime_base 1000)
endforeach()
fuzz_target(chat_template gpumcp_gpu_runtime_base 100)

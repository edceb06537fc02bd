# Fuzz targets: with every compiler the corpus and a fixed set of mutations of it run as the test fuzz_NAME. Where
# GPUMCP_FUZZ is on (scripts/fuzz; clang), each is a libFuzzer program too, NAME_fuzz, that `fuzzers` builds.
add_custom_target(fuzzers)
set(fuzzed_mcp gpumcp::mcp)
if(GPUMCP_FUZZ)
  # mcp without what no target reaches: these files take as long to compile as all others together.
  get_target_property(sources gpumcp_mcp SOURCES)
  list(FILTER sources INCLUDE REGEX "\\.cpp$")
  list(FILTER sources EXCLUDE REGEX
    "^(client|client_(asks|calls|era|handlers|listen|lists)|exit_watch|http_(client.*|endpoint|server|sessions|stream))\\.cpp$")
  list(TRANSFORM sources PREPEND ${PROJECT_SOURCE_DIR}/mcp/)
  add_library(fuzzed_mcp STATIC EXCLUDE_FROM_ALL ${sources})
  target_include_directories(fuzzed_mcp PUBLIC ${PROJECT_SOURCE_DIR})
  target_link_libraries(fuzzed_mcp PUBLIC nlohmann_json::nlohmann_json gpumcp::tl_expected Threads::Threads
    PRIVATE gpumcp::build fmt::fmt OpenSSL::Crypto gpumcp::re2)
  target_precompile_headers(fuzzed_mcp PRIVATE <fmt/format.h> <nlohmann/json.hpp> <map> <memory> <mutex> <string> <vector>)
  set(fuzzed_mcp fuzzed_mcp)
endif()

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
  fuzz_target(${name} ${fuzzed_mcp} 10000)
endforeach()
fuzz_target(line ${fuzzed_mcp} 200)
fuzz_target(schema ${fuzzed_mcp} 2000)
foreach(name checkpoint config npy safetensors tokenizer_json tokenizer_text)
  fuzz_target(${name} gpumcp_gpu_runtime_base 1000)
endforeach()
fuzz_target(chat_template gpumcp_gpu_runtime_base 100)

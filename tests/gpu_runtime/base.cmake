# Tests of gpu_runtime's torch-free part.
add_executable(gpu_runtime_base_test
  gpu_runtime/artifact_view_test.cpp gpu_runtime/artifacts_test.cpp gpu_runtime/bpe_test.cpp gpu_runtime/chat_template_test.cpp
  gpu_runtime/checkpoint_test.cpp
  gpu_runtime/generation_config_test.cpp gpu_runtime/held_time_test.cpp gpu_runtime/json_test.cpp
  gpu_runtime/model_config_test.cpp gpu_runtime/model_store_test.cpp gpu_runtime/npy_test.cpp
  gpu_runtime/real_tokenizers_test.cpp gpu_runtime/safetensors_test.cpp gpu_runtime/sampler_test.cpp
  gpu_runtime/stop_strings_test.cpp gpu_runtime/tokenizer_test.cpp gpu_runtime/trie_test.cpp
  gpu_runtime/unicode_test.cpp gpu_runtime/wordpiece_test.cpp)
target_link_libraries(gpu_runtime_base_test PRIVATE gpumcp_gpu_runtime_base doctest_main gpumcp::build)
target_compile_definitions(gpu_runtime_base_test PRIVATE
  GPUMCP_TEST_GOLDEN="${CMAKE_CURRENT_SOURCE_DIR}/golden")
test_headers(gpu_runtime_base_test)
add_test(NAME gpu_runtime_base COMMAND gpu_runtime_base_test)

# Not a test: tests/gpu_runtime/fuzz_tokenizer.py compares it with the `tokenizers` package.
add_executable(tokenizer_tool gpu_runtime/tokenizer_tool.cpp)
target_link_libraries(tokenizer_tool PRIVATE gpumcp_gpu_runtime_base gpumcp::build)

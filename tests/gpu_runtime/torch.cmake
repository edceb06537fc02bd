# Tests of gpu_runtime's torch part. The executor's tests run no kernel (fakes), so that sanitizers see only our own code.
add_executable(gpu_runtime_executor_test
  gpu_runtime/call_scope_test.cpp
  gpu_runtime/fake_decoder.cpp gpu_runtime/generation_queue_test.cpp
  gpu_runtime/model_executor_test.cpp
  gpu_runtime/residency_test.cpp
  gpu_runtime/runtime_test.cpp)
add_executable(gpu_runtime_torch_test
  gpu_runtime/architectures_test.cpp
  gpu_runtime/auto_model_test.cpp
  gpu_runtime/bad_input_test.cpp
  gpu_runtime/bert_folder_test.cpp
  gpu_runtime/cross_encoder_test.cpp
  gpu_runtime/device_test.cpp
  gpu_runtime/generate_test.cpp
  gpu_runtime/lora_test.cpp
  gpu_runtime/model_types_test.cpp
  gpu_runtime/module_model_test.cpp
  gpu_runtime/packing_test.cpp
  gpu_runtime/sentence_transformer_test.cpp
  gpu_runtime/taps_test.cpp
  gpu_runtime/weight_reader_test.cpp)
foreach(name executor torch)
  target_link_libraries(gpu_runtime_${name}_test PRIVATE gpumcp::gpu_runtime doctest_main gpumcp::build)
  target_compile_definitions(gpu_runtime_${name}_test PRIVATE
    GPUMCP_TEST_GOLDEN="${CMAKE_CURRENT_SOURCE_DIR}/golden")
  add_test(NAME gpu_runtime_${name} COMMAND gpu_runtime_${name}_test -tse=cuda)
endforeach()
target_precompile_headers(gpu_runtime_executor_test PRIVATE <ATen/core/Tensor.h> <nlohmann/json.hpp>)
target_precompile_headers(gpu_runtime_torch_test REUSE_FROM gpu_runtime_executor_test)
# Files that compute with tensors themselves read headers of ATen for seconds each: these do so together.
set_target_properties(gpu_runtime_torch_test PROPERTIES UNITY_BUILD ON UNITY_BUILD_MODE GROUP)
set_source_files_properties(gpu_runtime/lora_test.cpp gpu_runtime/taps_test.cpp PROPERTIES UNITY_GROUP taps)
set_source_files_properties(gpu_runtime/bad_input_test.cpp gpu_runtime/sentence_transformer_test.cpp
  gpu_runtime/weight_reader_test.cpp PROPERTIES UNITY_GROUP tensors)
# PASSIVE: OpenMP threads sleep while they wait; spinning ones made these tests 7 times slower on a machine with other work.
set_tests_properties(gpu_runtime_torch PROPERTIES ENVIRONMENT "OMP_WAIT_POLICY=PASSIVE")
set_tests_properties(gpu_runtime_executor PROPERTIES ENVIRONMENT
  "TSAN_OPTIONS=suppressions=${CMAKE_CURRENT_SOURCE_DIR}/tsan_suppressions.txt")
# Prints "no CUDA device: …" and counts as skipped where there is none.
add_test(NAME gpu_runtime_cuda COMMAND gpu_runtime_torch_test -ts=cuda)
set_tests_properties(gpu_runtime_cuda PROPERTIES LABELS gpu SKIP_REGULAR_EXPRESSION "no CUDA device: ")

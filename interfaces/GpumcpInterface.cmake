# gpumcp_add_interface(NAME [NO_TORCH] SOURCE…): an interface as a shared library and its manifest.
# Makes lib/gpumcp/interfaces/NAME.so and, where the program is built, NAME.json beside it: the tools as JSON, which a
# front lists without opening the library. NO_TORCH: an interface without models, which links gpumcp::mcp alone.
# Sources that end in .cu are compiled by nvcc (third_party/cuda.cmake; needs -DGPUMCP_WITH_CUDA=ON): kernels and what
# launches them, in C++17; keep torch and gpumcp's headers in the .cpp beside them.

# Appends to ${out} an object file of FILE, compiled by nvcc. CMake's own CUDA language would demand a whole toolkit.
function(gpumcp_cuda_object name file out)
  if(NOT GPUMCP_WITH_CUDA)
    message(FATAL_ERROR "${name}: ${file} needs a CUDA compiler: configure with -DGPUMCP_WITH_CUDA=ON (preset cuda)")
  endif()
  get_filename_component(source "${file}" ABSOLUTE)
  get_filename_component(stem "${file}" NAME)
  set(object "${CMAKE_CURRENT_BINARY_DIR}/${name}_${stem}.o")
  foreach(architecture ${GPUMCP_CUDA_ARCHITECTURES})
    list(APPEND code "-gencode=arch=compute_${architecture},code=sm_${architecture}")
    set(last ${architecture})
  endforeach()
  list(APPEND code "-gencode=arch=compute_${last},code=compute_${last}")
  add_custom_command(OUTPUT "${object}"
    COMMAND "${GPUMCP_NVCC}" -std=c++17 -O3 -ccbin "${CMAKE_CXX_COMPILER}" -Xcompiler=-fPIC,-fvisibility=hidden,-Wall
      -Werror=all-warnings ${code} -MD -MF "${object}.d" -c "${source}" -o "${object}"
    DEPENDS "${source}" DEPFILE "${object}.d" COMMENT "nvcc ${file}" VERBATIM)
  set(${out} ${${out}} "${object}" PARENT_SCOPE)
endfunction()

function(gpumcp_add_interface name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "NO_TORCH" "" "")
  set(folder "${CMAKE_LIBRARY_OUTPUT_DIRECTORY}/gpumcp/interfaces")
  set(sources ${arg_UNPARSED_ARGUMENTS})
  set(kernels ${sources})
  list(FILTER kernels INCLUDE REGEX "\\.cu$")
  list(FILTER sources EXCLUDE REGEX "\\.cu$")
  set(objects "")
  foreach(kernel ${kernels})
    gpumcp_cuda_object(${name} ${kernel} objects)
  endforeach()
  add_library(${name} MODULE ${sources} ${objects})
  if(objects)
    set_source_files_properties(${objects} PROPERTIES EXTERNAL_OBJECT ON GENERATED ON)
    target_link_libraries(${name} PRIVATE "${GPUMCP_CUDART}")
  endif()
  target_compile_features(${name} PRIVATE cxx_std_20)
  set_target_properties(${name} PROPERTIES
    PREFIX "" SUFFIX ".so" LIBRARY_OUTPUT_DIRECTORY "${folder}" DEFINE_SYMBOL ""
    INSTALL_RPATH "$ORIGIN/../.." INSTALL_RPATH_USE_LINK_PATH ON BUILD_WITH_INSTALL_RPATH ON)
  if(arg_NO_TORCH)
    target_link_libraries(${name} PRIVATE gpumcp::interface_base)
  else()
    target_link_libraries(${name} PRIVATE gpumcp::interface)
    target_precompile_headers(${name} REUSE_FROM gpumcp_interface)
  endif()
  if(TARGET gpumcp_program)
    add_custom_command(OUTPUT "${folder}/${name}.json"
      COMMAND gpumcp_program manifest "$<TARGET_FILE:${name}>" --out "${folder}/${name}.json"
      DEPENDS ${name} gpumcp_program
      COMMENT "Manifest of interface ${name}" VERBATIM)
    add_custom_target(${name}_manifest ALL DEPENDS "${folder}/${name}.json")
  endif()
endfunction()

# libtorch 2.11 to 2.15 (PyPI: torch), BSD-3. Tensors, CPU and CUDA kernels of gpu_runtime; nothing else links it.
# Looked for in this order: GPUMCP_TORCH (cache variable or environment: a `torch` package folder), the torch of the
# machine's python3, ${GPUMCP_CACHE:-~/.cache/gpumcp}/torch-2.15.0/torch; else `scripts/fetch torch` brings that last one.
#
# find_package(Torch) demands a CUDA toolkit, so the target is made by hand: gpumcp::torch is libtorch_cpu + libc10.
# CUDA comes at run time, by dlopen of libtorch_cuda.so beside them (gpu_runtime/device.cpp). The wheel's own libraries
# find NVIDIA's by their RPATH; ours find the wheel's by the RPATH that CMake writes for the build tree and, through
# INSTALL_RPATH_USE_LINK_PATH, for installed files.
set(GPUMCP_TORCH "$ENV{GPUMCP_TORCH}" CACHE PATH "A torch package folder (it has include/ and lib/); empty: look for one")

# Sets ${out} to the version in FOLDER's headers, or to nothing where FOLDER is not a whole torch package.
function(gpumcp_torch_version folder out)
  set(${out} "" PARENT_SCOPE)
  set(header "${folder}/include/torch/headeronly/version.h")
  if(EXISTS "${header}" AND EXISTS "${folder}/lib/libtorch_cpu.so" AND EXISTS "${folder}/lib/libc10.so")
    file(STRINGS "${header}" lines REGEX "^#define TORCH_VERSION_(MAJOR|MINOR|PATCH) [0-9]+")
    list(TRANSFORM lines REPLACE "^#define TORCH_VERSION_[A-Z]+ ([0-9]+).*" "\\1")
    list(JOIN lines "." version)
    set(${out} "${version}" PARENT_SCOPE)
  endif()
endfunction()

function(gpumcp_torch_fits version out)
  set(${out} FALSE PARENT_SCOPE)
  if(version AND version VERSION_GREATER_EQUAL 2.11 AND version VERSION_LESS 2.16)
    set(${out} TRUE PARENT_SCOPE)
  endif()
endfunction()

if(DEFINED ENV{GPUMCP_CACHE} AND NOT "$ENV{GPUMCP_CACHE}" STREQUAL "")
  set(gpumcp_cache "$ENV{GPUMCP_CACHE}")
else()
  set(gpumcp_cache "$ENV{HOME}/.cache/gpumcp")
endif()
set(gpumcp_fetched_torch "${gpumcp_cache}/torch-2.15.0/torch")

set(gpumcp_torch "")
if(GPUMCP_TORCH)
  gpumcp_torch_version("${GPUMCP_TORCH}" gpumcp_torch_is)
  gpumcp_torch_fits("${gpumcp_torch_is}" gpumcp_torch_ok)
  if(NOT gpumcp_torch_ok)
    message(FATAL_ERROR "GPUMCP_TORCH=${GPUMCP_TORCH} is not a torch package folder of version 2.11 to 2.15 "
      "(version found: '${gpumcp_torch_is}'; it must hold include/torch/headeronly/version.h and lib/libtorch_cpu.so)")
  endif()
  set(gpumcp_torch "${GPUMCP_TORCH}")
else()
  find_program(GPUMCP_PYTHON3 python3)
  if(GPUMCP_PYTHON3)  # asks where torch lies without importing it: an import takes seconds and may fail on missing CUDA parts
    execute_process(COMMAND "${GPUMCP_PYTHON3}" -c
      "import importlib.util as u; s = u.find_spec('torch'); print(s.submodule_search_locations[0] if s else '')"
      OUTPUT_VARIABLE gpumcp_python_torch OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
    gpumcp_torch_version("${gpumcp_python_torch}" gpumcp_torch_is)
    gpumcp_torch_fits("${gpumcp_torch_is}" gpumcp_torch_ok)
    if(gpumcp_torch_ok)
      set(gpumcp_torch "${gpumcp_python_torch}")
    elseif(gpumcp_torch_is)
      message(STATUS "torch ${gpumcp_torch_is} of python3 is not used: 2.11 to 2.15 are what gpumcp is built with")
    endif()
  endif()
  if(NOT gpumcp_torch)
    gpumcp_torch_version("${gpumcp_fetched_torch}" gpumcp_torch_is)
    if(NOT gpumcp_torch_is AND EXISTS "${PROJECT_SOURCE_DIR}/scripts/fetch")
      message(STATUS "no torch here: scripts/fetch torch (about 1.2 GB on disk, once)")
      execute_process(COMMAND "${PROJECT_SOURCE_DIR}/scripts/fetch" torch RESULT_VARIABLE gpumcp_fetch_result)
      gpumcp_torch_version("${gpumcp_fetched_torch}" gpumcp_torch_is)
    endif()
    gpumcp_torch_fits("${gpumcp_torch_is}" gpumcp_torch_ok)
    if(NOT gpumcp_torch_ok)
      message(FATAL_ERROR "No libtorch: neither GPUMCP_TORCH nor python3's torch nor ${gpumcp_fetched_torch} is a torch "
        "package of version 2.11 to 2.15, and `scripts/fetch torch` did not bring one. Either put one there "
        "(pip install --no-deps --target ${gpumcp_cache}/torch-2.15.0 torch==2.15.0 nvidia-cuda-runtime==13.2.86 "
        "nvidia-cuda-cupti==13.2.86), or give -DGPUMCP_TORCH=FOLDER/torch, or build without it: -DGPUMCP_WITH_TORCH=OFF.")
    endif()
    set(gpumcp_torch "${gpumcp_fetched_torch}")
  endif()
endif()
set(GPUMCP_TORCH_VERSION "${gpumcp_torch_is}")
message(STATUS "torch ${GPUMCP_TORCH_VERSION}: ${gpumcp_torch}")

foreach(lib c10 torch_cpu)
  add_library(gpumcp_${lib} SHARED IMPORTED GLOBAL)
  set_target_properties(gpumcp_${lib} PROPERTIES
    IMPORTED_LOCATION "${gpumcp_torch}/lib/lib${lib}.so" IMPORTED_SONAME "lib${lib}.so")
endforeach()

# libtorch_cpu needs NVIDIA's runtime and libgomp, which only its own RPATH finds: allow-shlib-undefined leaves that to the
# loader. no-as-needed: kernels and operators register themselves, so the library must stay though few symbols are named.
add_library(gpumcp_torch INTERFACE)
target_include_directories(gpumcp_torch SYSTEM INTERFACE "${gpumcp_torch}/include")
# For the few files that need torch's module API as well.
set(GPUMCP_TORCH_API_INCLUDE "${gpumcp_torch}/include/torch/csrc/api/include" CACHE INTERNAL "")
target_link_options(gpumcp_torch INTERFACE -Wl,--no-as-needed -Wl,--allow-shlib-undefined)
target_link_libraries(gpumcp_torch INTERFACE gpumcp_torch_cpu gpumcp_c10)
add_library(gpumcp::torch ALIAS gpumcp_torch)

# lib/gpumcp/build.json: what `gpumcp build FILE.cpp` compiles and links an interface with, in the build tree and, with
# other folders, where gpumcp is installed; "{prefix}" is the folder that bin/ and lib/ lie in. Headers go along.
function(gpumcp_json_list out)
  list(TRANSFORM ARGN REPLACE "(.+)" "\"\\1\"")
  list(JOIN ARGN ", " joined)
  set(${out} "[${joined}]" PARENT_SCOPE)
endfunction()

function(gpumcp_build_settings file)  # INCLUDE…
  set(includes "")
  foreach(folder ${ARGN})
    list(APPEND includes "-I${folder}")
  endforeach()
  set(libraries "-Wl,--as-needed" "{prefix}/lib/libgpumcp_mcp.a" "-lre2" "-lfmt" "-lssl" "-lcrypto")
  if(GPUMCP_HTTPLIB_LIBRARY)
    list(APPEND libraries "${GPUMCP_HTTPLIB_LIBRARY}")
  endif()
  gpumcp_json_list(base_includes ${includes})
  gpumcp_json_list(base_libraries ${libraries})
  set(torch false)
  set(torch_includes ${includes})
  set(torch_libraries "")
  if(GPUMCP_WITH_TORCH)
    set(torch true)
    get_target_property(folders gpumcp_torch_cpu INTERFACE_INCLUDE_DIRECTORIES)
    if(NOT folders)
      get_target_property(folders gpumcp_torch INTERFACE_INCLUDE_DIRECTORIES)
    endif()
    foreach(folder ${folders})
      list(APPEND torch_includes "-I${folder}")
    endforeach()
    get_target_property(torch_cpu gpumcp_torch_cpu IMPORTED_LOCATION)
    get_target_property(c10 gpumcp_c10 IMPORTED_LOCATION)
    get_filename_component(torch_folder "${torch_cpu}" DIRECTORY)
    set(torch_libraries "{prefix}/lib/libgpumcp_interface.so" "{prefix}/lib/libgpumcp_gpu_runtime.so" "-Wl,-rpath,{prefix}/lib"
      "-Wl,-rpath,${torch_folder}" "-Wl,--allow-shlib-undefined" "${torch_cpu}" "${c10}")
  endif()
  gpumcp_json_list(torch_includes ${torch_includes})
  gpumcp_json_list(torch_libraries ${torch_libraries} ${libraries})
  file(CONFIGURE OUTPUT "${file}" CONTENT "{
 \"compiler\": \"${CMAKE_CXX_COMPILER}\",
 \"torch\": ${torch},
 \"includes\": ${torch_includes},
 \"libraries\": ${torch_libraries},
 \"base_includes\": ${base_includes},
 \"base_libraries\": ${base_libraries}
}
")
endfunction()

gpumcp_build_settings("${CMAKE_LIBRARY_OUTPUT_DIRECTORY}/gpumcp/build.json" "${PROJECT_SOURCE_DIR}" "${GPUMCP_PUBLIC_INCLUDE}")
gpumcp_build_settings("${CMAKE_CURRENT_BINARY_DIR}/installed/build.json" "{prefix}/include" "{prefix}/include/gpumcp")
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/installed/build.json" DESTINATION lib/gpumcp)
install(FILES "${GPUMCP_PUBLIC_INCLUDE}/gpumcp/interface.h" DESTINATION include/gpumcp)
foreach(folder IN ITEMS gpu_runtime interfaces)
  install(DIRECTORY "${PROJECT_SOURCE_DIR}/${folder}/" DESTINATION "include/gpumcp/${folder}" FILES_MATCHING PATTERN "*.h")
endforeach()

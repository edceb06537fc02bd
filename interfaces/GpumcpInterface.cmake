# gpumcp_add_interface(NAME [NO_TORCH] SOURCE…): an interface as a shared library and its manifest.
# Makes lib/gpumcp/interfaces/NAME.so and, where the program is built, NAME.json beside it: the tools as JSON, which a
# front lists without opening the library. NO_TORCH: an interface without models, which links gpumcp::mcp alone.
function(gpumcp_add_interface name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "NO_TORCH" "" "")
  set(folder "${CMAKE_LIBRARY_OUTPUT_DIRECTORY}/gpumcp/interfaces")
  add_library(${name} MODULE ${arg_UNPARSED_ARGUMENTS})
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

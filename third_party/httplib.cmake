# cpp-httplib >= 0.11 (Debian: libcpp-httplib-dev, a header and a shared library), MIT. HTTP server and client of mcp/.
# Split builds must be compiled with the defines that the library was built with: its pkg-config file has them.
find_path(GPUMCP_HTTPLIB_INCLUDE httplib.h)
find_library(GPUMCP_HTTPLIB_LIBRARY NAMES cpp-httplib)
if(NOT GPUMCP_HTTPLIB_INCLUDE)
  message(FATAL_ERROR "httplib.h is missing: install libcpp-httplib-dev, or set GPUMCP_HTTPLIB_INCLUDE to its folder")
endif()
add_library(gpumcp_httplib INTERFACE)
target_include_directories(gpumcp_httplib SYSTEM INTERFACE ${GPUMCP_HTTPLIB_INCLUDE})
if(GPUMCP_HTTPLIB_LIBRARY)
  # Only for whoever uses it, whatever the link line says before: an interface, which has torch in its process, must
  # not bring a second httplib along.
  target_link_libraries(gpumcp_httplib INTERFACE "-Wl,--push-state,--as-needed,${GPUMCP_HTTPLIB_LIBRARY},--pop-state")
  get_filename_component(gpumcp_httplib_dir ${GPUMCP_HTTPLIB_LIBRARY} DIRECTORY)
  set(gpumcp_httplib_pc ${gpumcp_httplib_dir}/pkgconfig/cpp-httplib.pc)
  if(EXISTS ${gpumcp_httplib_pc})
    file(STRINGS ${gpumcp_httplib_pc} gpumcp_httplib_cflags REGEX "^Cflags:")
    string(REGEX MATCHALL "-D[A-Za-z0-9_=]+" gpumcp_httplib_defines "${gpumcp_httplib_cflags}")
    target_compile_options(gpumcp_httplib INTERFACE ${gpumcp_httplib_defines})
  endif()
  # Only the headers' templates touch OpenSSL; where they are missing, https is too.
  if("${gpumcp_httplib_defines}" MATCHES "OPENSSL")
    find_package(OpenSSL REQUIRED)
    target_include_directories(gpumcp_httplib SYSTEM INTERFACE ${OPENSSL_INCLUDE_DIR})
    target_link_libraries(gpumcp_httplib INTERFACE
      "-Wl,--push-state,--as-needed,${OPENSSL_SSL_LIBRARY},${OPENSSL_CRYPTO_LIBRARY},--pop-state")
  endif()
endif()
add_library(gpumcp::httplib ALIAS gpumcp_httplib)

# PCRE2 >= 10.32 (Debian: libpcre2-dev), BSD-3. The patterns that tokenizer.json cuts text with: they look ahead, which
# RE2 does not do. Foreign patterns: tokenizer_regex.cpp bounds their size, steps and memory.
find_path(GPUMCP_PCRE2_INCLUDE pcre2.h)
find_library(GPUMCP_PCRE2_LIBRARY pcre2-8)
if(NOT GPUMCP_PCRE2_INCLUDE OR NOT GPUMCP_PCRE2_LIBRARY)
  message(FATAL_ERROR "PCRE2 is missing: install libpcre2-dev")
endif()
add_library(gpumcp_pcre2 INTERFACE)
target_include_directories(gpumcp_pcre2 SYSTEM INTERFACE ${GPUMCP_PCRE2_INCLUDE})
target_link_libraries(gpumcp_pcre2 INTERFACE ${GPUMCP_PCRE2_LIBRARY})
add_library(gpumcp::pcre2 ALIAS gpumcp_pcre2)

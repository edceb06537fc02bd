# zlib >= 1.2 (Debian: zlib1g-dev), zlib licence. Compresses the small pictures that tools return as PNG.
find_package(ZLIB REQUIRED)
add_library(gpumcp_zlib INTERFACE)
target_link_libraries(gpumcp_zlib INTERFACE ZLIB::ZLIB)
add_library(gpumcp::zlib ALIAS gpumcp_zlib)

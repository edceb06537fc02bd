# nlohmann/json >= 3.11 (Debian: nlohmann-json3-dev), MIT. JSON values: readable code at the API, strict parser, UTF-8 checked.
find_package(nlohmann_json 3.11 REQUIRED)
set_target_properties(nlohmann_json::nlohmann_json PROPERTIES IMPORTED_GLOBAL TRUE)

#include "gpu_runtime/json.h"

#include <doctest/doctest.h>

#include <string>

#include "tests/gpu_runtime/support.h"

using namespace gpumcp::gpu_runtime;

TEST_CASE("well-formed JSON comes out as written") {
  const Json value = parse_json(R"({"a":[1,-2,3.5,true,null,"é"],"b":{"c":{}}})", "test");
  CHECK(value["a"].size() == 6);
  CHECK(value["a"][1] == -2);
  CHECK(value["a"][5] == "é");
  CHECK(value["b"]["c"].is_object());
  CHECK(parse_json(" 7 ", "test") == 7);
}

TEST_CASE(
    "broken, repeated, deep and oversized JSON is refused with the reason and the file's name") {
  struct Case {
    std::string text, says;
  };
  const std::string deep = std::string(65, '[') + std::string(65, ']');
  for (const Case& c : {
           Case{"", "not valid JSON"},
           Case{"{", "not valid JSON"},
           Case{"{} x", "not valid JSON"},
           Case{"{'a':1}", "not valid JSON"},
           Case{"[NaN]", "not valid JSON"},
           Case{"\"\xff\"", "not valid JSON"},
           Case{R"({"a":1,"a":2})", "\"a\" stands there twice"},
           Case{R"([{"x":{"k":1,"j":2,"k":3}}])", "\"k\" stands there twice"},
           Case{deep, "nested deeper than 64"},
       }) {
    CAPTURE(c.text);
    const std::string message =
        message_of(ErrorCode::corrupt_checkpoint, [&] { parse_json(c.text, "the/file.json"); });
    CHECK(contains(message, "the/file.json"));
    CHECK(contains(message, c.says));
  }
  CHECK_NOTHROW(parse_json(deep.substr(1, 128), "test"));
  CHECK(contains(message_of(ErrorCode::corrupt_checkpoint,
                            [] { parse_json("[1,2,3]", "test", {.max_bytes = 6}); }),
                 "more than the limit of 6"));
}

TEST_CASE("a value is described in words short enough for a message") {
  CHECK(describe_json(Json("x")) == "the string \"x\"");
  CHECK(describe_json(Json(3)) == "the number 3");
  CHECK(describe_json(Json::array()) == "an array");
  CHECK(describe_json(Json(std::string(5000, 'y'))).size() < 80);
}

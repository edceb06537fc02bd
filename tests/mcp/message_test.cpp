#include "mcp/message.h"

#include "tests/mcp/support.h"

using namespace gpumcp::mcp;
using namespace gpumcp::mcp::test;

TEST_CASE("ids keep their type and value, and strings their meaning") {
  struct Case {
    const char *in, *kept;
  };
  for (const Case& c :
       {Case{"0", "0"}, Case{"-7", "-7"}, Case{"4294967297", "4294967297"},
        Case{"9223372036854775807", "9223372036854775807"}, Case{"\"\"", "\"\""},
        Case{"\"a\"", "\"a\""}, Case{"\"7\"", "\"7\""}, Case{R"("\u0061\/")", "\"a/\""},
        Case{R"("\n")", R"("\n")"}, Case{"\"\xC3\xA9\"", "\"\xC3\xA9\""}}) {
    CAPTURE(c.in);
    auto id = parse_request_id(c.in);
    REQUIRE(id);
    CHECK(id->json == c.kept);
  }
  CHECK(parse_request_id("1")->json != parse_request_id("\"1\"")->json);
  CHECK(parse_request_id("\"" + std::string(254, 'x') + "\""));
}

TEST_CASE("ids that no peer may use are refused") {
  for (const std::string& id :
       {std::string("1.5"), std::string("1.0"), std::string("1e3"), std::string("null"),
        std::string("true"), std::string("{}"), std::string("[1]"),
        std::string("9223372036854775808"), "\"" + std::string(255, 'x') + "\""}) {
    CAPTURE(id);
    auto parsed = parse_request_id(id);
    REQUIRE_FALSE(parsed);
    CHECK(parsed.error().code == ErrorCode::invalid_request);
    if (id == "null") continue;
    auto message = parse_message(R"({"jsonrpc":"2.0","method":"m","id":)" + id + "}");
    REQUIRE_FALSE(message);
    CHECK(message.error().code == ErrorCode::invalid_request);
  }
}

TEST_CASE("each kind of message is told from the others") {
  using Kind = Message::Kind;
  CHECK(parse_message(R"({"jsonrpc":"2.0","id":1,"method":"m"})")->kind() == Kind::request);
  CHECK(parse_message(R"({"jsonrpc":"2.0","method":"m"})")->kind() == Kind::notification);
  CHECK(parse_message(R"({"jsonrpc":"2.0","id":1,"result":{}})")->kind() == Kind::result);
  CHECK(parse_message(R"({"jsonrpc":"2.0","id":1,"error":{"code":1,"message":""}})")->kind() ==
        Kind::error);
  const auto nameless =
      parse_message(R"({"jsonrpc":"2.0","id":null,"error":{"code":1,"message":""}})");
  REQUIRE(nameless);
  CHECK(nameless->id().empty());
  CHECK(parse_message(R"({"jsonrpc":"2.0","error":{"code":1,"message":""}})")->kind() ==
        Kind::error);
}

TEST_CASE("what is JSON but no message is refused, and the id is kept where it can be read") {
  struct Case {
    const char* text;
    ErrorCode code;
    const char* id;
  };
  for (const Case& c : {
           Case{"[]", ErrorCode::invalid_request, ""},
           Case{R"([{"jsonrpc":"2.0","id":1,"method":"ping"}])", ErrorCode::invalid_request, ""},
           Case{"1", ErrorCode::invalid_request, ""},
           Case{"\"x\"", ErrorCode::invalid_request, ""},
           Case{"null", ErrorCode::invalid_request, ""},
           Case{"{}", ErrorCode::invalid_request, ""},
           Case{R"({"id":1,"method":"m"})", ErrorCode::invalid_request, "1"},
           Case{R"({"jsonrpc":"1.0","id":"a","method":"m"})", ErrorCode::invalid_request, "\"a\""},
           Case{R"({"jsonrpc":2.0,"id":1,"method":"m"})", ErrorCode::invalid_request, "1"},
           Case{R"({"method":5,"jsonrpc":"2.0","id":3})", ErrorCode::invalid_request, "3"},
           Case{R"({"jsonrpc":"2.0","id":3,"method":"m","params":[1]})", ErrorCode::invalid_params,
                "3"},
           Case{R"({"jsonrpc":"2.0","id":3,"method":"m","params":null})", ErrorCode::invalid_params,
                "3"},
           Case{R"({"jsonrpc":"2.0","id":null,"method":"m"})", ErrorCode::invalid_request, ""},
           Case{R"({"jsonrpc":"2.0","id":1})", ErrorCode::invalid_request, "1"},
           Case{R"({"jsonrpc":"2.0","id":1,"result":{},"error":{}})", ErrorCode::invalid_request,
                "1"},
           Case{R"({"jsonrpc":"2.0","id":1,"result":5})", ErrorCode::invalid_request, "1"},
           Case{R"({"jsonrpc":"2.0","id":1,"error":"no"})", ErrorCode::invalid_request, "1"},
           Case{R"({"jsonrpc":"2.0","result":{}})", ErrorCode::invalid_request, ""},
           Case{R"({"jsonrpc":"2.0","id":1,"method":"m","method":"n"})", ErrorCode::parse_error,
                ""},
           Case{R"({"jsonrpc":"2.0","id":1,"method":"m")", ErrorCode::parse_error, ""},
       }) {
    CAPTURE(c.text);
    RequestId id;
    auto message = parse_message(c.text, &id);
    REQUIRE_FALSE(message);
    CHECK(message.error().code == c.code);
    CHECK(id.json == c.id);
  }
}

TEST_CASE("params, result and error are the peer's own bytes") {
  const auto m = parse_message(
      R"(  {"params" : { "b" : 1.50 , "a":"\u0061" } ,"method":"a\u002fb","jsonrpc":"2.0","id":1} )");
  REQUIRE(m);
  CHECK(m->params() == R"({ "b" : 1.50 , "a":"\u0061" })");
  CHECK(m->method() == "a/b");
  const auto r = parse_message(R"({"jsonrpc":"2.0","result":{ "x":[ 1 ] },"id":1})");
  REQUIRE(r);
  CHECK(r->result() == R"({ "x":[ 1 ] })");
  const Message copy = *r;  // spans, not pointers
  CHECK(copy.result() == R"({ "x":[ 1 ] })");
}

TEST_CASE("messages that are made are messages that parse") {
  const RequestId id{"\"a\""};
  CHECK(parse_message(make_request(id, "x\"y", R"({"k":1})"))->method() == "x\"y");
  CHECK(parse_message(make_request(id, "m", ""))->params().empty());
  CHECK(parse_message(make_notification("n", "{}"))->kind() == Message::Kind::notification);
  CHECK(parse_message(make_result(id, "{}"))->id() == id);
  const auto error =
      parse_message(make_error(id, {ErrorCode::invalid_params, "bad \"x\"", R"({"uri":"u"})"}));
  REQUIRE(error);
  const Error parts = parse_error_object(error->error());
  CHECK(parts.code == ErrorCode::invalid_params);
  CHECK(parts.message == "bad \"x\"");
  CHECK(parts.data == R"({"uri":"u"})");
  CHECK_FALSE(contains(make_error({}, {}), "\"id\""));
  CHECK(contains(make_error({}, {}, true), "\"id\":null"));
}

TEST_CASE("a peer's error code never passes for a local one") {
  for (int code = 1; code <= 4; ++code)
    CHECK(parse_error_object(R"({"code":)" + std::to_string(code) + R"(,"message":"x"})").code ==
          ErrorCode::internal_error);
  CHECK(static_cast<int>(parse_error_object(R"({"code":404,"message":"x"})").code) == 404);
  CHECK(parse_error_object(R"({"code":4294967297,"message":"x"})").code ==
        ErrorCode::internal_error);
  CHECK(parse_error_object("{}").code == ErrorCode::internal_error);
  CHECK_FALSE(parse_error_object("{}").message.empty());
}

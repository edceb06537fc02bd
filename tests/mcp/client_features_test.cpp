// What a server asks of its client: wire shapes of each version, capabilities, answers checked.
#include "mcp/client_features.h"

#include <doctest/doctest.h>

namespace gpumcp::mcp {
namespace {

const Json kSchema =
    Json::parse(R"({"type":"object","properties":{"name":{"type":"string"}},"required":["name"]})");

ClientCapabilities capabilities(const char* json) { return ClientCapabilities(Json::parse(json)); }

TEST_CASE("elicitation {} means forms only") {
  CHECK(capabilities(R"({"elicitation":{}})").elicitation_form());
  CHECK_FALSE(capabilities(R"({"elicitation":{}})").elicitation_url());
  CHECK_FALSE(capabilities(R"({"elicitation":{"url":{}}})").elicitation_form());
  CHECK(capabilities(R"({"elicitation":{"url":{}}})").elicitation_url());
  CHECK_FALSE(capabilities(R"({"elicitation":true})").elicitation_form());
  CHECK_FALSE(capabilities("{}").roots());
  CHECK(capabilities(R"({"roots":{"listChanged":true}})").roots());
}

TEST_CASE("a missing capability is named as a ClientCapabilities object") {
  const auto none = capabilities("{}");
  CHECK(missing_capability(ElicitRequest{"?", kSchema}, none).dump() == R"({"elicitation":{}})");
  CHECK(missing_capability(ElicitRequest{.message = "?", .url = "https://a"},
                           capabilities(R"({"elicitation":{}})"))
            .dump() == R"({"elicitation":{"url":{}}})");
  CHECK(missing_capability(CreateMessageRequest{}, none).dump() == R"({"sampling":{}})");
  CreateMessageRequest with_tools{.messages = {}, .tools = Json::array()};
  CHECK(missing_capability(with_tools, capabilities(R"({"sampling":{}})")).dump() ==
        R"({"sampling":{"tools":{}}})");
  CHECK(missing_capability(ListRootsRequest{}, none).dump() == R"({"roots":{}})");
  CHECK(missing_capability(ListRootsRequest{}, capabilities(R"({"roots":{}})")).is_null());
}

TEST_CASE("a request is written for its version and read back") {
  const InputRequest form = ElicitRequest{"Who?", kSchema};
  CHECK(params_to_json(form).at("mode") == "form");
  CHECK_FALSE(params_to_json(form, "2025-06-18").contains("mode"));
  const InputRequest url = ElicitRequest{.message = "Go", .url = "https://a", .elicitationId = "7"};
  CHECK_FALSE(params_to_json(url).contains("elicitationId"));
  CHECK(params_to_json(url, "2025-11-25").at("elicitationId") == "7");
  const InputRequest sampling =
      CreateMessageRequest{.messages = {{"user", {{TextContent{"Capital of France?"}}}}},
                           .maxTokens = 100,
                           .temperature = 0.5};
  for (const InputRequest& request : {form, url, sampling, InputRequest(ListRootsRequest{})}) {
    auto back = input_request_from_json(method_of(request), params_to_json(request));
    REQUIRE(back);
    CHECK(params_to_json(*back) == params_to_json(request));
  }
  CHECK(params_to_json(sampling).at("messages")[0].at("content").at("text") ==
        "Capital of France?");
}

TEST_CASE("what a version does not have is written as it knows it, or cannot be asked") {
  const InputRequest titled = ElicitRequest{"Which?", Json::parse(R"({"type":"object","properties":{
    "pick":{"type":"string","title":"Pick","oneOf":[{"const":"a","title":"A"},{"const":"b","title":"B"}]}}})")};
  CHECK(params_to_json(titled, "2025-11-25")["requestedSchema"]["properties"]["pick"].contains(
      "oneOf"));
  CHECK(params_to_json(titled, "2025-06-18")["requestedSchema"]["properties"]["pick"].dump() ==
        R"({"type":"string","title":"Pick","enum":["a","b"],"enumNames":["A","B"]})");
  const InputRequest two = CreateMessageRequest{
      .messages = {{"user", {{TextContent{"x"}}, {AudioContent{"QQ==", "audio/wav"}}}}}};
  CHECK(params_to_json(two, "2025-11-25")["messages"][0]["content"].size() == 2);
  const Json old = params_to_json(two, "2024-11-05")["messages"];
  REQUIRE(old.size() == 2);
  CHECK(old[0]["content"]["text"] == "x");
  CHECK(old[1]["content"]["type"] == "text");  // no audio there
  const auto all = capabilities(R"({"elicitation":{"form":{},"url":{}},"sampling":{"tools":{}}})");
  CHECK(missing_capability(titled, all, "2025-06-18").is_null());
  CHECK(missing_capability(titled, all, "2025-03-26").dump() == R"({"elicitation":{}})");
  const InputRequest url = ElicitRequest{.message = "Go", .url = "https://a"};
  CHECK(missing_capability(url, all, "2025-11-25").is_null());
  CHECK(missing_capability(url, all, "2025-06-18").dump() == R"({"elicitation":{"url":{}}})");
  const InputRequest tools = CreateMessageRequest{.messages = {}, .tools = Json::array()};
  CHECK(missing_capability(tools, all, "2025-06-18").dump() == R"({"sampling":{"tools":{}}})");
}

TEST_CASE("an answer is read, or the error names what is wrong") {
  const InputRequest form = ElicitRequest{"Who?", kSchema};
  auto read = [&](const char* json) { return input_response_from_json(form, Json::parse(json)); };
  auto ann = read(R"({"action":"accept","content":{"name":"Ann"}})");
  REQUIRE(ann);
  CHECK(std::get<ElicitResult>(*ann).content.at("name") == "Ann");
  CHECK(to_json(*ann).dump() == R"({"action":"accept","content":{"name":"Ann"}})");
  CHECK(read(R"({"action":"decline"})"));
  for (const char* bad : {R"({})", R"({"action":"yes"})", R"({"action":"accept"})",
                          R"({"action":"accept","content":[]})",
                          R"({"action":"accept","content":{"nom":"Ann"}})", R"([])"}) {
    CAPTURE(bad);
    CHECK_FALSE(read(bad));
  }
  CHECK(read(R"({"action":"accept","content":{"nom":"Ann"}})").error().message ==
        "content.name is missing: give a string");
  auto said = input_response_from_json(
      CreateMessageRequest{},
      Json::parse(
          R"({"role":"assistant","model":"m","content":[{"type":"text","text":"Pa"},{"type":"text","text":"ris"}]})"));
  REQUIRE(said);
  CHECK(std::get<CreateMessageResult>(*said).text() == "Paris");
  CHECK_FALSE(input_response_from_json(ListRootsRequest{}, Json::parse(R"({"roots":[{}]})")));
}

TEST_CASE("an accepted form conforms to its schema, formats too; a declined one need not") {
  const InputRequest form = ElicitRequest{"Where?", Json::parse(R"({"type":"object","properties":{
    "mail":{"type":"string","format":"email"},"n":{"type":"integer","maximum":9},
    "pick":{"type":"array","items":{"enum":["a","b"]},"minItems":1}}})")};
  auto why = [&](const char* content) {
    auto read =
        input_response_from_json(form, {{"action", "accept"}, {"content", Json::parse(content)}});
    return read ? std::string() : read.error().message;
  };
  CHECK(why(R"({"mail":"ann@example.com","n":9,"pick":["b"]})").empty());
  CHECK(why(R"({"mail":"ann"})").starts_with("content.mail: expected an e-mail address"));
  CHECK(why(R"({"n":10})") == "content.n: expected a number of at most 9, got the number 10");
  CHECK(why(R"({"pick":["c"]})").starts_with("content.pick[0]: expected one of \"a\", \"b\""));
  CHECK(input_response_from_json(form, Json::parse(R"({"action":"decline","content":{"n":10}})")));
}

TEST_CASE("a form whose schema does not compile cannot be asked") {
  CHECK(check_request(ElicitRequest{"Who?", kSchema}));
  CHECK(check_request(ElicitRequest{.message = "Go", .url = "https://a"}));
  CHECK(check_request(CreateMessageRequest{}));
  auto refused = check_request(ElicitRequest{"Who?", Json::parse(R"({"required":"name"})")});
  REQUIRE_FALSE(refused);
  CHECK(refused.error().message ==
        "requestedSchema: schema #/required: must be an array of strings");
  CHECK_FALSE(check_request(ElicitRequest{"Who?"}));
}

}  // namespace
}  // namespace gpumcp::mcp

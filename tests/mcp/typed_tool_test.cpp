// The typed door and the schemas behind it: what a function's types become, and what a wrong
// argument is told.
#include "mcp/typed_tool.h"

#include "tests/mcp/support.h"

using namespace gpumcp::mcp;
using namespace gpumcp::mcp::test;

namespace shop {

enum class Mode { fast, exact };
GPUMCP_DESCRIBE_ENUM(Mode, fast, exact)

struct Point {
  double x = 0, y = 0;
};
GPUMCP_DESCRIBE_DOC(Point, (x, "To the right."), (y, "Up."))

struct Order {
  std::string name;
  std::vector<Point> points;
  std::optional<int> count;
  std::map<std::string, Mode> modes;
};
GPUMCP_DESCRIBE(Order, name, points, count, modes)

}  // namespace shop

namespace {

class NoContext final : public Context {
 public:
  void progress(double, std::optional<double>, std::string_view) override {}
  std::stop_token stop_token() const override { return {}; }
  void log(LogLevel, const Json&, std::string_view) override {}
  void set_meta(std::string_view, Json) override {}
  const CallInfo& call() const override { return info_; }
  const ClientCapabilities& client_capabilities() const override { return capabilities_; }
  std::map<std::string, InputResponse> ask(std::map<std::string, InputRequest>) override {
    throw MissingCapability(Json::object());
  }
  Json& state() override { return state_; }
  void release_stream(std::chrono::milliseconds) override {}
  bool start_task(TaskOptions) override { return false; }

 private:
  ClientCapabilities capabilities_;
  Json state_;
  CallInfo info_{.tool = "named"};
};

using Made = std::pair<Tool, ToolHandler>;

template <class F, class... Args>
Made make(F function, Args... args) {
  return make_typed_tool(Tool{.name = "t", .description = "d"}, std::move(function),
                         std::vector<Arg>{Arg(args)...});
}

std::string text_of(const CallToolResult& result) {
  return result.content.empty() ? "" : std::get<TextContent>(result.content[0].value).text;
}

std::string run(const Made& made, std::string_view arguments) {
  NoContext context;
  return text_of(made.second(json(arguments), context));
}

std::string refused(const Made& made, std::string_view arguments) {
  NoContext context;
  try {
    made.second(json(arguments), context);
  } catch (const DecodeError& e) {
    return e.what();
  }
  return "(accepted)";
}

template <class T>
std::string schema() {
  return to_text(JsonType<T>::schema());
}

template <class T>
T decode(std::string_view text) {
  return JsonType<T>::decode(json(text), {nullptr, "v"});
}

template <class T>
std::string decode_error(std::string_view text) {
  try {
    decode<T>(text);
  } catch (const DecodeError& e) {
    return e.what();
  }
  return "(accepted)";
}

}  // namespace

TEST_CASE("each type has its JSON Schema") {
  CHECK(schema<bool>() == R"({"type":"boolean"})");
  CHECK(schema<int>() == R"({"type":"integer"})");
  CHECK(schema<uint64_t>() == R"({"type":"integer","minimum":0})");
  CHECK(schema<float>() == R"({"type":"number"})");
  CHECK(schema<std::string>() == R"({"type":"string"})");
  CHECK(schema<std::optional<int>>() == R"({"type":"integer"})");
  CHECK(schema<std::vector<std::vector<float>>>() ==
        R"({"type":"array","items":{"type":"array","items":{"type":"number"}}})");
  CHECK(schema<std::map<std::string, int>>() ==
        R"({"type":"object","additionalProperties":{"type":"integer"}})");
  CHECK(schema<shop::Mode>() == R"({"type":"string","enum":["fast","exact"]})");
  CHECK(schema<Json>() == "{}");
  CHECK(schema<shop::Point>() ==
        R"({"type":"object","properties":{"x":{"type":"number","description":"To the right."},)"
        R"("y":{"type":"number","description":"Up."}},"required":["x","y"]})");
  const Json order = JsonType<shop::Order>::schema();
  CHECK(to_text(order["required"]) == R"(["name","points","modes"])");
  CHECK(order["properties"]["points"]["items"] == JsonType<shop::Point>::schema());
}

TEST_CASE("whole numbers count as integers however they are written, others do not") {
  CHECK(decode<int>("3.0") == 3);
  CHECK(decode<int>("3e2") == 300);
  CHECK(decode<uint64_t>("18446744073709551615") == 18446744073709551615u);
  CHECK(decode<int64_t>("-9223372036854775808") == std::numeric_limits<int64_t>::min());
  CHECK(decode<double>("7") == 7.0);
  CHECK(decode_error<int>("3.5") == "v: expected an integer, got the number 3.5");
  CHECK(decode_error<int>("2147483648") ==
        "v: expected an integer from -2147483648 to 2147483647, got the number 2147483648");
  CHECK(decode_error<int>("-2147483649") ==
        "v: expected an integer from -2147483648 to 2147483647, got the number -2147483649");
  CHECK(decode_error<int>("1e30") ==
        "v: expected an integer from -2147483648 to 2147483647, got the number 1e+30");
  CHECK(decode_error<uint8_t>("256") == "v: expected an integer from 0 to 255, got the number 256");
  CHECK(decode_error<uint64_t>("-1") ==
        "v: expected an integer from 0 to 18446744073709551615, got the number -1");
  CHECK(decode_error<int64_t>("9223372036854775808") ==
        "v: expected an integer from -9223372036854775808 to 9223372036854775807, got the number "
        "9223372036854775808");
}

TEST_CASE("a number beyond float does not become infinity") {
  CHECK(decode<float>("3e38") == 3e38f);
  CHECK(decode_error<float>("1e39") ==
        "v: expected a number that fits a float, got the number 1e+39");
}

TEST_CASE("a wrong type is told what was expected and what came") {
  CHECK(decode_error<bool>("1") == "v: expected true or false, got the number 1");
  CHECK(decode_error<int>("\"3\"") == "v: expected an integer, got the string \"3\"");
  CHECK(decode_error<int>("true") == "v: expected an integer, got true");
  CHECK(decode_error<double>("null") == "v: expected a number, got null");
  CHECK(decode_error<std::string>("[1,2]") == "v: expected a string, got an array of 2 items");
  CHECK(decode_error<std::vector<int>>("{\"a\":1}") ==
        "v: expected an array, got an object with 1 members");
  CHECK(decode_error<std::vector<int>>("[1,\"x\"]") ==
        "v[1]: expected an integer, got the string \"x\"");
  CHECK(decode_error<std::map<std::string, int>>(R"({"k":[]})") ==
        "v.k: expected an integer, got an array of 0 items");
  CHECK(decode_error<shop::Mode>("\"slow\"") ==
        "v: expected one of \"fast\", \"exact\", got the string \"slow\"");
  CHECK(decode_error<int>("\"" + std::string(1000, 'a') + "\"") ==
        "v: expected an integer, got a string of 1000 bytes");
}

TEST_CASE("structs nest, and errors inside name the whole path") {
  const auto order =
      decode<shop::Order>(R"({"name":"n","points":[{"x":1,"y":2}],"modes":{"a":"exact"}})");
  CHECK(order.points[0].y == 2);
  CHECK_FALSE(order.count);
  CHECK(order.modes.at("a") == shop::Mode::exact);
  CHECK(decode_error<shop::Order>(
            R"({"name":"n","points":[{"x":1,"y":2},{"x":1,"y":"2"}],"modes":{}})") ==
        "v.points[1].y: expected a number, got the string \"2\"");
  CHECK(decode_error<shop::Order>(R"({"name":"n","points":[{"x":1}],"modes":{}})") ==
        "v.points[0].y is missing");
  CHECK(decode_error<shop::Order>(R"({"name":"n","points":[],"modes":{},"cuont":1})") ==
        "v.cuont is unknown; did you mean \"count\"?");
  CHECK(decode_error<shop::Order>(R"({"name":"n","points":[],"modes":{},"zzzzzzz":1})") ==
        "v.zzzzzzz is unknown; known: name, points, count, modes");
  std::string out;
  JsonType<shop::Order>::append(out, order);
  CHECK(out == R"({"name":"n","points":[{"x":1,"y":2}],"modes":{"a":"exact"}})");
}

TEST_CASE("parameters become the input schema, with descriptions, defaults and bounds") {
  const auto made =
      make([](const std::string&, int, std::optional<double>, shop::Mode) { return 0; },
           arg("text", "The text."), arg("k", "How many.", 10).minimum(1).maximum(100),
           arg("scale"), arg("mode", "", shop::Mode::exact));
  const Json& in = made.first.inputSchema;
  CHECK(in["type"] == "object");
  CHECK(in["additionalProperties"] == false);
  CHECK(to_text(in["required"]) == R"(["text"])");
  CHECK(in["properties"]["text"] == Json{{"type", "string"}, {"description", "The text."}});
  CHECK(in["properties"]["k"]["default"] == 10);
  CHECK(in["properties"]["k"]["minimum"] == 1);
  CHECK(in["properties"]["k"]["maximum"] == 100);
  CHECK(in["properties"]["mode"]["default"] == "exact");
  CHECK_FALSE(in["properties"]["scale"].contains("default"));
}

TEST_CASE("arguments reach the function by name, defaults and absences included") {
  const auto made = make(
      [](const std::string& s, int k, std::optional<double> d, shop::Mode m) {
        return s + "/" + std::to_string(k) + "/" + (d ? "d" : "-") + "/" +
               (m == shop::Mode::fast ? "fast" : "exact");
      },
      arg("s"), arg("k", "", 10), arg("d"), arg("m", "", shop::Mode::exact));
  CHECK(run(made, R"({"s":"a"})") == R"({"result":"a/10/-/exact"})");
  CHECK(run(made, R"({"m":"fast","d":null,"k":3.0,"s":"b"})") == R"({"result":"b/3/-/fast"})");
  CHECK(run(made, R"({"s":"c","d":1})") == R"({"result":"c/10/d/exact"})");
  CHECK(refused(made, "{}") == "arguments.s is missing");
  CHECK(refused(made, R"({"s":null})") == "arguments.s: expected a string, got null");
  CHECK(refused(made, R"({"s":"a","k":null})") == "arguments.k: expected an integer, got null");
  CHECK(refused(made, R"({"s":"a","kk":1})") == "arguments.kk is unknown; did you mean \"k\"?");
  CHECK(refused(made, R"({"s":"a","temperature":1})") ==
        "arguments.temperature is unknown; known: s, k, d, m");
}

TEST_CASE("bounds are checked before the function runs") {
  bool ran = false;
  const auto made = make(
      [&](int, const std::string&, const std::vector<int>&, const std::string&) { ran = true; },
      arg("n", "", 5).minimum(1).maximum(9), arg("s", "", "ab").min_length(2).max_length(3),
      arg("v", "", std::vector<int>{1}).min_items(1).max_items(2),
      arg("c", "", "x").one_of({"x", "y"}));
  CHECK(refused(made, R"({"n":0})") == "arguments.n: expected 1 to 9, got the number 0");
  CHECK(contains(refused(made, R"({"n":10})"), "got the number 10"));
  CHECK(refused(made, R"({"s":"é"})") == "arguments.s has 1 characters; at least 2 are needed");
  CHECK(refused(made, R"({"s":"abcd"})") == "arguments.s has 4 characters; at most 3 are allowed");
  CHECK(refused(made, R"({"v":[]})") == "arguments.v has 0 items; at least 1 are needed");
  CHECK(refused(made, R"({"v":[1,2,3]})") ==
        "arguments.v has 3 items; at most 2 are allowed: split the call");
  CHECK(refused(made, R"({"c":"z"})") ==
        "arguments.c: expected one of [\"x\",\"y\"], got the string \"z\"");
  CHECK_FALSE(ran);
  CHECK(run(made, R"({"n":9,"s":"ééé","v":[1,2],"c":"y"})") == "done");
  CHECK(ran);
}

TEST_CASE("a Context parameter may stand anywhere and takes no argument") {
  const auto first =
      make([](Context& c, int a) { return c.call().tool + std::to_string(a); }, arg("a"));
  const auto middle =
      make([](int a, Context& c, int b) { return c.call().tool + std::to_string(a * 10 + b); },
           arg("a"), arg("b"));
  const auto alone = make([](Context& c) { return c.call().tool; });
  CHECK(run(first, R"({"a":1})") == R"({"result":"named1"})");
  CHECK(run(middle, R"({"b":2,"a":1})") == R"({"result":"named12"})");
  CHECK(run(alone, "{}") == R"({"result":"named"})");
  CHECK(refused(alone, R"({"a":1})") == "arguments.a is unknown; nothing is taken here");
  CHECK_FALSE(middle.first.inputSchema["properties"].contains("context"));
}

TEST_CASE("a function of one described struct takes its fields as arguments") {
  const auto made = make([](const shop::Point& p, Context&) { return p.x + p.y; });
  CHECK(made.first.inputSchema["properties"].contains("x"));
  CHECK(run(made, R"({"x":1,"y":2.5})") == R"({"result":3.5})");
  CHECK(refused(made, R"({"x":1})") == "arguments.y is missing");
}

TEST_CASE("results of each kind become structured content, its schema and the same text") {
  NoContext context;
  auto check = [&](const Made& made, const char* text, const char* output) {
    const CallToolResult result = made.second(Json::object(), context);
    CHECK(text_of(result) == text);
    CHECK(result.structuredContent == text);
    CHECK(to_text(made.first.outputSchema) == output);
  };
  check(make([] { return 3; }), R"({"result":3})",
        R"({"type":"object","properties":{"result":{"type":"integer"}},"required":["result"]})");
  check(
      make([] { return std::vector<float>{0.5f}; }), R"({"result":[0.5]})",
      R"({"type":"object","properties":{"result":{"type":"array","items":{"type":"number"}}},"required":["result"]})");
  check(make([] { return std::optional<int>(); }), R"({"result":null})",
        R"({"type":"object","properties":{"result":{"type":["integer","null"]}}})");
  check(make([] { return std::map<std::string, int>{{"b", 2}, {"a", 1}}; }), R"({"a":1,"b":2})",
        R"({"type":"object","additionalProperties":{"type":"integer"}})");
  check(make([] { return shop::Point{1, 2}; }), R"({"x":1,"y":2})",
        to_text(JsonType<shop::Point>::schema()).c_str());
  check(make([] { return Json{{"k", 1}}; }), R"({"k":1})", "null");
  check(make([] { return Json::array({1}); }), R"({"result":[1]})", "null");

  const auto nothing = make([] {});
  CHECK(run(nothing, "{}") == "done");
  CHECK(nothing.first.outputSchema.is_null());
  const auto whole = make([] { return CallToolResult::error("no"); });
  CHECK(whole.second(Json::object(), context).isError);
  const auto linked = make([] { return WithContent<int>{3, {{TextContent{"more"}}}}; });
  const CallToolResult result = linked.second(Json::object(), context);
  CHECK(result.structuredContent == R"({"result":3})");
  CHECK(result.content.size() == 2);
  CHECK(linked.first.outputSchema["required"][0] == "result");
}

TEST_CASE("a result that JSON cannot hold throws instead of going out broken") {
  NoContext context;
  CHECK_THROWS_AS(
      make([] { return std::numeric_limits<double>::quiet_NaN(); }).second(Json::object(), context),
      std::domain_error);
  CHECK_THROWS_AS(make([] { return static_cast<shop::Mode>(7); }).second(Json::object(), context),
                  std::domain_error);
  CHECK(text_of(make([] { return std::string("\xFF"); }).second(Json::object(), context)) ==
        "{\"result\":\"\xEF\xBF\xBD\"}");
}

TEST_CASE("tools that no host would take are refused at registration") {
  Server server;
  auto why = [&](auto add) -> std::string {
    try {
      add();
    } catch (const std::invalid_argument& e) {
      return e.what();
    }
    return "(accepted)";
  };
  auto f = [] { return 1; };
  for (const char* name : {"", "a b", "a.b", "a/b", "é"}) {
    CAPTURE(name);
    CHECK(contains(why([&] { server.expose(name, "d", f); }), "1 to 64 characters of A-Z"));
  }
  CHECK(contains(why([&] { server.expose(std::string(65, 'a'), "d", f); }), "1 to 64"));
  CHECK(why([&] { server.expose(std::string(64, 'a'), "d", f); }) == "(accepted)");
  CHECK(contains(why([&] { server.expose("a", "", f); }), "a description is needed"));
  CHECK(why([&] { server.expose("a", "d", f); }) == "(accepted)");
  CHECK(contains(why([&] { server.expose("a", "d", f); }), "tool \"a\" is added twice"));
  CHECK(contains(why([&] { server.expose("b", "d", [](int, int) { return 1; }, arg("x")); }),
                 "the function has 2 parameters, but 1 arg() were given"));
  CHECK(contains(why([&] { server.expose("b", "d", f, arg("x")); }), "0 parameters, but 1"));
  CHECK(contains(why([&] { server.expose("b", "d", [](int) { return 1; }); }),
                 "needs an arg(\"name\")"));
  CHECK(contains(why([&] {
                   server.add_tool(
                       {.name = "raw", .description = "d", .inputSchema = Json::array()}, {});
                 }),
                 "root must be"));
  CHECK(contains(why([&] {
                   server.add_tool({.name = "raw",
                                    .description = "d",
                                    .inputSchema = {{"type", "object"}, {"anyOf", Json::array()}}},
                                   {});
                 }),
                 "anyOf"));
}

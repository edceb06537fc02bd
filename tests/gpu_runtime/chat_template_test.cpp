// Chat templates against transformers: whole conversations with real models' templates, the
// language piece by piece, and what a hostile template may not do.
#include "gpu_runtime/template/chat_template.h"

#include <doctest/doctest.h>

#include <chrono>

#include "minilm.h"
#include "support.h"

using namespace gpumcp::gpu_runtime;

namespace {

std::tm golden_time() {  // noon of 2025-03-09, a Sunday
  std::tm time{};
  time.tm_year = 125;
  time.tm_mon = 2;
  time.tm_mday = 9;
  time.tm_hour = 12;
  time.tm_wday = 0;
  time.tm_yday = 67;
  return time;
}

std::filesystem::path templates() { return golden_folder() / "chat_templates"; }

std::vector<OrderedJson> lines(const std::string& name) {
  std::vector<OrderedJson> out;
  std::ifstream file(templates() / name);
  REQUIRE(file.good());
  for (std::string line; std::getline(file, line);) out.push_back(OrderedJson::parse(line));
  return out;
}

const OrderedJson kMessages = OrderedJson::parse(R"([{"role": "user", "content": "hi"}])");

std::string render(const std::string& text, const OrderedJson& messages = kMessages,
                   const ChatTemplateOptions& options = {}) {
  return ChatTemplate::from_text(text).render(messages, options);
}
std::string refused(const std::string& text, const OrderedJson& messages = kMessages) {
  return message_of(ErrorCode::invalid_argument, [&] { render(text, messages); });
}
std::string unreadable(const std::string& text) {
  return message_of(ErrorCode::corrupt_checkpoint, [&] { ChatTemplate::from_text(text); });
}

}  // namespace

TEST_CASE("conversations render as transformers renders them, template by template") {
  const OrderedJson tokens = OrderedJson::parse(read_text_file(templates() / "tokens.json"));
  std::map<std::string, ChatTemplate> loaded;
  for (const auto& [name, special] : tokens.items()) {
    loaded.emplace(
        name, ChatTemplate::from_text(read_text_file(templates() / (name + ".jinja")),
                                      special.get<std::map<std::string, std::string>>(), name));
  }
  std::map<std::string, int> rendered;
  for (const OrderedJson& line : lines("cases.jsonl")) {
    const auto name = line.at("template").get<std::string>();
    CAPTURE(name);
    CAPTURE(line.dump());
    ChatTemplateOptions options;
    options.add_generation_prompt = line.at("add_generation_prompt");
    options.continue_final_message = line.at("continue_final_message");
    options.tools = line.at("tools");
    options.variables = line.at("variables");
    options.now = golden_time();
    if (line.contains("error")) {
      CHECK_THROWS_AS(loaded.at(name).render(line.at("messages"), options), Error);
      continue;
    }
    CHECK(loaded.at(name).render(line.at("messages"), options) == line.at("text"));
    ++rendered[name];
  }
  CHECK(rendered.size() == tokens.size());
  for (const auto& [name, count] : rendered) CHECK_MESSAGE(count >= 7, name);
}

TEST_CASE("the language means what Jinja means by it") {
  OrderedJson data;
  for (const OrderedJson& line : lines("language.jsonl")) {
    if (line.contains("data")) {
      data = line.at("data");
      continue;
    }
    const auto source = line.at("source").get<std::string>();
    CAPTURE(source);
    ChatTemplateOptions options{.add_generation_prompt = true};
    options.now = golden_time();
    auto run = [&] { return ChatTemplate::from_text(source).render(data, options); };
    if (line.contains("error")) {
      CHECK_THROWS_AS(run(), Error);
    } else {
      std::string got;
      CHECK_NOTHROW(got = run());
      CHECK(got == line.at("text").get<std::string>());
    }
  }
}

TEST_CASE("errors say the line, and what is wrong there") {
  CHECK(contains(refused("a\n\n{{ messages[0].nope.x }}"),
                 "line 3: 'dict object' has no attribute 'nope'"));
  CHECK(contains(refused("{% if true %}\n{{ raise_exception('roles must alternate') }}{% endif %}"),
                 "line 2: roles must alternate"));
  CHECK(contains(refused("{{ 'a' | shout }}"), "line 1: no filter named 'shout'"));
  CHECK(contains(refused("{{ 'a' + 1 }}"), "unsupported operand type(s) for +: 'str' and 'int'"));
  CHECK(contains(refused("\n{{ range(1, 2, 0) }}"), "line 2: range: step must not be zero"));
  CHECK(contains(unreadable("\n{% if x %}"), "the template ends where 'endif' is expected"));
  CHECK(contains(unreadable("x\n{% block a %}"),
                 "line 2: the tag 'block' is not supported in a chat template"));
  CHECK(contains(unreadable("{{ 99999999999999999999 }}"), "too large"));
  CHECK(contains(unreadable("\xff"), "byte 0 of the chat template is no UTF-8"));
  CHECK(contains(unreadable(std::string((1u << 20) + 1, 'x')), "bytes are too much"));
}

TEST_CASE("messages that are none are refused before the template sees them") {
  auto said = [](const char* json) { return refused("x", OrderedJson::parse(json)); };
  CHECK(contains(said("{}"), "the messages are no array"));
  CHECK(contains(said("[]"), "there are no messages"));
  CHECK(contains(said("[\"hi\"]"), "message 0 has no role"));
  CHECK(contains(said(R"([{"role": "user"}, {"content": "x"}])"), "message 1 has no role"));
  CHECK(contains(said(R"([{"role": 5}])"), "message 0 has no role"));
}

TEST_CASE("a template that would run on is stopped by its bounds") {
  for (const std::string text : {
           "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
           "{% for i in range(99999) %}{% for j in range(99999) %}{% set x = i * j %}{% endfor "
           "%}{% endfor %}",
           "{% set ns = namespace(x='ab') %}{% for i in range(99) %}{% set ns.x = ns.x ~ ns.x %}{% "
           "endfor %}",
           "{% set ns = namespace(x=[1]) %}{% for i in range(99) %}{% set ns.x = ns.x + ns.x %}{% "
           "endfor %}",
           "{{ 'x' * 99999999999 }}",
           "{{ [1] * 99999999 * 9999 }}",
           "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
           "{% macro f() %}{{ f() }}{{ f() }}{% endmacro %}{{ f() }}",
           "{% for i in range(9999) %}{{ range(99999) | join }}{% endfor %}",
           "{{ range(99999) | map('string') | sort | join(range(9999) | join) }}",
           "{% set ns = namespace(x=[]) %}{% for i in range(999) %}{% set ns.x = [ns.x] %}{% "
           "endfor %}",
           "{% set ns = namespace(x=[1]) %}{% for i in range(90) %}{% set ns.x = [ns.x, ns.x] %}{% "
           "endfor %}{{ ns.x }}",
           "{% set ns = namespace(x=[1]) %}{% for i in range(90) %}{% set ns.x = [ns.x, ns.x] %}{% "
           "endfor %}{{ ns.x == [ns.x[0], ns.x[0][:]] }}",
           "{% set ns = namespace(x=[1]) %}{% for i in range(90) %}{% set ns.x = {'a': ns.x, 'b': "
           "ns.x} %}{% endfor %}{{ ns.x | tojson }}",
           "{% set ns = namespace(f='x') %}{% for i in range(99999) %}{% set ns.f = [ns.f].copy "
           "%}{% endfor %}",
           "{% set ns = namespace(l=1) %}{% for i in range(99999) %}{% for j in [ns.l] %}{% set "
           "ns.l = loop %}{% endfor %}{% endfor %}",
           "{% for i in range(99999) %}{% macro m() %}{{ i }}{% endmacro %}{% for j in range(99) "
           "%}{% macro n() %}{% endmacro %}{% endfor %}{% endfor %}",
           "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
           "{{ 'a' | replace('', 'b' * 99999) | replace('', 'b' * 99999) }}",
           "{{ {'a': 1} | tojson(indent=64) }}{% for i in range(99999) %}{{ range(999) | list | "
           "tojson(indent=64) }}{% endfor %}",
           "{% for i in range(99999) %}{{ 'x' * 99999 }}{% endfor %}",
           "{{ 2 ** 63 }}",
           "{{ -9223372036854775807 - 2 }}",
           "{{ (-9223372036854775807 - 1) // -1 }}",
           "{{ 9223372036854775807 * 2 }}",
           "{{ range(0, 9223372036854775807) }}",
           "{{ [1, 2, 3] | batch(9999999999, 0) }}",
       }) {
    CAPTURE(text);
    CHECK_THROWS_AS(render(text), Error);
  }
}

TEST_CASE("what nests too deep is refused when it is read") {
  auto repeated = [](const std::string& text, int count) {
    std::string out;
    for (int i = 0; i < count; ++i) out += text;
    return out;
  };
  CHECK(contains(unreadable("{{ " + repeated("(", 5000) + "1" + repeated(")", 5000) + " }}"),
                 "nests more than"));
  CHECK(contains(unreadable("{{ " + repeated("-", 5000) + "1 }}"), "nests more than"));
  CHECK(contains(unreadable("{{ " + repeated("not ", 5000) + "1 }}"), "nests more than"));
  CHECK(contains(unreadable("{{ " + repeated("[", 5000) + repeated("]", 5000) + " }}"),
                 "nests more than"));
  CHECK(contains(unreadable("{{ 1" + repeated(" + 1", 5000) + " }}"), "operations deep"));
  CHECK(contains(unreadable("{{ x" + repeated(".x", 5000) + " }}"), "operations deep"));
  CHECK(contains(unreadable(repeated("{% if x %}", 5000)), "nests more than"));
  CHECK(render("{% if false %}" + repeated("{% elif false %}", 5000) + "{% else %}x{% endif %}") ==
        "x");
}

TEST_CASE("values that hold themselves are freed") {  // the sanitizer build looks for leaks
  CHECK(render("{% set ns = namespace() %}{% set ns.x = ns %}{% set ns.y = [ns] %}x") == "x");
  CHECK(render("{% macro f() %}{{ g }}{% endmacro %}{% set g = f %}x") == "x");
  CHECK(render("{% set ns = namespace() %}{% for i in [1] recursive %}{% set ns.l = loop %}"
               "{% set x = ns.l %}{% endfor %}x") == "x");
  CHECK(render("{% set ns = namespace() %}{% for i in range(2000) %}{% macro m() %}{{ m }}"
               "{% endmacro %}{% set ns.m = m %}{% set old = ns.m %}{% endfor %}x") == "x");
}

TEST_CASE("a prompt that goes on ends in the last message") {
  const OrderedJson chat = OrderedJson::parse(
      R"([{"role": "user", "content": "u"}, {"role": "assistant", "content": "The answer is "}])");
  const std::string text = "{% for m in messages %}<{{ m.role }}>{{ m.content }}</>{% endfor %}";
  CHECK(render(text, chat, {.continue_final_message = true}) ==
        "<user>u</><assistant>The answer is ");
  const std::string trims =
      "{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}</>{% endfor %}";
  CHECK(render(trims, chat, {.continue_final_message = true}) ==
        "<user>u</><assistant>The answer is");
  auto said = [&](const std::string& source, ChatTemplateOptions options) {
    options.continue_final_message = true;
    return message_of(ErrorCode::invalid_argument, [&] { render(source, chat, options); });
  };
  CHECK(contains(said("x", {}), "no place to go on from"));
  CHECK(contains(said(text, {.add_generation_prompt = true}), "give one of them"));
}

TEST_CASE("templates are found where models keep them") {
  const TemporaryFolder folder;
  auto rendered = [&](const ChatTemplateOptions& options = {}) {
    return ChatTemplate::from_pretrained(folder.path()).render(kMessages, options);
  };
  CHECK(contains(message_of(ErrorCode::unsupported, [&] { rendered(); }), "has no chat template"));
  folder.write("chat_template.json", R"({"chat_template": "older"})");
  CHECK(rendered() == "older");
  folder.write("tokenizer_config.json",
               R"({"bos_token": {"content": "<s>", "lstrip": false}, "eos_token": "</s>",
                   "pad_token": null, "chat_template": "{{ bos_token }}1{{ eos_token }}{{ pad_token }}"})");
  CHECK(rendered() == "<s>1</s>");
  const ChatTemplateOptions with_tools{.tools = OrderedJson::array()};
  folder.write("tokenizer_config.json",
               R"({"chat_template": [{"name": "default", "template": "plain"},
                                     {"name": "tool_use", "template": "tools"},
                                     {"name": "rag", "template": "{% never read"}]})");
  CHECK(rendered() == "plain");
  CHECK(rendered(with_tools) == "tools");
  folder.write("chat_template.jinja", "file\n");
  CHECK(rendered() == "file");
  folder.write("chat_template.jinja", "{{ broken");
  CHECK(contains(message_of(ErrorCode::corrupt_checkpoint, [&] { rendered(); }),
                 "chat_template.jinja: the chat template, line 1"));
}

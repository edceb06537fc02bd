#!/usr/bin/env python3
"""Writes cases.jsonl: what transformers renders with the templates beside this file, for many conversations.

usage: make.py        needs transformers 5 and jinja2 3.1; seconds, nothing is downloaded

NAME.jinja     a model's template, as its tokenizer_config.json has it; tokens.json: the special tokens that each sees
cases.jsonl    {"template", "messages", "tools", "variables", "add_generation_prompt", "continue_final_message"} with "text",
               or with "error": true where transformers refuses. strftime_now() is at noon of 2025-03-09.
language.jsonl {"data"}, then {"source", "text" or "error"}: what language.txt holds, each a template of its own over that data
"""
import datetime
import json
import pathlib

import transformers.utils.chat_template_utils as utils

here = pathlib.Path(__file__).parent
NOW = datetime.datetime(2025, 3, 9, 12, 0, 0)


class FixedTime(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return NOW


utils.datetime = FixedTime
TOKENS = json.loads((here / "tokens.json").read_text())
WEATHER = {"type": "function", "function": {"name": "get_weather", "description": "Weather at a place; \"now\" & <here>.", "parameters": {
    "type": "object", "properties": {"place": {"type": "string", "description": "City or région"}, "days": {"type": "integer", "default": 1}},
    "required": ["place"]}}}
TIME = {"type": "function", "function": {"name": "get_time", "description": "The time.", "parameters": {"type": "object", "properties": {}}}}


def message(role, content, **more):
    return {"role": role, "content": content, **more}


CALL = [{"id": "call12345", "type": "function", "function": {"name": "get_weather", "arguments": {"place": "Zürich", "days": 2, "x": 1.5, "y": None, "z": [True]}}}]
TWO_CALLS = CALL + [{"id": "call67890", "type": "function", "function": {"name": "get_time", "arguments": {}}}]
CHATS = [
    [message("user", "Hello!")],
    [message("user", "  blanks around \n\n"), message("assistant", " and here "), message("user", "\tok")],
    [message("system", "Be brief."), message("user", "Hi"), message("assistant", "Hello."), message("user", "Bye")],
    [message("system", " "), message("user", "")],
    [message("user", "日本語 🙂 é \\ \"quoted\" 'single' <b>&amp;</b> {{ no }} {% template %}")],
    [message("user", "a"), message("user", "b")],
    [message("assistant", "I begin"), message("user", "then you")],
    [message("user", [{"type": "text", "text": "What is this?"}, {"type": "image", "url": "x"}])],
    [message("user", "Weather?"), message("assistant", "", tool_calls=CALL), message("tool", "12 degrees", name="get_weather", tool_call_id="call12345"), message("assistant", "It is 12 degrees."), message("user", "Thanks")],
    [message("user", "Weather?"), message("assistant", "Let me look.", tool_calls=TWO_CALLS), message("tool", "{\"t\": 12}", tool_call_id="call12345"), message("tool", "noon", tool_call_id="call67890")],
    [message("user", "Think"), message("assistant", "<think>\nhm\n</think>\n\nYes."), message("user", "Again"), message("assistant", "No.", reasoning_content="because")],
    [message("system", "s"), message("user", "u"), message("assistant", "The answer is")],
    [message("user", "u"), message("assistant", "ends in blanks  ")],
    [message("ipython", "odd role"), message("user", "u")],
]
VARIABLES = {"qwen3": [{}, {"enable_thinking": False}, {"enable_thinking": True}], "llama3_2": [{}, {"tools_in_user_message": False}, {"date_string": "1 Jan 2030"}]}


def cases():
    for name in sorted(TOKENS):
        for chat in CHATS:
            for tools in (None, [WEATHER, TIME]):
                for variables in VARIABLES.get(name, [{}]):
                    for add, go_on in ((False, False), (True, False), (False, True)):
                        if go_on and chat[-1]["role"] != "assistant":
                            continue
                        yield name, chat, tools, variables, add, go_on


def render(template, chat, tools, variables, add, go_on, tokens):
    texts, _ = utils.render_jinja_template([chat], tools=tools, chat_template=template, add_generation_prompt=add, continue_final_message=go_on, **tokens, **variables)
    return texts[0]


def write(path, lines):
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))


def main():
    lines, seen = [], set()
    for name, chat, tools, variables, add, go_on in cases():
        line = {"template": name, "messages": chat, "tools": tools, "variables": variables, "add_generation_prompt": add, "continue_final_message": go_on}
        try:
            line["text"] = render((here / f"{name}.jinja").read_text(), chat, tools, variables, add, go_on, TOKENS[name])
        except Exception:
            line["error"] = True
        # Tools that a template ignores, and prompts that it always adds, say nothing new.
        key = (name, json.dumps(chat), line.get("text"))
        if key not in seen:
            seen.add(key)
            lines.append(line)
    write(here / "cases.jsonl", lines)
    language = [{"data": DATA}]
    for source in (here / "language.txt").read_text().split("\n----\n"):
        source = source.rstrip("\n")
        line = {"source": source}
        try:
            line["text"] = utils._compile_jinja_template(source).render(messages=DATA, add_generation_prompt=True)
        except Exception:
            line["error"] = True
        language.append(line)
    write(here / "language.jsonl", language)
    print(len(lines), "cases,", sum("error" in line for line in lines), "refused;", len(language) - 1, "templates of the language,", sum("error" in line for line in language), "refused")


DATA = [
    {"role": "user", "content": "Hello, wörld", "n": 3, "x": 1.5, "none": None, "yes": True, "list": [3, 1, 2], "text": "  a-b_c  d\n"},
    {"role": "assistant", "content": "hi", "n": -7, "x": 1e20, "no": False, "list": [], "deep": {"a": {"b": [10, {"c": "end"}]}}},
    {"role": "tool", "content": "<b>\"it's\"</b>", "n": 0, "x": 0.0001, "list": ["b", "A", "c", "a"], "pairs": {"z": 1, "a": 2}},
]

if __name__ == "__main__":
    main()

"""A scripted model on loopback: speaks the Anthropic messages API, OpenAI's responses API and Gemini's, all streamed.

    model_endpoint.py SCRIPT.json LOG.jsonl      prints its port, serves until it is ended

The script is a list of turns; each says some text, or calls tools, or both, after `think` seconds:
    [{"think": 0.1, "text": "I look.", "tools": [{"server": "gpumcp", "tool": "get_embedding", "arguments": {"text": "hi"}}]},
     {"tools": [{"shell": "python3 -c '…'"}]},
     {"text": "Done."}]
A turn with a "status" is refused by that HTTP status. An argument {"$from": "uri"} is the value of that key in what tools have answered so far, the newest first. Which turn is
next follows from the conversation that a request carries, so requests may be repeated. The log gets a line for each request
that was a turn: {"turn", "tools": [names that the model was offered], "results": [texts of the newest tool results]}.
"""

import http.server
import json
import re
import sys
import time


def texts_in(value):
    """All texts within a value, in order."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from texts_in(one)
    elif isinstance(value, list):
        for one in value:
            yield from texts_in(one)


def filled(arguments, results):
    """The arguments, with what earlier results gave."""
    if isinstance(arguments, dict):
        if set(arguments) == {"$from"}:
            pattern = re.compile(r'\\?"' + re.escape(arguments["$from"]) + r'\\?"\s*:\s*\\?"([^"\\]+)')
            for text in reversed(results):
                found = pattern.search(text)
                if found:
                    return found[1]
            return f"no result has {arguments['$from']}"
        return {key: filled(value, results) for key, value in arguments.items()}
    if isinstance(arguments, list):
        return [filled(value, results) for value in arguments]
    return arguments


class Anthropic:
    path = "/v1/messages"

    @staticmethod
    def turn(body):
        """How many turns the model has had, and the results since; None: not the conversation (a title, say)."""
        if not body.get("tools"):
            return None
        messages = body["messages"]
        results = [[text for part in message["content"] if isinstance(message["content"], list)
                    and isinstance(part, dict) and part.get("type") == "tool_result" for text in texts_in(part.get("content"))]
                   for message in messages if message["role"] == "user"]
        return (sum(message["role"] == "assistant" for message in messages), results,
                [tool.get("name") for tool in body["tools"]])

    @staticmethod
    def name(call):
        return "Bash" if "shell" in call else f"mcp__{call['server']}__{call['tool']}"

    @staticmethod
    def arguments(call, given):
        return {"command": call["shell"], "description": "Runs code"} if "shell" in call else given

    @staticmethod
    def events(body, turn, calls):
        # Messages of one id are one message, to Claude Code.
        message = {"id": f"msg_{time.monotonic_ns()}", "type": "message", "role": "assistant", "model": body.get("model", "m"), "content": [],
                   "stop_reason": None, "stop_sequence": None, "usage": {"input_tokens": 10, "output_tokens": 1}}
        yield "message_start", {"message": message}
        blocks = [({"type": "text", "text": ""}, {"type": "text_delta", "text": turn["text"]})] if turn.get("text") else []
        for number, (name, arguments) in enumerate(calls):
            blocks.append(({"type": "tool_use", "id": f"toolu_{time.monotonic_ns()}_{number}", "name": name, "input": {}},
                           {"type": "input_json_delta", "partial_json": json.dumps(arguments)}))
        for index, (block, delta) in enumerate(blocks):
            yield "content_block_start", {"index": index, "content_block": block}
            yield "content_block_delta", {"index": index, "delta": delta}
            yield "content_block_stop", {"index": index}
        yield "message_delta", {"delta": {"stop_reason": "tool_use" if calls else "end_turn", "stop_sequence": None},
                                "usage": {"output_tokens": 10}}
        yield "message_stop", {}

    @staticmethod
    def wire(kind, event):
        return f"event: {kind}\ndata: {json.dumps({'type': kind, **event})}\n\n"


class OpenAI:
    path = "/v1/responses"

    @staticmethod
    def turn(body):
        items = body.get("input", [])
        results, turns, open_turn = [], 0, False
        for item in items:
            kind = item.get("type", "message")
            from_model = kind in ("function_call", "reasoning") or (kind == "message" and item.get("role") == "assistant")
            if from_model and not open_turn:
                turns += 1
            open_turn = from_model
            if kind == "function_call_output":
                results.append(list(texts_in(item.get("output"))))
        names = []
        for tool in body.get("tools", []):
            inner = tool.get("tools")
            names += [f"{tool.get('name')}.{one.get('name')}" for one in inner] if inner else [tool.get("name") or tool.get("type")]
        return turns, results, names

    @staticmethod
    def name(call):
        return ("exec_command", None) if "shell" in call else (call["tool"], "mcp__" + call["server"].replace("-", "_"))

    @staticmethod
    def arguments(call, given):
        return {"cmd": call["shell"]} if "shell" in call else given

    @staticmethod
    def events(_body, turn, calls):
        response = {"id": "resp_1", "object": "response", "status": "in_progress", "output": []}
        yield "response.created", {"response": response}
        output = []
        if turn.get("text"):
            output.append({"type": "message", "role": "assistant", "id": "msg_1", "status": "completed",
                           "content": [{"type": "output_text", "text": turn["text"], "annotations": []}]})
        for number, ((name, namespace), arguments) in enumerate(calls):
            item = {"type": "function_call", "id": f"fc_{time.monotonic_ns()}_{number}", "status": "completed",
                    "call_id": f"call_{time.monotonic_ns()}_{number}", "name": name, "arguments": json.dumps(arguments)}
            if namespace:
                item["namespace"] = namespace
            output.append(item)
        for index, item in enumerate(output):
            yield "response.output_item.done", {"output_index": index, "item": item}
        usage = {"input_tokens": 10, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 10,
                 "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 20}
        yield "response.completed", {"response": {**response, "status": "completed", "output": output, "usage": usage}}

    wire = Anthropic.wire


class Gemini:
    path = ":streamGenerateContent"

    @staticmethod
    def turn(body):
        names = [one.get("name") for tool in body.get("tools", []) for one in tool.get("functionDeclarations", [])]
        if not names:
            return None
        results, turns = [], 0
        for content in body["contents"]:
            if content.get("role") == "model":
                turns += 1
            answered = [part["functionResponse"] for part in content.get("parts", []) if "functionResponse" in part]
            if answered:
                results.append([text for one in answered for text in texts_in(one.get("response"))])
        return turns, results, names

    @staticmethod
    def name(call):
        return "run_shell_command" if "shell" in call else f"mcp_{call['server']}_{call['tool']}"

    @staticmethod
    def arguments(call, given):
        return {"command": call["shell"], "description": "Runs code"} if "shell" in call else given

    @staticmethod
    def events(_body, turn, calls):
        parts = [{"text": turn["text"]}] if turn.get("text") else []
        parts += [{"functionCall": {"name": name, "args": arguments}} for name, arguments in calls]
        yield None, {"candidates": [{"index": 0, "finishReason": "STOP", "content": {"role": "model", "parts": parts}}],
                     "usageMetadata": {"promptTokenCount": 10, "candidatesTokenCount": 10, "totalTokenCount": 20}}

    @staticmethod
    def wire(_kind, event):
        return f"data: {json.dumps(event)}\r\n\r\n"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    script, log, turns = [], None, 0

    def log_message(self, *_arguments):
        pass

    def answer(self, code, value):
        data = json.dumps(value).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def do_GET(self):
        self.answer(404, {"error": {"type": "not_found_error", "message": "scripted"}})

    do_HEAD = do_GET

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        path = self.path.partition("?")[0]
        api = next((one for one in (Anthropic, OpenAI, Gemini) if path.endswith(one.path)), None)
        if api is None:
            if path.endswith("/count_tokens") or path.endswith(":countTokens"):
                return self.answer(200, {"input_tokens": 10, "totalTokens": 10})
            if path.endswith(":generateContent"):  # Gemini's questions beside the conversation
                return self.answer(200, next(event for _kind, event in Gemini.events(body, {"text": "{}"}, [])))
            return self.answer(404, {"error": {"type": "not_found_error", "message": "scripted"}})
        seen = api.turn(body)
        if seen is None:
            turn, calls = {"text": "A title"}, []
        else:
            number, results, tools = seen
            Handler.turns += 1
            stuck = Handler.turns > 4 * len(self.script) + 8  # the conversation does not go on: end it
            turn = {"text": "stuck"} if stuck else self.script[min(number, len(self.script) - 1)]
            flat = [text for one in results for text in one]
            calls = [(api.name(call), api.arguments(call, filled(call.get("arguments", {}), flat)))
                     for call in turn.get("tools", [])]
            with open(self.log, "a") as file:
                file.write(json.dumps({"turn": number, "tools": tools, "results": results[-1] if results else []}) + "\n")
            time.sleep(turn.get("think", 0))
            if "status" in turn:
                return self.answer(turn["status"], {"error": {"type": "invalid_request_error", "message": turn["text"]}})
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        for kind, event in api.events(body, turn, calls):
            self.wfile.write(api.wire(kind, event).encode())
        self.close_connection = True


def main():
    with open(sys.argv[1]) as file:
        Handler.script = json.load(file)
    Handler.log = sys.argv[2]
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()

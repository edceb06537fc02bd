"""Clients for the tests that drive the built program: standard library only, and they see every byte.

Pipe speaks newline-delimited JSON-RPC to a child's stdin and stdout; Http sends raw requests to a front's /mcp. Neither
hides anything: a test can send what no client would. A Pipe belongs to one test; its reader thread ends with the child.
"""

import http.client
import json
import os
import queue
import select
import subprocess
import threading
import time

MODERN = "2026-07-28"
LEGACY = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
PREFIX = "io.modelcontextprotocol/"
TIMEOUT_S = 60


def meta(version=MODERN, **more):
    """The _meta that each request of the modern era carries."""
    return {PREFIX + "protocolVersion": version, PREFIX + "clientCapabilities": {}, **more}


def request(id, method, params=None, modern=True, **meta_more):
    params = dict(params or {})
    if modern:
        params["_meta"] = meta(**meta_more)
    return {"jsonrpc": "2.0", "id": id, "method": method, "params": params}


def call(id, tool, arguments=None, modern=True, **meta_more):
    return request(id, "tools/call", {"name": tool, "arguments": arguments or {}}, modern, **meta_more)


def initialize(id, version="2025-11-25"):
    info = {"name": "test", "version": "1"}
    params = {"protocolVersion": version, "capabilities": {}, "clientInfo": info}
    return request(id, "initialize", params, modern=False)


def text_of(result):
    return "\n".join(part.get("text", "") for part in result["content"] if part["type"] == "text")


def wait_until(condition, timeout=10.0, what="condition"):
    """For what nothing signals, as another process' end: a bounded wait. Returns the condition's first true value."""
    end = time.monotonic() + timeout
    pause = threading.Event()
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not so within {timeout} s")
        pause.wait(0.02)


def run_python(python, code, env, timeout=TIMEOUT_S):
    """What a line of Python prints."""
    done = subprocess.run([python, "-c", code], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=timeout)
    assert done.returncode == 0, done.stderr
    return done.stdout


class Pipe:
    """A server as a child process. Messages that are no answer to request() are kept, in order, in `others`."""

    def __init__(self, argv, env, stderr_path, cwd=None):
        self.stderr_path = stderr_path
        with open(stderr_path, "ab") as stderr:
            self.process = subprocess.Popen(
                argv, env=env, cwd=cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr
            )
        self.pid = self.process.pid
        self.others = queue.Queue()
        self.lines = []  # every line as it came
        self.listens = False  # an HTTP front, which lives on without stdin
        self.bad_lines = []  # what is no JSON: the wire was corrupted
        self._replies = {}
        self._expected = set()
        self._changed = threading.Condition()
        self._ended = False
        self._write_lock = threading.Lock()
        self._next_id = 0
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line)
            try:
                message = json.loads(line)
            except ValueError:
                self.bad_lines.append(line)
                continue
            key = json.dumps(message.get("id")) if isinstance(message, dict) else None
            with self._changed:
                if key in self._expected and "method" not in message:
                    self._replies[key] = message
                    self._changed.notify_all()
                else:
                    self.others.put(message)
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def write(self, data: bytes):
        with self._write_lock:
            self.process.stdin.write(data)
            self.process.stdin.flush()

    def start(self, message):
        """Sends a request; finish() gives its reply."""
        key = json.dumps(message["id"])
        with self._changed:
            self._expected.add(key)
        self.write(json.dumps(message).encode() + b"\n")
        return key

    def finish(self, key, timeout=TIMEOUT_S):
        with self._changed:
            done = self._changed.wait_for(lambda: key in self._replies or self._ended, timeout)
            if key in self._replies:
                self._expected.discard(key)
                return self._replies.pop(key)
        raise AssertionError(f"no reply to {key}: {'the server ended' if done else 'timed out'}\n{self.stderr()}")

    def ask(self, message, timeout=TIMEOUT_S):
        return self.finish(self.start(message), timeout)

    def send(self, message):
        self.write(message if isinstance(message, bytes) else json.dumps(message).encode() + b"\n")

    def other(self, timeout=TIMEOUT_S):
        """The next message that answers no ask(): a notification, or the reply to what send() sent."""
        try:
            return self.others.get(timeout=timeout)
        except queue.Empty:
            raise AssertionError(f"the server sent nothing within {timeout} s\n{self.stderr()}") from None

    def exchange(self, raw: bytes, timeout=TIMEOUT_S):
        """Sends a raw line; the next message that comes back."""
        self.send(raw if raw.endswith(b"\n") else raw + b"\n")
        return self.other(timeout)

    def new_id(self):
        self._next_id += 1
        return f"auto-{self._next_id}"

    def call(self, tool, arguments=None, timeout=TIMEOUT_S, **meta_more):
        """tools/call in the modern era; the result, which may be an isError."""
        reply = self.ask(call(self.new_id(), tool, arguments, **meta_more), timeout)
        assert "result" in reply, reply
        return reply["result"]

    def read_resource(self, uri):
        reply = self.ask(request(self.new_id(), "resources/read", {"uri": uri}))
        assert "result" in reply, reply
        return reply["result"]["contents"][0]

    def stderr(self):
        with open(self.stderr_path, errors="replace") as file:
            return file.read()[-4000:]

    def alive(self):
        return self.process.poll() is None

    def close(self, timeout=10.0):
        """Closes stdin, as a host does, or asks an HTTP front to end; the exit code."""
        if self.listens:
            self.process.terminate()
        try:
            self.process.stdin.close()
        except OSError:
            pass
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"the server did not end within {timeout} s of being asked to") from None


class Reply:
    def __init__(self, response):
        self.status = response.status
        self.headers = {k.lower(): v for k, v in response.getheaders()}
        self.body = response.read()
        self.type = self.headers.get("content-type", "").split(";")[0].strip()

    def messages(self):
        """The JSON-RPC messages, from a JSON body or an event stream."""
        if self.type == "text/event-stream":
            data = [line[5:] for line in self.body.decode().splitlines() if line.startswith("data:")]
            return [json.loads(text) for text in data if text.strip()]
        value = json.loads(self.body)
        return value if isinstance(value, list) else [value]

    def message(self):
        return self.messages()[-1]


class Http:
    """A front over HTTP, one connection per request, every header in the test's hands."""

    def __init__(self, host, port):
        self.host, self.port = host, port

    def send(self, method, path, body=b"", headers=None, timeout=TIMEOUT_S):
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        try:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            given = {"host": f"{self.host}:{self.port}"}
            if method == "POST":
                given.update({"content-type": "application/json", "accept": "application/json, text/event-stream"})
                given["content-length"] = str(len(data))
            given.update({k.lower(): v for k, v in (headers or {}).items()})
            for key, value in given.items():
                if value is not None:
                    connection.putheader(key, value)
            connection.endheaders(data)
            return Reply(connection.getresponse())
        finally:
            connection.close()

    def modern_headers(self, message):
        headers = {"MCP-Protocol-Version": MODERN, "Mcp-Method": message["method"]}
        name = message.get("params", {}).get("name") or message.get("params", {}).get("uri")
        if name:
            headers["Mcp-Name"] = name
        return headers

    def post(self, message, headers=None, path="/mcp", **more):
        """A request of the modern era, with the headers that mirror it; `headers` overrides, None leaves one out."""
        return self.send("POST", path, message, {**self.modern_headers(message), **(headers or {})}, **more)

    def post_raw(self, body, headers=None, path="/mcp"):
        return self.send("POST", path, body, headers)

    def call(self, tool, arguments=None):
        message = self.post(call(1, tool, arguments)).message()
        assert "result" in message, message
        return message["result"]


def exit_watch(pid):
    """A function that waits for a process that may not be our child; true if it ended in time."""
    fd = os.pidfd_open(pid)

    def ended(timeout):
        try:
            return bool(select.select([fd], [], [], timeout)[0])
        finally:
            os.close(fd)

    return ended


def environ_has(pid, name, value):
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return f"{name}={value}".encode() in file.read().split(b"\0")
    except OSError:
        return False


def command_of(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().decode(errors="replace").split("\0")[:-1]
    except OSError:
        return []


def processes_with(name, value):
    """The living processes whose environment has name=value: everything that a test started, and what that started."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid() and environ_has(entry, name, value):
            try:
                with open(f"/proc/{entry}/stat") as file:
                    if file.read().rsplit(")", 1)[1].split()[0] != "Z":
                        found.append(int(entry))
            except OSError:
                pass
    return found

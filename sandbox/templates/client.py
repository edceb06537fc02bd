"""The connection of a generated module to its functions. Standard library only, Python 3.8 or newer.

The module's folder holds gpumcp.json: the command that serves the functions (it finds the shared worker, or starts one
at the first call), or the URL of a server. Functions may be called from any thread; the connection opens at the first
call, and anew after it was lost.
"""

import atexit
import base64
import concurrent.futures
import dataclasses
import datetime
import enum
import http.client
import inspect
import itertools
import json
import os
import pathlib
import subprocess
import threading
import urllib.parse
import warnings
from typing import Any, Callable, TypeVar

PROTOCOL = "2026-07-28"
F = TypeVar("F", bound=Callable[..., Any])
_PREFIX = "io.modelcontextprotocol/"
_HTTP_CALLS = 32


class GpumcpError(Exception):
    """What every error of this module is."""


class ToolError(GpumcpError):
    """The function was called and failed, or refused its arguments; the text says why."""

    def __init__(self, tool, text):
        super().__init__(f"{tool}: {text}" if tool not in text else text)
        self.tool = tool


class Unavailable(GpumcpError, ConnectionError):
    """The server could not be reached, or left before it answered."""


class Timeout(GpumcpError, TimeoutError):
    """The answer did not come in time; the call was cancelled."""


def _plain(value):
    """Arguments that JSON has no form for."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(bytes(value)).decode()
    if isinstance(value, (set, frozenset, range)):
        return list(value)
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if hasattr(value, "model_dump"):  # pydantic
        return value.model_dump(mode="json")
    if hasattr(value, "tolist"):  # NumPy, torch
        return value.tolist()
    if isinstance(value, pathlib.PurePath):
        return str(value)
    raise TypeError(f"an argument of type {type(value).__name__} cannot be sent: use numbers, texts, lists and dicts")


def _with_bytes(value):
    """Bytes come as {"base64": …, "bytes": N}."""
    if isinstance(value, dict):
        if value.keys() == {"base64", "bytes"}:
            return base64.b64decode(value["base64"])
        return {key: _with_bytes(one) for key, one in value.items()}
    if isinstance(value, list) and value and isinstance(value[0], (dict, list)):
        return [_with_bytes(one) for one in value]
    return value


class _Pipe:
    """A server as a child process: one JSON object a line."""

    def __init__(self, command):
        try:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        except OSError as e:
            raise Unavailable(f"cannot start {command[0]}: {e.strerror}; set GPUMCP_PROGRAM to where gpumcp lies") from None
        self.owner = os.getpid()
        self._waiting, self._lock, self._closed = {}, threading.Lock(), False
        threading.Thread(target=self._read, daemon=True, name="gpumcp").start()

    def alive(self):
        return not self._closed and self.owner == os.getpid()

    def _read(self):
        for line in self.process.stdout:
            try:
                message = json.loads(line)
            except ValueError:
                continue
            with self._lock:
                future = self._waiting.pop(message.get("id"), None)
            if future is not None:
                future.set_result((message, b'"base64"' in line))
        code = self.process.wait()
        with self._lock:
            self._closed = True
            left, self._waiting = list(self._waiting.values()), {}
        for future in left:
            future.set_exception(Unavailable(f"the server ended (exit code {code}) before it answered"))

    def _write(self, message):
        data = json.dumps(message, default=_plain, allow_nan=False).encode() + b"\n"
        with self._lock:
            if self._closed:
                raise Unavailable("the server has ended")
            try:
                self.process.stdin.write(data)
                self.process.stdin.flush()
            except OSError:
                raise Unavailable("the server has ended") from None

    def send(self, message):
        future = concurrent.futures.Future()
        with self._lock:
            self._waiting[message["id"]] = future
        try:
            self._write(message)
        except BaseException:
            with self._lock:
                self._waiting.pop(message["id"], None)
            raise
        return future

    def cancel(self, message_id):
        with self._lock:
            self._waiting.pop(message_id, None)
        try:
            self._write({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": message_id}})
        except Unavailable:
            pass

    def close(self):
        if self.owner != os.getpid():
            return
        try:
            self.process.stdin.close()
            self.process.wait(5)
        except (OSError, subprocess.TimeoutExpired):
            self.process.kill()


class _Http:
    """A server at a URL: a request for each call, many at once."""

    def __init__(self, url, token):
        self.url, self.token, self.owner = urllib.parse.urlsplit(url), token, os.getpid()
        self.pool = concurrent.futures.ThreadPoolExecutor(_HTTP_CALLS, thread_name_prefix="gpumcp")
        self.local = threading.local()

    def alive(self):
        return self.owner == os.getpid()

    def send(self, message):
        data = json.dumps(message, default=_plain, allow_nan=False).encode()
        return self.pool.submit(self._post, message, data)

    def _post(self, message, data):
        headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream",
                   "MCP-Protocol-Version": PROTOCOL, "Mcp-Method": message["method"],
                   "Mcp-Name": message["params"].get("name", "")}
        if self.token:
            headers["Authorization"] = "Bearer " + self.token
        path = self.url.path or "/mcp"
        for attempt in (1, 2):
            connection = getattr(self.local, "connection", None)
            fresh = connection is None
            if fresh:
                kind = http.client.HTTPSConnection if self.url.scheme == "https" else http.client.HTTPConnection
                connection = self.local.connection = kind(self.url.hostname, self.url.port)
            try:
                connection.request("POST", path, data, headers)
                response = connection.getresponse()
                body = response.read()
                break
            except (OSError, http.client.HTTPException) as e:
                connection.close()
                self.local.connection = None
                # A kept connection may have been closed meanwhile; a fresh one that fails is no coincidence.
                if fresh or attempt == 2:
                    raise Unavailable(f"no answer from {self.url.geturl()}: {e or type(e).__name__}") from None
        if response.getheader("Content-Type", "").startswith("text/event-stream"):
            lines = [line[5:].strip() for line in body.decode().splitlines() if line.startswith("data:")]
        else:
            lines = [body.decode()]
        for line in reversed(lines):
            try:
                reply = json.loads(line)
            except ValueError:
                continue
            if isinstance(reply, dict) and reply.get("id") == message["id"]:
                return reply, '"base64"' in line
        raise Unavailable(f"{self.url.geturl()} answered {response.status}: {body[:200].decode(errors='replace')}")

    def cancel(self, _message_id):
        pass

    def close(self):
        self.pool.shutdown(wait=False)


class Client:
    """What a generated module calls. `folder` holds its gpumcp.json."""

    def __init__(self, folder):
        with open(os.path.join(folder, "gpumcp.json")) as file:
            self.config = json.load(file)
        self.timeout = None  # seconds for a call; None: no limit
        self.totals = {"calls": 0, "gpu_ms": 0.0, "queue_ms": 0.0, "load_ms": 0.0}
        self._connection, self._lock, self._ids = None, threading.Lock(), itertools.count(1)
        atexit.register(self.close)

    def _connect(self):
        with self._lock:
            if self._connection is None or not self._connection.alive():
                url = os.environ.get("GPUMCP_URL") or self.config.get("url")
                if url:
                    self._connection = _Http(url, self._token())
                else:
                    command = list(self.config["command"])
                    command[0] = os.environ.get("GPUMCP_PROGRAM") or command[0]
                    self._connection = _Pipe(command)
            return self._connection

    def _token(self):
        if os.environ.get("GPUMCP_TOKEN"):
            return os.environ["GPUMCP_TOKEN"]
        path = self.config.get("token_file")
        if not path:
            return None
        with open(path) as file:
            return file.readline().strip()

    def start(self, tool, arguments):
        """A call under way: (future, what cancels it)."""
        message = {"jsonrpc": "2.0", "id": next(self._ids), "method": "tools/call", "params": {
            "name": tool, "arguments": arguments,
            "_meta": {_PREFIX + "protocolVersion": PROTOCOL, _PREFIX + "clientCapabilities": {},
                      _PREFIX + "clientInfo": {"name": self.config["name"], "version": "1"}, "gpumcp/output": "inline"}}}
        connection = self._connect()
        return connection.send(message), lambda: connection.cancel(message["id"])

    def finish(self, tool, future, cancel, unwrap):
        try:
            reply, has_bytes = future.result(self.timeout)
        except concurrent.futures.TimeoutError:
            cancel()
            raise Timeout(f"{tool} did not answer within {self.timeout:g} s") from None
        except KeyboardInterrupt:
            cancel()
            raise
        if "error" in reply:
            raise ToolError(tool, reply["error"].get("message", "it was refused"))
        result = reply["result"]
        meta = result.get("_meta", {})
        usage = meta.get("gpumcp/usage", {})
        with self._lock:
            self.totals["calls"] += 1
            for key in ("gpu_ms", "queue_ms", "load_ms"):
                self.totals[key] += usage.get(key, 0)
        text = "\n".join(part.get("text", "") for part in result.get("content", ()) if part.get("type") == "text")
        if result.get("isError"):
            raise ToolError(tool, text)
        if "structuredContent" not in result:
            return None if text == "done" else text
        value = result["structuredContent"]
        if unwrap or meta.get("gpumcp/wrapped"):
            value = value.get("result", value)
        return _with_bytes(value) if has_bytes else value

    def call(self, tool, arguments, unwrap=False):
        future, cancel = self.start(tool, arguments)
        return self.finish(tool, future, cancel, unwrap)

    def close(self):
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def refresh(folder):
    """Makes the module anew if the interface that it was made from has changed since."""
    with open(os.path.join(folder, "gpumcp.json")) as file:
        config = json.load(file)
    for path, (size, mtime_ns) in config.get("sources", {}).items():
        try:
            info = os.stat(path)
        except OSError:
            return  # made elsewhere: it serves as it is
        if (info.st_size, info.st_mtime_ns) != (size, mtime_ns):
            break
    else:
        return
    command = list(config["regenerate"])
    command[0] = os.environ.get("GPUMCP_PROGRAM") or command[0]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
        problem = done.stdout.decode(errors="replace").strip() if done.returncode else ""
    except (OSError, subprocess.SubprocessError) as e:
        problem = str(e)
    if problem:
        warnings.warn(f"{config['name']}: its interface changed, and the module could not be made anew: {problem}",
                      RuntimeWarning, stacklevel=3)


def batch_over(client, function, items, max_in_flight=64, return_exceptions=False):
    """Calls `function` for each item, many at once, and gives the results in the items' order."""
    signature = inspect.signature(function)
    prepare = function.__gpumcp_prepare__
    results, running = [], {}

    def take(index):
        tool, future, cancel, unwrap = running.pop(index)
        try:
            results[index] = client.finish(tool, future, cancel, unwrap)
        except GpumcpError as e:
            if not return_exceptions:
                raise
            results[index] = e

    try:
        for index, item in enumerate(items):
            if len(running) >= max_in_flight:
                take(next(iter(running)))
            results.append(None)
            bound = (signature.bind(**item) if isinstance(item, dict) else signature.bind(*item) if isinstance(item, tuple)
                     else signature.bind(item))
            bound.apply_defaults()
            tool, arguments, unwrap = prepare(**bound.arguments)
            running[index] = (tool, *client.start(tool, arguments), unwrap)
        for index in list(running):
            take(index)
    except BaseException:
        for _tool, _future, cancel, _unwrap in running.values():
            cancel()
        raise
    return results


def function(client: Client, tool: str, unwrap: bool, fixed: dict, optional: set, names: dict) -> "Callable[[F], F]":
    """Decorates a generated stub: its parameters are the tool's arguments. `fixed` are always sent; those of `optional`
    are left out while they are None, by the tool's own names; `names` has those that Python spells otherwise."""

    def decorate(stub):
        signature = inspect.signature(stub)

        def prepare(**given):
            arguments = dict(fixed)
            for key, value in given.items():
                if signature.parameters[key].kind is inspect.Parameter.VAR_KEYWORD:
                    arguments.update(value)
                elif not (value is None and names.get(key, key) in optional):
                    arguments[names.get(key, key)] = value
            return tool, arguments, unwrap

        def call(*args, **kwargs):
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            return client.call(*prepare(**bound.arguments))

        for attribute in ("__name__", "__qualname__", "__doc__", "__module__", "__annotations__"):
            setattr(call, attribute, getattr(stub, attribute))
        call.__signature__, call.__gpumcp_prepare__, call.__wrapped__ = signature, prepare, stub
        return call

    return decorate

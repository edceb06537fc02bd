"""Runs one interface file for a worker: loads it, runs its functions, sends back results.

The worker speaks over a socket, fd 3: one JSON object a line, either way; a line with "bytes": N is followed by N raw
bytes. Everything printed goes to stderr, which the worker reads as the log.

  worker ── load, call, cancel, answer ──▶ reader thread ──▶ main thread: the file, then functions one at a time
  worker ◀── ready|failed, progress, ask, result|error ──     event loop thread: async functions
                                                              pools: functions with concurrency > 1

Functions without `concurrency` run on the main thread, which loaded the file, so module state needs no locks. The
process ends with its socket.
"""

import asyncio
import ctypes
import faulthandler
import importlib.machinery
import importlib.util
import inspect
import itertools
import json
import os
import queue
import signal
import socket
import sys
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor

from gpumcp_host import authoring
from gpumcp_host.arguments import ArgumentError, Converter, Signature
from gpumcp_host.results import ResultError, Writer

ASYNC_CALLS = 64  # of one async function at once, unless it says
MAX_SESSIONS = 1000
SHOWN_ERROR = 2000


class FreshLoader(importlib.machinery.SourceFileLoader):
    """Compiles what stands in the file now. Cached bytecode is told apart by the second and the size alone, and a front
    that follows its files loads them sooner than that."""

    def get_code(self, fullname):
        return self.source_to_code(self.get_data(self.path), self.path)


class Exposed:
    def __init__(self, function, options):
        self.function, self.name = function, options.get("name", getattr(function, "__name__", "?"))
        self.is_async = inspect.iscoroutinefunction(inspect.unwrap(function)) or inspect.iscoroutinefunction(function)
        self.concurrency = options.get("concurrency") or (ASYNC_CALLS if self.is_async else 1)
        self.timeout = options.get("timeout")
        self.signature = Signature(function, authoring.Context)
        self.pool = None  # threads of a function with concurrency
        self.slots = None  # of an async function; made in the loop


class Call:
    """One call. `thread` is where it runs now, if a signal or an exception can reach it there."""

    def __init__(self, message, context):
        self.id, self.tool, self.output = message["id"], message["tool"], message.get("output", "ref")
        self.arguments, self.context = message["arguments"], context
        self.thread, self.task, self.why = None, None, "cancelled"
        self.begun = None


class Runner:
    def __init__(self, sock):
        self.sock, self.input = sock, sock.makefile("rb")
        self.exposed, self.calls, self.sessions = {}, {}, {}
        self.lock = threading.Lock()  # guards calls, sessions, answers
        self.send_lock = threading.Lock()
        self.main_queue = queue.SimpleQueue()
        self.answers, self.ask_ids = {}, itertools.count(1)
        self.secrets, self.folder = [], ""
        self.main_thread = threading.get_ident()
        self.main_call = None  # what may be interrupted on the main thread
        self.loop = None
        self.converter = Converter(lambda uri: self.ask("artifact", uri))

    # ---- the wire
    def send(self, message, *parts):
        if parts:
            message["bytes"] = sum(map(len, parts))
        line = json.dumps(message).encode() + b"\n"
        with self.send_lock:
            self.sock.sendall(b"".join((line, *parts)))

    def read_forever(self):
        try:
            for line in self.input:
                message = json.loads(line)
                data = self.input.read(message["bytes"]) if "bytes" in message else b""
                self.take(message, data)
        except OSError:
            pass
        finally:
            os._exit(0)  # the worker is gone, and with it everyone who could want a result

    def take(self, message, data):
        kind = message["type"]
        if kind == "call":
            context = authoring.Context(self, message["id"], message.get("session", ""))
            call = Call(message, context)
            with self.lock:
                self.calls[call.id] = call
            self.start(call)
        elif kind == "cancel":
            self.cancel(message["id"], "cancelled")
        elif kind == "answer":
            with self.lock:
                slot = self.answers.pop(message["id"], None)
            if slot:
                slot.put((message, data))

    def ask(self, what, name):
        """Asks the worker; from any thread but the reader's."""
        slot = queue.SimpleQueue()
        ask_id = next(self.ask_ids)
        with self.lock:
            self.answers[ask_id] = slot
        self.send({"type": "ask", "id": ask_id, "what": what, "name": str(name)})
        message, data = slot.get()
        if "error" in message:
            raise (FileNotFoundError if what == "model_path" else ValueError)(message["error"])
        return data if what == "artifact" else message["value"]

    def session_of(self, key):
        with self.lock:
            state = self.sessions.pop(key, None)
            if state is None:
                state = {}
                if len(self.sessions) >= MAX_SESSIONS:
                    self.sessions.pop(next(iter(self.sessions)))  # the one unused for longest
            self.sessions[key] = state
            return state

    def hide(self, text):
        for name, value in self.secrets:
            if value in text:
                text = text.replace(value, f"[secret {name}]")
        return text

    # ---- loading
    def expose(self, function, options):
        if not callable(function):
            raise TypeError(f"expose() takes a function, not {function!r}")
        one = Exposed(function, options)
        self.exposed[one.name] = one

    def load(self, message):
        path = message["file"]
        self.folder = os.path.dirname(path)
        self.secrets = sorted(((name, os.environ[name]) for name in message.get("secrets", ())
                               if len(os.environ.get(name, "")) >= 6), key=lambda pair: -len(pair[1]))
        # The interface's folder stands where a script's own would, in place of ours.
        sys.path[0] = self.folder
        sys.argv = [path]
        os.chdir(self.folder)
        sys.dont_write_bytecode = False
        authoring.install(self)
        name = os.path.splitext(os.path.basename(path))[0]
        if name in sys.modules or name in getattr(sys, "stdlib_module_names", ()):
            name = "gpumcp_interface_" + name  # json.py must not stand for json
        machinery = importlib.machinery
        sys.path_importer_cache[self.folder] = machinery.FileFinder(  # the files beside it too
            self.folder, (machinery.ExtensionFileLoader, machinery.EXTENSION_SUFFIXES), (FreshLoader, machinery.SOURCE_SUFFIXES))
        spec = importlib.util.spec_from_file_location(name, path, loader=FreshLoader(name, path))
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        missing = [tool for tool in message["tools"] if tool not in self.exposed]
        if missing:
            raise RuntimeError(f"{', '.join(missing)}: under @expose in the source, but not exposed when the file ran")

    # ---- running
    def start(self, call):
        """On the reader thread: puts the call where it runs."""
        one = self.exposed.get(call.tool)
        if one is None:
            return self.fail(call, f"{call.tool} is not exposed")
        if one.timeout:
            timer = threading.Timer(one.timeout, self.cancel, (call.id, f"timed out after {one.timeout:g} s"))
            timer.daemon = True
            timer.start()
        if one.is_async:
            asyncio.run_coroutine_threadsafe(self.run_async(call, one), self.event_loop())
        elif one.concurrency > 1:
            if one.pool is None:
                one.pool = ThreadPoolExecutor(one.concurrency, thread_name_prefix=one.name)
            one.pool.submit(self.run_in_pool, call, one)
        else:
            self.main_queue.put(call)

    def event_loop(self):
        if self.loop is None:
            self.loop = asyncio.new_event_loop()
            threading.Thread(target=self.loop.run_forever, name="event loop", daemon=True).start()
        return self.loop

    def run_main(self):
        """On the main thread, for ever."""
        while True:
            call = self.main_queue.get()
            try:
                self.run(call, self.exposed[call.tool], on_main=True)
            except authoring.Cancelled:  # it came when the call was over
                self.fail(call, call.why, cancelled=True)

    def run_in_pool(self, call, one):
        try:
            self.run(call, one, on_main=False)
        except authoring.Cancelled:
            self.fail(call, call.why, cancelled=True)

    def run(self, call, one, on_main):
        if call.context._cancelled:
            return self.fail(call, call.why, cancelled=True)
        call.begun = time.monotonic()
        token = authoring.current.set(call.context)
        try:
            args, kwargs = one.signature.bind(call.arguments, self.converter, call.context)
            call.thread = threading.get_ident()
            if on_main:
                self.main_call = call
            try:
                value = one.function(*args, **kwargs)
                # Arrays leave the device here, still within the function's own time.
                writer = Writer(call.output, self.hide)
                result = writer.write(value)
            finally:
                self.main_call = None if on_main else self.main_call
                call.thread = None
            self.finish(call, *result, writer.wrapped)
        except BaseException as e:  # noqa: B036 - whatever it is, the caller gets an answer
            self.fail_with(call, e)
        finally:
            authoring.current.reset(token)

    async def run_async(self, call, one):
        if one.slots is None:
            one.slots = asyncio.Semaphore(one.concurrency)
        call.task = asyncio.current_task()
        try:
            async with one.slots:
                if call.context._cancelled:
                    return self.fail(call, call.why, cancelled=True)
                call.begun = time.monotonic()
                authoring.current.set(call.context)  # a task has a context of its own
                args, kwargs = await self.loop.run_in_executor(
                    None, one.signature.bind, call.arguments, self.converter, call.context)
                value = await one.function(*args, **kwargs)
                writer = Writer(call.output, self.hide)
                self.finish(call, *writer.write(value), writer.wrapped)
        except BaseException as e:  # noqa: B036
            self.fail_with(call, e)

    def cancel(self, call_id, why):
        with self.lock:
            call = self.calls.get(call_id)
        if call is None or call.context._cancelled:
            return
        call.why, call.context._cancelled = why, True
        if call.task is not None:
            self.loop.call_soon_threadsafe(call.task.cancel)
        elif call.thread == self.main_thread:
            signal.pthread_kill(self.main_thread, signal.SIGUSR1)  # ends a sleep or a read too
        elif call.thread is not None:
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(call.thread), ctypes.py_object(authoring.Cancelled))

    def on_signal(self, _number, _frame):
        call = self.main_call
        if call is not None and call.context._cancelled:
            self.main_call = None
            raise authoring.Cancelled(call.why)

    # ---- answers
    def times(self, call):
        return {} if call.begun is None else {"run_ms": (time.monotonic() - call.begun) * 1000}

    def drop(self, call):
        with self.lock:
            return self.calls.pop(call.id, None) is not None

    def finish(self, call, text, blobs, wrapped):
        if self.drop(call):
            self.send({"type": "result", "id": call.id, "json_bytes": len(text), "blobs": [b.header() for b in blobs],
                       "wrapped": wrapped, **self.times(call)}, text, *(b.data for b in blobs))

    def fail(self, call, text, cancelled=False):
        if self.drop(call):
            self.send({"type": "error", "id": call.id, "error": self.hide(text)[:SHOWN_ERROR], "cancelled": cancelled,
                       **self.times(call)})

    def fail_with(self, call, error):
        if isinstance(error, (authoring.Cancelled, asyncio.CancelledError)) and call.context._cancelled:
            return self.fail(call, call.why, cancelled=True)
        if isinstance(error, ArgumentError):
            return self.fail(call, str(error))
        if isinstance(error, ResultError):
            return self.fail(call, f"{call.tool} ran, but its result cannot be sent: {error}")
        print(f"{call.tool} raised:", self.hide(traceback.format_exc()), file=sys.stderr, sep="\n", flush=True)
        self.fail(call, self.describe(error))

    def describe(self, error):
        """The error and the author's line; the rest of the traceback stays in the log."""
        place = ""
        for frame in traceback.extract_tb(error.__traceback__):
            if os.path.dirname(os.path.realpath(frame.filename)).startswith(os.path.realpath(self.folder) or "\0"):
                place = f" ({os.path.basename(frame.filename)}, line {frame.lineno}, in {frame.name})"
        if isinstance(error, SyntaxError) and error.filename:
            place = ""
        try:
            text = str(error)
        except Exception:  # noqa: BLE001
            text = ""
        return f"{type(error).__name__}{': ' if text else ''}{text}"[:SHOWN_ERROR] + place


def main(_arguments):
    os.dup2(2, 1)  # a print must not reach anything but the log
    faulthandler.enable()
    try:
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: the worker's thread that started us ended
    except (OSError, AttributeError):
        pass
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    runner = Runner(socket.socket(fileno=3))
    os.set_inheritable(3, False)
    signal.signal(signal.SIGUSR1, runner.on_signal)
    message = json.loads(runner.input.readline())
    threading.Thread(target=runner.read_forever, name="reader", daemon=True).start()
    try:
        runner.load(message)
    except BaseException as e:  # noqa: B036 - sys.exit() in the file too
        print(runner.hide(traceback.format_exc()), file=sys.stderr, flush=True)
        runner.send({"type": "failed", "error": runner.hide(runner.describe(e))})
        sys.stderr.flush()
        os._exit(1)
    runner.send({"type": "ready", "python": sys.version.split()[0]})
    runner.run_main()

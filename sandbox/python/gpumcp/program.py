"""How this package talks to the program `gpumcp`."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import threading


class GpumcpError(RuntimeError):
    """What the program refused, or could not do, in its own words."""


def find_program():
    """Where `gpumcp` lies."""
    if os.environ.get("GPUMCP_PROGRAM"):
        return os.environ["GPUMCP_PROGRAM"]
    here = pathlib.Path(__file__).resolve()
    # Installed beside the program (PREFIX/share/gpumcp/python/gpumcp), or in the source tree.
    for place in (here.parents[4] / "bin/gpumcp", here.parents[3] / "build/release/bin/gpumcp"):
        if os.access(place, os.X_OK):
            return str(place)
    found = shutil.which("gpumcp")
    if not found:
        raise GpumcpError("the program gpumcp is not on PATH; put it there, or name it in GPUMCP_PROGRAM")
    return found


class Control:
    """A `gpumcp sandbox` process: a line of JSON to it, a line back. It ends, and its sandbox with it, when its stdin does."""

    def __init__(self):
        try:
            self._process = subprocess.Popen([find_program(), "sandbox"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                             text=True, encoding="utf-8", start_new_session=True)
        except OSError as e:
            raise GpumcpError(f"{find_program()} cannot be started: {e.strerror}") from None
        self._lock = threading.Lock()

    def ask(self, op, **request):
        """The answer; what goes on meanwhile is printed on stderr."""
        with self._lock:
            try:
                self._process.stdin.write(json.dumps({"op": op, **request}) + "\n")
                self._process.stdin.flush()
                for line in self._process.stdout:
                    answer = json.loads(line)
                    if "progress" in answer:
                        print(answer["progress"], file=sys.stderr, flush=True)
                    elif answer.pop("ok"):
                        return answer
                    else:
                        raise GpumcpError(answer["error"])
            except (OSError, ValueError) as e:
                raise GpumcpError(f"gpumcp sandbox is gone: {e}") from None
            raise GpumcpError(f"gpumcp sandbox ended with code {self._process.wait()}")

    def close(self):
        with self._lock:
            try:
                self._process.stdin.close()
            except OSError:
                pass
            self._process.wait()
            self._process.stdout.close()

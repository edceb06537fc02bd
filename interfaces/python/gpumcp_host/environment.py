"""Finds the Python that an interface runs on, and makes its virtual environment if it asks for packages.

`run_host.py environment`: a JSON object on stdin {"folder", "packages", "version", "requires"}; on stdout a JSON object a
line: {"progress": text} while it works, at last {"python": PATH} or {"error": TEXT}. An environment is named by a hash of
what is in it, made once under a lock, and only counts when its stamp is there.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time


class Failure(Exception):
    pass


def say(**message):
    print(json.dumps(message), flush=True)


def version_of(python):
    """"3.11.7" of an interpreter, or None if it is none."""
    try:
        done = subprocess.run([python, "-I", "-S", "-c", "import sys; print('.'.join(map(str, sys.version_info[:3])))"],
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode().strip()


def _numbers(text):
    return [int(part) for part in re.findall(r"\d+", text)]


def satisfies(version, requires):
    """Whether a version fits ">=3.10,<3.13"; what is no such list is taken as it is."""
    for clause in requires.split(","):
        match = re.match(r"^\s*(>=|<=|==|!=|~=|>|<)\s*([\d.]+)(\.\*)?\s*$", clause)
        if not match:
            continue
        want = _numbers(match[2])
        have = _numbers(version)[:max(len(want), 1)] if match[3] or match[1] in ("==", "!=", "~=") else _numbers(version)
        have += [0] * (len(want) - len(have))
        good = {">=": have >= want, "<=": have[:len(want)] <= want, ">": have[:len(want)] > want, "<": have < want,
                "==": have[:len(want)] == want, "!=": have[:len(want)] != want,
                "~=": _numbers(version) >= want and _numbers(version)[:len(want) - 1] == want[:-1]}[match[1]]
        if not good:
            return False
    return True


def find_python(version, requires):
    """An interpreter by path, by version ("3.11"), or the first on PATH that fits `requires`."""
    if "/" in version:
        if version_of(version) is None:
            raise Failure(f"python {version}: that is no Python interpreter")
        return version
    names = [f"python{version}"] if version else []
    names += ["python3"] + [f"python3.{minor}" for minor in range(15, 8, -1)]
    found = []
    for name in names:
        path = shutil.which(name)
        have = version_of(path) if path else None
        if have is None:
            continue
        found.append(f"{path} ({have})")
        if version and not (have + ".").startswith(version + "."):
            continue
        if requires and not satisfies(have, requires):
            continue
        return path
    wanted = f"Python {version}" if version else f"a Python {requires}"
    raise Failure(f"{wanted} is not on this machine; found: {', '.join(found) or 'none'}. Install it, or name an "
                  "interpreter by its path: --python /path/to/python3")


def run_and_tell(command, what):
    """Runs a command, tells its lines as progress, and fails with its last ones."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                               env={**os.environ, "PYTHONUNBUFFERED": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1",
                                    "PIP_NO_INPUT": "1", "PIP_PROGRESS_BAR": "off"})
    last, told = [], 0.0
    for raw in process.stdout:
        line = raw.decode(errors="replace").strip()
        if not line:
            continue
        last = (last + [line])[-12:]
        if time.monotonic() - told > 0.5:
            told = time.monotonic()
            say(progress=f"{what}: {line[:200]}")
    if process.wait() != 0:
        errors = [line for line in last if "rror" in line] or last
        raise Failure(f"{what} failed: " + " | ".join(errors)[-1500:])


def make_environment(folder, python, packages):
    """The interpreter of an environment with these packages."""
    version = version_of(python)
    name = hashlib.sha256(json.dumps([os.path.realpath(python), version, sorted(packages)]).encode()).hexdigest()[:16]
    place = os.path.join(folder, name)
    inside, stamp = os.path.join(place, "bin", "python"), os.path.join(place, "complete")
    if os.path.exists(stamp):
        os.utime(stamp)
        return inside
    os.makedirs(folder, mode=0o700, exist_ok=True)
    with open(os.path.join(folder, name + ".lock"), "w") as lock:
        say(progress="waiting for the environment's lock")
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.path.exists(stamp):
            return inside
        shutil.rmtree(place, ignore_errors=True)
        run_and_tell([python, "-m", "venv", place], "making a virtual environment")
        run_and_tell([inside, "-m", "pip", "install", "--", *packages], f"installing {', '.join(packages)}"[:200])
        with open(stamp, "w") as file:
            json.dump({"python": python, "version": version, "packages": sorted(packages)}, file)
        return inside


def main(_arguments):
    wanted = json.load(sys.stdin)
    try:
        for package in wanted["packages"]:
            if package.startswith("-"):
                raise Failure(f"python package {package!r}: a name was expected, not an option")
        python = find_python(wanted.get("version", ""), wanted.get("requires", ""))
        if wanted["packages"]:
            python = make_environment(wanted["folder"], python, wanted["packages"])
        say(python=python)
    except (Failure, OSError) as e:
        say(error=str(e))
        return 1
    return 0

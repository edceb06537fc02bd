"""What tests/program/test_python_interface.py serves: every kind of parameter, result and failure."""

from __future__ import annotations

import asyncio
import dataclasses
import enum
import os
import signal
import sys
import threading
import time
from typing import Literal, Optional, TypedDict, Union

import neighbour
import numpy
from gpumcp import Context, progress, session

DEFAULT_K = 10
state = {"calls": 0}
running = {"now": 0, "most": 0}
lock = threading.Lock()
print("a print while the file loads must not reach the wire")


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Point(TypedDict, total=False):
    """A point of the plane."""

    x: float
    y: float


@dataclasses.dataclass
class Node:
    """A tree."""

    value: int
    children: list[Node] = dataclasses.field(default_factory=list)


@expose
def everything(text: str, count: int, *, k: int = DEFAULT_K, mode: Literal["fast", "exact"] = "fast",
               color: Color = Color.RED, point: Optional[Point] = None, tree: Node | None = None,
               weights: list[float] = (), either: Union[int, str] = 3, limits: dict[str, int] = {}) -> dict:
    """Takes every kind of parameter.

    And says what arrived.

    Args:
        text (str): What to say,
            over two lines.
        count: How often.
        k (int, optional): Neighbours.

    Returns:
        What arrived.
    """
    return {"text": text, "count": count, "k": k, "mode": mode, "color": type(color).__name__ + "." + color.name,
            "point": point, "tree": None if tree is None else f"{type(tree).__name__}/{type(tree.children[0]).__name__}",
            "weights": weights, "either": either, "limits": limits}


@expose
def numpy_style(a: float, b: float = 2.0) -> float:
    """Multiplies.

    Parameters
    ----------
    a : float
        The first factor.
    b : float, optional
        The second factor.

    Returns
    -------
    float
        The product.
    """
    return a * b


@expose
def sphinx_style(a: int, b: int) -> int:
    """Adds.

    :param a: The first summand.
    :param int b: The second summand,
        over two lines.
    :returns: The sum.
    """
    return a + b


@expose
def many(*texts: str, **flags: bool) -> str:
    return f"{texts} {flags}"


@expose
async def wait(seconds: float, context: Context) -> str:
    """Waits; async, so many wait at once."""
    steps = 5
    for i in range(steps):
        context.progress(i + 1, steps, f"step {i + 1}")
        await asyncio.sleep(seconds / steps)
    return "waited"


@expose
def sleep(seconds: float) -> str:
    """Sleeps on the main thread."""
    progress(1, 2, "sleeping")
    time.sleep(seconds)
    return "slept"


@expose(concurrency=4)
def together(seconds: float) -> int:
    """At most four at once; how many there were."""
    with lock:
        running["now"] += 1
        running["most"] = max(running["most"], running["now"])
    time.sleep(seconds)
    with lock:
        running["now"] -= 1
    return running["most"]


@expose
def alone(seconds: float) -> int:
    """One at a time, as it does not say otherwise."""
    state["inside"] = state.get("inside", 0) + 1
    most = state["inside"]
    time.sleep(seconds)
    state["inside"] -= 1
    return most


@expose(timeout=0.3)
def limited() -> str:
    time.sleep(30)
    return "never"


@expose
def stubborn() -> str:
    """Catches all that it can."""
    try:
        time.sleep(30)
    except Exception:
        return "swallowed"
    return "never"


@expose
def count_calls() -> int:
    state["calls"] += 1
    return state["calls"]


@expose
def remember(value: str) -> None:
    session()["value"] = value


@expose
def recall() -> Optional[str]:
    return session().get("value")


@expose
def pid() -> int:
    return os.getpid()


@expose
def environment(name: str) -> Optional[str]:
    return os.environ.get(name)


@expose
def leak(name: str) -> dict:
    """Puts a variable where a secret must not be: the log, the result, an error."""
    value = os.environ[name]
    print("the value is", value, flush=True)
    if len(value) > 1000:
        raise ValueError(value)
    return {"value": value, value: 1, "inside": f"<{value}>"}


@expose
def leak_error(name: str) -> None:
    raise ValueError(f"cannot use {os.environ[name]}")


@expose
def path_of(model: str) -> str:
    return neighbour.path_of(model)


@expose
def models() -> list[str]:
    return list_configured_models()


@expose
def die(how: str = "kill") -> None:
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "segfault":
        import ctypes
        ctypes.string_at(0)
    else:
        os._exit(7)


@expose
def leave() -> None:
    sys.exit("the author calls sys.exit")


@expose
def fail() -> None:
    """Fails two frames down."""
    neighbour.fail()


@expose
def returns(what: str):
    """Gives back what JSON has no form for, or hardly."""
    cycle = []
    cycle.append(cycle)
    deep = []
    for _ in range(100):
        deep = [deep]
    return {
        "nan": {"loss": float("nan")},
        "nan list": {"losses": [1.0, float("nan"), float("inf")]},
        "bytes": b"\x00\x01\x02" * 100,
        "png": {"picture": b"\x89PNG\r\n\x1a\n..."},
        "set": {"b", "a", "c"},
        "cycle": cycle,
        "deep": deep,
        "object": {"inner": [object()]},
        "lambda": lambda: 1,
        "complex": 1j,
        "vector": {"embedding": [i / 7 for i in range(3584)], "preview": [i / 7 for i in range(10)]},
        "matrix": [[i * 10 + j for j in range(10)] for i in range(10)],
        "long text": "word " * 20000,
        "many rows": [{"row": i, "name": f"row {i}"} for i in range(2000)],
        "too much": "x" * (7 << 20),
        "int keys": {1: "one", 2: "two"},
        "same keys": {1: "one", "1": "other"},
        "tuple keys": {(1, 2): "x"},
        "surrogate": "\ud800 alone",
        "huge integer": 10 ** 30,
        "digits": 10 ** 5000,
        "none": None,
        "text": "just a text",
        "array text": "[1, 2, 3]",
        "empty": "",
        "enum": Color.BLUE,
        "dataclass": Node(1, [Node(2)]),
    }[what]


@expose
def array(shape: list[int], dtype: str = "float32"):
    """An array of NumPy."""
    return {"array": numpy.arange(numpy.prod(shape)).astype(dtype).reshape(shape)}


@expose
def total(array: numpy.ndarray) -> float:
    """The sum of an array, given in place or by URI."""
    return float(array.sum())

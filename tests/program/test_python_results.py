"""What functions of Python files return: references, files, and what JSON cannot carry."""

import base64
import json
import pathlib
import textwrap

import numpy
import pytest
from client import text_of
from python_files import PYTHON, TOOLS, error_of, load_npy, value_of
from python_files import tools  # noqa: F401 (a fixture)


def test_vectors_go_by_reference_unless_asked_for(tools):
    """The origin put 62 KB of numbers into the agent's context for one embedding."""
    result = tools.call("returns", {"what": "vector"})
    got = value_of(result)
    assert got["embedding"]["shape"] == [3584] and got["embedding"]["dtype"] == "float64"
    assert len(got["embedding"]["preview"]) == 10 and len(got["preview"]) == 10
    assert len(json.dumps(result["structuredContent"])) < 1024 and len(text_of(result)) < 1024
    link = [part for part in result["content"] if part["type"] == "resource_link"][0]
    assert link["uri"] == got["embedding"]["uri"] and link["mimeType"] == "application/x-npy"
    expected = numpy.array([i / 7 for i in range(3584)])
    assert (load_npy(tools, link["uri"]) == expected).all()
    assert value_of(tools.call("total", {"array": link["uri"]}))["result"] == pytest.approx(expected.sum()), "a URI goes in again"
    whole = value_of(tools.call("returns", {"what": "vector", "output": "inline"}))
    assert whole["embedding"] == [i / 7 for i in range(3584)]


def test_a_file_in_the_workspace(world):
    workspace = world.folder / "work"
    front = world.serve(TOOLS, *PYTHON, "--workspace", workspace)
    got = value_of(front.call("array", {"shape": [4, 25], "output": "file"}))["array"]
    assert pathlib.Path(got["path"]).parent == workspace
    assert numpy.load(got["path"]).tolist() == numpy.arange(100, dtype="float32").reshape(4, 25).tolist()
    front.close()


@pytest.mark.parametrize("dtype", ["float32", "float16", "int64", "bool", "uint8"])
def test_arrays_keep_their_type_and_shape(tools, dtype):
    got = value_of(tools.call("array", {"shape": [3, 5, 7], "dtype": dtype}))["array"]
    array = load_npy(tools, got["uri"])
    assert array.shape == (3, 5, 7) and array.dtype == dtype and got["dtype"] == dtype
    assert (array == numpy.arange(105).astype(dtype).reshape(3, 5, 7)).all()


@pytest.mark.parametrize("what, words", [
    ("nan", "result.loss is NaN"), ("cycle", "contains itself"), ("deep", "nested more than"), ("object", "result.inner[0] is a object"),
    ("lambda", "is a function"), ("complex", "[value.real, value.imag]"), ("same keys", "two keys that are '1'"),
    ("tuple keys", "a key of type tuple"), ("digits", "digits"),
])
def test_what_json_cannot_carry_is_a_clear_error(tools, what, words):
    """The origin answered 200 with an empty body, or with text that was no JSON."""
    said = error_of(tools.call("returns", {"what": what}))
    assert said.startswith("returns ran, but its result cannot be sent: ") and words in said, said


def test_what_json_hardly_carries_arrives_in_a_form_of_its_own(tools):
    def get(what, **more):
        return value_of(tools.call("returns", {"what": what, **more}))

    assert get("set") == {"result": ["a", "b", "c"]}
    assert get("int keys") == {"1": "one", "2": "two"}
    assert get("enum") == {"result": "blue"} and get("none") == {"result": None}
    assert get("dataclass") == {"value": 1, "children": [{"value": 2, "children": []}]}
    assert get("surrogate") == {"result": "? alone"}
    assert get("huge integer")["result"] == pytest.approx(1e30)
    nan = load_npy(tools, get("nan list")["losses"]["uri"])
    assert nan[0] == 1 and numpy.isnan(nan[1]) and numpy.isinf(nan[2])
    got = get("bytes")
    assert base64.b64decode(tools.read_resource(got["uri"])["blob"]) == b"\x00\x01\x02" * 100
    assert get("bytes", output="inline") == {"base64": base64.b64encode(b"\x00\x01\x02" * 100).decode(), "bytes": 300}
    assert get("png")["picture"]["mime_type"] == "image/png"
    assert get("matrix")["shape"] == [10, 10]
    assert get("matrix", output="inline")["result"][9] == [90 + j for j in range(10)]


def test_text_is_never_empty_and_never_a_bare_array(tools):
    for what, shown in (("text", "just a text"), ("array text", '{"result":"[1, 2, 3]"}'), ("empty", '{"result":""}'), ("none", "done")):
        assert text_of(tools.call("returns", {"what": what})) == shown


def test_a_huge_result_is_kept_and_pointed_to(tools):
    rows = value_of(tools.call("returns", {"what": "many rows"}))
    assert len(json.dumps(rows)) < 1024 and rows["mime_type"] == "application/json"
    contents = tools.read_resource(rows["uri"])
    assert json.loads(base64.b64decode(contents["blob"]))["result"][1999] == {"row": 1999, "name": "row 1999"}
    words = value_of(tools.call("returns", {"what": "long text"}))
    assert words["preview"].startswith("word word") and words["bytes"] == 100_000
    assert "carries up to 6 MB" in error_of(tools.call("returns", {"what": "too much", "output": "inline"}))


def test_a_file_lands_in_the_workspace_whatever_name_the_interfaces_process_says(world):
    """Interface code may be isolated; its process' own words must not lead the worker out of the workspace."""
    (world.folder / "forger.py").write_text(textwrap.dedent("""
        import json, os
        from gpumcp import Context

        @expose
        def forge(context: Context) -> dict:
            text = json.dumps({"kept": {}}).encode()
            head = {"type": "result", "id": context._id, "json_bytes": len(text), "wrapped": False, "run_ms": 1, "bytes": len(text) + 3,
                    "blobs": [{"pointer": "/kept", "nbytes": 3, "mime_type": "x", "name": "../../.hidden/../esc ape\\n.n/y", "shape": []}]}
            data = json.dumps(head).encode() + b"\\n" + text + b"abc"
            assert os.write(3, data) == len(data)
            return {}
        """))
    workspace = world.folder / "deep/work"
    workspace.mkdir(parents=True)
    front = world.serve(world.folder / "forger.py", *PYTHON, "--workspace", workspace)
    kept = pathlib.Path(value_of(front.call("forge", {}, **{"gpumcp/output": "file"}))["kept"]["path"])
    assert kept.parent == workspace and kept.read_bytes() == b"abc" and not kept.name.startswith("."), kept
    assert [path for path in world.folder.rglob("*abc*")] == []
    front.close()

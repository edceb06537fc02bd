"""get_embedding and its family on the real MiniLM model, through a front and a worker, against the stored goldens."""

import base64
import io
import json
import math
import pathlib

import numpy
import pytest
from client import call, request, text_of
from conftest import MINILM, ROOT

GOLDEN = ROOT / "tests/golden/minilm"
TEXTS = [json.loads(line)["text"] for line in (GOLDEN / "texts.jsonl").read_text().splitlines()]
ROWS = numpy.load(GOLDEN / "embeddings.npy")
TOLERANCE = 1e-6
HELLO = "hello world"


@pytest.fixture(scope="module")
def front(shared_world):
    return shared_world.serve()


def value_of(result):
    assert not result.get("isError"), text_of(result)
    return result["structuredContent"]


def array_at(front, uri):
    content = front.read_resource(uri)
    assert content["uri"] == uri and content["mimeType"] == "application/x-npy"
    return numpy.load(io.BytesIO(base64.b64decode(content["blob"], validate=True)), allow_pickle=False)


def test_single_calls_equal_the_goldens(front):
    worst = 0.0
    for text, row in zip(TEXTS, ROWS, strict=True):
        value = value_of(front.call("get_embedding", {"text": text, "output": "inline"}))
        got = numpy.array(value["embedding"], dtype=numpy.float64)
        assert got.shape == (384,)
        worst = max(worst, float(numpy.abs(got - row).max()))
    assert worst <= TOLERANCE


def test_calls_outstanding_at_once_equal_the_goldens_and_share_batches(front):
    keys = [front.start(call(f"p{i}", "get_embedding", {"text": text, "output": "inline"}))
            for i, text in enumerate(TEXTS)]
    results = [front.finish(key)["result"] for key in keys]
    got = numpy.array([value_of(result)["embedding"] for result in results])
    assert numpy.abs(got - ROWS).max() <= TOLERANCE
    assert max(result["_meta"]["gpumcp/usage"]["batch_size"] for result in results) > 1


def test_get_embeddings_gives_one_artifact_that_equals_the_goldens(front):
    tools = {tool["name"]: tool for tool in front.ask(request(1, "tools/list"))["result"]["tools"]}
    limit = tools["get_embeddings"]["inputSchema"]["properties"]["texts"]["maxItems"]
    assert limit >= 16
    rows = []
    for begin in range(0, len(TEXTS), limit):
        value = value_of(front.call("get_embeddings", {"texts": TEXTS[begin:begin + limit]}))
        rows.append(array_at(front, value["uri"]))
        assert rows[-1].dtype == numpy.float32
    got = numpy.concatenate(rows)
    assert got.shape == (len(TEXTS), 384)
    assert numpy.abs(got - ROWS).max() <= TOLERANCE


def check_common(result, text):
    value = value_of(result)
    row = ROWS[TEXTS.index(text)] if text in TEXTS else None
    assert value["text"] == text[:200]
    assert value["model"] == MINILM
    assert value["dims"] == 384 and value["dtype"] == "float32"
    assert math.isclose(value["norm"], 1.0, abs_tol=1e-5)
    assert len(value["preview"]) == 10
    if row is not None:
        assert numpy.abs(numpy.array(value["preview"]) - row[:10]).max() <= TOLERANCE
    said = text_of(result)
    assert said and not said.startswith("[")
    return value


def test_output_ref_is_small_and_points_to_the_vector(front):
    text = TEXTS[0]
    for arguments in ({"text": text}, {"text": text, "output": "ref"}):
        result = front.call("get_embedding", arguments)
        value = check_common(result, text)
        assert set(value)  == {"text", "model", "dims", "dtype", "norm", "preview", "uri"}
        assert value["uri"].startswith("gpumcp://artifacts/")
        assert len(json.dumps(value)) < 1024
        assert len(text_of(result)) < 1024
        (link,) = [part for part in result["content"] if part["type"] == "resource_link"]
        assert link["uri"] == value["uri"] and link["mimeType"] == "application/x-npy" and link["name"]
        stored = array_at(front, value["uri"])
        assert stored.dtype == numpy.float32 and stored.size == 384
        assert numpy.abs(stored.reshape(-1) - ROWS[0]).max() <= TOLERANCE


def test_output_inline_holds_all_of_the_vector_and_no_reference(front):
    value = check_common(front.call("get_embedding", {"text": TEXTS[0], "output": "inline"}), TEXTS[0])
    assert len(value["embedding"]) == 384
    assert "uri" not in value and "path" not in value


def test_output_file_names_an_npy_file(front):
    result = front.call("get_embedding", {"text": TEXTS[0], "output": "file"})
    value = check_common(result, TEXTS[0])
    path = pathlib.Path(value["path"])
    try:
        assert path.is_absolute() and path.suffix == ".npy"
        stored = numpy.load(path, allow_pickle=False)
        assert numpy.abs(stored.reshape(-1) - ROWS[0]).max() <= TOLERANCE
        assert len(json.dumps(value)) < 1024 and len(text_of(result)) < 1024
    finally:
        path.unlink(missing_ok=True)


def test_usage_says_what_a_call_cost(front):
    usage = front.call("get_embedding", {"text": HELLO})["_meta"]["gpumcp/usage"]
    assert {"queue_ms", "load_ms", "tokenize_ms", "gpu_ms", "batch_size", "tokens", "cold", "gpu_held_s"} <= set(usage)
    assert all(isinstance(v, (int, float)) for v in usage.values())
    assert usage["tokens"] == 4 and usage["batch_size"] >= 1 and usage["gpu_ms"] > 0


def test_similarity_ranks_texts_and_artifacts(front):
    uri = value_of(front.call("get_embedding", {"text": "a cat sat on the mat"}))["uri"]
    choices = ["the stock market fell", "a kitten sits on a rug", "integrals of rational functions"]
    schema = {t["name"]: t for t in front.ask(request(1, "tools/list"))["result"]["tools"]}["similarity"]["inputSchema"]
    left, right = list(schema["properties"])[:2]
    for query in ("a cat sat on the mat", uri):
        as_list = schema["properties"][left].get("type") == "array"
        value = value_of(front.call("similarity", {left: [query] if as_list else query, right: choices}))
        assert "kitten" in json.dumps(value) or json.dumps(value).find('"index": 1') >= 0
        scores = sorted((s for s in numbers_called(value, "score")), reverse=True)
        assert len(scores) == 3 and all(-1.0001 <= s <= 1.0001 for s in scores)
        assert next(numbers_called(value, "score")) == scores[0], "the best comes first"


def numbers_called(value, name):
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == name and isinstance(inner, (int, float)):
                yield inner
            else:
                yield from numbers_called(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from numbers_called(inner, name)


def test_model_info_tells_the_model(front):
    value = value_of(front.call("get_model_info"))
    said = json.dumps(value)
    assert MINILM in said and "384" in said
    assert "cpu" in said.lower() or "cuda" in said.lower()


@pytest.mark.parametrize("tool, arguments, path", [
    ("get_embedding", {}, "text"),
    ("get_embedding", {"text": None}, "text"),
    ("get_embedding", {"text": 5}, "text"),
    ("get_embedding", {"text": ["a"]}, "text"),
    ("get_embedding", {"text": "a", "extra": 1}, "extra"),
    ("get_embedding", {"text": "a", "output": "csv"}, "output"),
    ("get_embedding", {"text": "a", "output": None}, "output"),
    ("get_embedding", {"text": "a", "output": 1}, "output"),
    ("get_embeddings", {}, "texts"),
    ("get_embeddings", {"texts": "a"}, "texts"),
    ("get_embeddings", {"texts": []}, "texts"),
    ("get_embeddings", {"texts": ["a", 5]}, "1"),
    ("get_embeddings", {"texts": ["a"] * 100_000}, "texts"),
    ("get_model_info", {"extra": 1}, "extra"),
])
def test_bad_arguments_are_tool_errors_that_name_the_path(front, tool, arguments, path):
    result = front.call(tool, arguments)
    assert result["isError"] is True
    assert path in text_of(result)
    assert len(text_of(result)) < 1024


@pytest.mark.parametrize("uri", ["gpumcp://artifacts/nope", "file:///etc/passwd", "gpumcp://artifacts/../../x", "",
                                 "gpumcp://artifacts/"])
def test_an_unknown_resource_is_a_protocol_error(front, uri):
    reply = front.ask(request(1, "resources/read", {"uri": uri}))
    assert reply["error"]["code"] == -32602


def test_an_empty_text_has_a_vector(front):
    value = value_of(front.call("get_embedding", {"text": "", "output": "inline"}))
    assert value["text"] == "" and len(value["embedding"]) == 384


def test_nul_and_odd_characters_in_a_text_are_cleaned_as_the_model_says(front):
    plain = value_of(front.call("get_embedding", {"text": HELLO, "output": "inline"}))["embedding"]
    odd = value_of(front.call("get_embedding", {"text": "hel\0lo\u200b world\ufffd", "output": "inline"}))["embedding"]
    assert numpy.abs(numpy.array(plain) - numpy.array(odd)).max() <= TOLERANCE


def test_a_text_of_a_megabyte_is_truncated_and_the_result_says_so(front):
    text = "lorem ipsum " * 90_000
    result = front.call("get_embedding", {"text": text})
    value = value_of(result)
    assert value["text"] == text[:200]
    assert value["truncated"] is True
    assert value["max_tokens"] == 256 and value["tokens"] == 360_002
    assert "truncated" in text_of(result)
    assert len(json.dumps(value)) < 1024

"""Several interfaces in one sandbox: whose tools have which names, which model each takes, and one worker for all."""

import json

import client
import pytest
from client import request, text_of
from conftest import BIN, MINILM

INTERFACES = BIN.parents[1] / "lib/gpumcp/interfaces"

SMOLLM2 = "HuggingFaceTB/SmolLM2-135M-Instruct"
BOTH = ["embeddings", "language_model"]
BUILT_IN = ["embeddings", "language_model", "interpretability", "tensors"]


def names_of(front):
    return {tool["name"] for tool in front.ask(request(1, "tools/list"))["result"]["tools"]}


def value_of(result):
    assert not result.get("isError"), text_of(result)
    return result["structuredContent"]


@pytest.mark.parametrize("provider", ["local", "command:{worker}"])
def test_tools_of_one_name_get_their_interfaces_names(world, provider):
    front = world.serve(*BOTH, "--provider", provider)
    names = names_of(front)
    assert {"embedding_get_model_info", "language_get_model_info"} <= names
    assert {"get_embedding", "similarity", "generate", "chat", "tokenize"} <= names, "other names stay as they were"
    assert "get_model_info" not in names
    assert value_of(front.call("embedding_get_model_info"))["model"] == MINILM
    assert value_of(front.call("language_get_model_info"))["model"] == SMOLLM2
    assert "error" in front.ask(client.call(9, "get_model_info")), "the name that both have is nobody's"
    assert value_of(front.call("get_embedding", {"text": "hello world"}))["dims"] == 384
    assert value_of(front.call("tokenize", {"text": "hello world"}))["count"] == 2


def test_all_built_in_interfaces_together_have_short_names_and_no_tool_is_lost(world):
    """Hosts put a server's name before a tool's, and refuse more than 64 characters in all."""
    front = world.serve(*BUILT_IN)
    names = [tool["name"] for tool in front.ask(request(1, "tools/list"))["result"]["tools"]]
    assert len(names) == len(set(names)) == 6 + 6 + 10 + 12
    assert max(map(len, names)) <= 24, sorted(names, key=len)[-1]
    listed = sum(len(json.loads((INTERFACES / f"{name}.json").read_text())["tools"]) for name in BUILT_IN)
    assert len(names) == listed
    assert {"embedding_get_model_info", "language_get_model_info", "steer", "search", "pca"} <= set(names)
    handle = value_of(front.call("steer", {"vector": value_of(front.call("contrast_vector", {
        "positive": ["I love it."], "negative": ["I hate it."], "layers": [-15]}))["uri"]}))["handle"]
    assert value_of(front.call("next_tokens", {"text": "It is", "steering": [{"handle": handle}]}))["tokens"]


def test_each_interface_takes_the_model_that_fits_it(world):
    front = world.serve(*BOTH, "--model", SMOLLM2)
    assert value_of(front.call("embedding_get_model_info"))["model"] == MINILM
    assert value_of(front.call("language_get_model_info"))["model"] == SMOLLM2
    front.close()
    front = world.serve(*BOTH, "--model", SMOLLM2, "--model", MINILM)
    assert value_of(front.call("embedding_get_model_info"))["model"] == MINILM
    front.close()
    front = world.serve("language_model", "--model", MINILM)
    result = front.call("generate", {"prompt": "x"})
    assert result["isError"] and "generates no text" in text_of(result), "a model that was meant is never replaced in silence"


def test_gpumcp_generate_finds_its_tools_beside_others(world):
    http = world.serve_http(*BOTH)
    done = world.run("generate", "--url", f"http://{http.host}:{http.port}/mcp", "--temperature", "0", "--max-new-tokens", "48",
                     "What is the capital of France? Answer in one sentence.")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "The capital of France is Paris.\n"


def test_two_files_of_one_name_are_refused(world):
    for folder in ["a", "b"]:
        (world.folder / folder).mkdir()
        (world.folder / folder / "same.py").write_text('@expose\ndef hello() -> str:\n    """Says it."""\n    return "x"\n')
    done = world.run("serve", world.folder / "a/same.py", world.folder / "b/same.py")
    assert done.returncode == 1
    assert "a/same.py and" in done.stderr and "same_hello" in done.stderr and "gpumcp.toml" in done.stderr

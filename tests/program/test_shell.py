"""gpumcp embed, tokenize and models: what they write and print, in the worker that agents use."""

import json
import os
import signal
import subprocess

import client
import numpy
import pytest
from conftest import BIN, MINILM, ROOT

OK, USAGE, TOOL_ERROR, INTERRUPTED = 0, 1, 5, 130
GOLDEN = ROOT / "tests/golden"
TEXTS = [json.loads(line) for line in (GOLDEN / "minilm/texts.jsonl").read_text().splitlines()]
IDS = [json.loads(line)["ids"] for line in (GOLDEN / "minilm/tokens.jsonl").read_text().splitlines()]


def feed(world, text, *arguments):
    return subprocess.run([str(BIN), *map(str, arguments)], env=world.env, input=text, capture_output=True, text=True,
                          timeout=120)


def json_lines(values):
    return "".join(json.dumps(value) + "\n" for value in values)


# --- embed ---

def test_embed_writes_the_rows_of_sentence_transformers(shared_world, tmp_path):
    lines = tmp_path / "texts.jsonl"
    lines.write_text(json_lines(text if text["id"] % 2 else text["text"] for text in TEXTS))
    out = tmp_path / "vectors.npy"
    done = shared_world.run("embed", lines, "--model", MINILM, "--out", out)
    assert done.returncode == OK, done.stderr
    assert done.stdout == ""
    assert "float32 [347, 384]" in done.stderr and "cut to 256 tokens" in done.stderr
    rows = numpy.load(out)
    assert rows.dtype == numpy.float32 and rows.shape == (347, 384)
    assert abs(rows - numpy.load(GOLDEN / "minilm/embeddings.npy")).max() <= 2e-6
    assert os.listdir(tmp_path).count("vectors.npy") == 1 and len(os.listdir(tmp_path)) == 2, "nothing is left over"


def test_embed_takes_plain_lines_from_stdin_blank_ones_too(shared_world, tmp_path):
    out = tmp_path / "v.npy"
    done = feed(shared_world, "hello world\r\n\n{not json}\nhello world", "embed", "-", "--out", out)
    assert done.returncode == OK, done.stderr
    rows = numpy.load(out)
    assert rows.shape == (4, 384)
    assert numpy.array_equal(rows[0], rows[3]) or abs(rows[0] - rows[3]).max() <= 1e-6
    assert abs(rows[0] - rows[1]).max() > 0.01


def test_embed_of_no_texts_is_an_empty_array_of_the_models_width(shared_world, tmp_path):
    out = tmp_path / "v.npy"
    assert feed(shared_world, "", "embed", "-", "--out", out).returncode == OK
    assert numpy.load(out).shape == (0, 384)


def test_embed_cuts_to_dims_at_length_one(shared_world, tmp_path):
    whole, cut = tmp_path / "a.npy", tmp_path / "b.npy"
    assert feed(shared_world, "one\ntwo\n", "embed", "-", "--out", whole).returncode == OK
    assert feed(shared_world, "one\ntwo\n", "embed", "-", "--out", cut, "--dims", 64).returncode == OK
    expected = numpy.load(whole)[:, :64]
    expected = expected / numpy.linalg.norm(expected, axis=1, keepdims=True)
    assert numpy.load(cut).shape == (2, 64)
    assert abs(numpy.load(cut) - expected).max() <= 1e-6
    done = feed(shared_world, "one\n", "embed", "-", "--out", cut, "--dims", 385)
    assert done.returncode == TOOL_ERROR and "384" in done.stderr


def test_embed_says_which_line_is_wrong_and_writes_nothing(shared_world, tmp_path):
    out = tmp_path / "v.npy"
    done = feed(shared_world, '"fine"\nnot json\n', "embed", "-", "--out", out)
    assert done.returncode == USAGE and "line 2" in done.stderr
    done = feed(shared_world, '{"text": "fine"}\n{"txt": "no"}\n', "embed", "-", "--out", out)
    assert done.returncode == USAGE and "line 2" in done.stderr
    bad = tmp_path / "latin1.txt"
    bad.write_bytes(b"fine\nf\xfcr\n")
    done = shared_world.run("embed", bad, "--out", out)
    assert done.returncode == USAGE and "line 2" in done.stderr and "UTF-8" in done.stderr
    assert os.listdir(tmp_path) == ["latin1.txt"]


@pytest.mark.parametrize("arguments, says", [
    (["embed", "/nonexistent", "--out", "v.npy"], "/nonexistent"),
    (["embed", "-", "--out", "/nonexistent/v.npy"], "/nonexistent/v.npy"),
    (["embed", "-", "--out", "/tmp"], "folder"),
    (["embed", "-", "--out", "v.npy", "--model", "./nowhere"], "nowhere"),
    (["embed", "-"], "--out"),
    (["tokenize"], "--model"),
])
def test_wrong_usage_says_why(shared_world, tmp_path, arguments, says):
    done = shared_world.run(*arguments, cwd=tmp_path)
    assert done.returncode == USAGE, done.stderr
    assert says in done.stderr
    assert os.listdir(tmp_path) == []


def test_a_model_that_is_not_here_names_pull(shared_world, tmp_path):
    done = feed(shared_world, "a\n", "embed", "-", "--out", tmp_path / "v.npy", "--model", "org/nowhere")
    assert done.returncode == TOOL_ERROR
    assert "gpumcp pull org/nowhere" in done.stderr
    assert os.listdir(tmp_path) == []


def test_embed_runs_in_the_agents_worker(world, tmp_path):
    world.idle = "60"
    front = world.serve()
    front.call("get_embedding", {"text": "a"})
    (worker,) = world.workers()
    out = tmp_path / "v.npy"
    assert feed(world, "a\nb\n", "embed", "-", "--out", out).returncode == OK
    assert feed(world, '"a"\n', "tokenize", "--model", MINILM).returncode == OK
    assert world.workers() == [worker]
    listed = front.ask(client.request(front.new_id(), "tools/list"))["result"]["tools"]
    names = {tool["name"] for tool in listed}
    assert not any(name.startswith("gpumcp_") for name in names), "agents see no tools of the shell"


def test_ctrl_c_ends_embed_and_leaves_no_file(world, tmp_path):
    out = tmp_path / "v.npy"
    process = subprocess.Popen([str(BIN), "embed", "-", "--out", str(out)], env=world.env, stdin=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    process.stdin.write("a line\n")
    process.stdin.flush()
    client.wait_until(lambda: world.workers(), 60, "a worker starts")
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == INTERRUPTED
    process.stdin.close()
    assert process.stderr.read() == ""
    assert os.listdir(tmp_path) == []


# --- tokenize ---

def test_tokenize_gives_the_ids_of_the_goldens_untruncated(shared_world):
    done = feed(shared_world, json_lines(text["text"] for text in TEXTS), "tokenize", "--model", MINILM)
    assert done.returncode == OK, done.stderr
    assert [json.loads(line)["ids"] for line in done.stdout.splitlines()] == IDS
    done = feed(shared_world, json_lines(text["text"] for text in TEXTS), "tokenize", "--model", MINILM, "--no-special")
    assert [json.loads(line)["ids"] for line in done.stdout.splitlines()] == [ids[1:-1] for ids in IDS]


def test_tokenize_decodes_ids_in_both_forms(shared_world):
    lines = '{"ids":[101,7592,1010,2088,102]}\n[7592,2088]\n'
    done = feed(shared_world, lines, "tokenize", "--model", MINILM, "--decode")
    assert done.returncode == OK, done.stderr
    assert done.stdout == '"[CLS] hello, world [SEP]"\n"hello world"\n'
    done = feed(shared_world, lines, "tokenize", "--model", MINILM, "--decode", "--no-special")
    assert done.stdout == '"hello, world"\n"hello world"\n'
    done = feed(shared_world, "[30522]\n", "tokenize", "--model", MINILM, "--decode")
    assert done.returncode == TOOL_ERROR and "30522" in done.stderr


@pytest.mark.parametrize("options, line", [((), "plain words"), (("--decode",), '{"ids":["a"]}'), (("--decode",), "5")])
def test_tokenize_names_the_line_that_is_wrong(shared_world, options, line):
    good = "[1]\n" if options else '"good"\n'
    done = feed(shared_world, good + line + "\n", "tokenize", "--model", MINILM, *options)
    assert done.returncode == USAGE and "line 2" in done.stderr


def test_tokenize_answers_each_line_as_it_comes(shared_world):
    process = subprocess.Popen([str(BIN), "tokenize", "--model", MINILM, "--plain"], env=shared_world.env,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    for word in ("hello", "world"):
        process.stdin.write(word + "\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["ids"][0] == 101
    process.stdin.close()
    assert process.wait(20) == OK


def test_a_folder_can_be_the_model(shared_world, tmp_path):
    folder = next(entry["folder"] for entry in models(shared_world) if entry["name"] == MINILM)
    (tmp_path / "mine").symlink_to(folder)
    for model in (tmp_path / "mine", "./mine", "my/name=" + str(tmp_path / "mine")):
        done = subprocess.run([str(BIN), "tokenize", "--model", str(model)], env=shared_world.env, input='"hello"\n',
                              capture_output=True, text=True, cwd=tmp_path, timeout=60)
        assert done.stdout == '{"ids":[101,7592,102]}\n', done.stderr


# --- models ---

def models(world, env=None):
    done = world.run("models", "--json", env=env)
    assert done.returncode == OK, done.stderr
    return json.loads(done.stdout)


def make_model(folder, config):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))


def test_models_lists_type_size_and_whether_it_runs(world, tmp_path):
    make_model(tmp_path / "org/odd", {"model_type": "mamba"})
    make_model(tmp_path / "org/empty", {"model_type": "bert"})
    listed = {entry["name"]: entry for entry in models(world, {"GPUMCP_MODELS": str(tmp_path)})}
    minilm = listed[MINILM]
    assert minilm["model_type"] == "bert" and minilm["dtype"] == "float32"
    assert minilm["supported"] and minilm["state"] == "cold" and minilm["store"] == "gpumcp"
    assert 90_000_000 < minilm["bytes"] < 91_000_000 and 22_000_000 < minilm["parameters"] < 23_000_000
    assert not listed["org/odd"]["supported"] and listed["org/odd"]["store"] == "GPUMCP_MODELS"
    assert not listed["org/empty"]["supported"] and listed["org/empty"]["problem"]
    done = world.run("models", env={"GPUMCP_MODELS": str(tmp_path)})
    assert MINILM in done.stdout and "does not run" in done.stdout
    assert world.workers() == [], "listing starts no worker"


def test_models_says_what_a_worker_holds(world):
    world.idle = "60"
    front = world.serve()
    front.call("get_embedding", {"text": "a"})
    (minilm,) = [entry for entry in models(world) if entry["name"] == MINILM]
    assert minilm["state"].startswith("hot on")


def test_models_of_an_empty_machine_names_pull(world, tmp_path):
    done = world.run("models", env={"GPUMCP_CACHE": str(tmp_path), "HF_HOME": str(tmp_path)})
    assert done.returncode == OK and "gpumcp pull" in done.stdout

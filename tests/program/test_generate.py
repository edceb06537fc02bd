"""gpumcp generate as a shell sees it, on the real SmolLM2: text on stdout as it comes, notes on stderr, clean ends."""

import json
import math
import signal
import struct
import subprocess
import time

import client
from conftest import BIN

SMOLLM2 = "HuggingFaceTB/SmolLM2-135M-Instruct"
OK, USAGE, UNREACHABLE, TOOL_ERROR, INTERRUPTED = 0, 1, 4, 5, 130
GREEDY = ["--temperature", "0", "--max-new-tokens", "48"]


def test_a_question_is_answered_by_the_chat_template(world):
    done = world.run("generate", *GREEDY, "What is the capital of France? Answer in one sentence.")
    assert done.returncode == OK, done.stderr
    assert done.stdout == "The capital of France is Paris.\n"
    assert "eos" in done.stderr and "tokens/s" in done.stderr


def test_raw_goes_on_from_the_prompt(world):
    done = world.run("generate", "--raw", *GREEDY, "The capital of France is")
    assert done.returncode == OK, done.stderr
    assert done.stdout == " Paris.\n\nThe answer is: 2018-01-22 12:12:53.\n"
    done = world.run("generate", "--raw", *GREEDY, "--stop", "answer", "The capital of France is")
    assert done.stdout == " Paris.\n\nThe \n"
    assert "stop" in done.stderr


def test_a_seed_gives_the_same_text_again(world):
    words = ["generate", "--raw", "--temperature", "1", "--max-new-tokens", "16", "--seed", "5", "Once upon a time"]
    first, again = world.run(*words), world.run(*words)
    assert first.returncode == OK, first.stderr
    assert first.stdout == again.stdout
    assert "seed 5" in first.stderr


def test_a_long_text_comes_whole_though_results_are_short(world):
    words = ["--temperature", "0", "--max-new-tokens", "300", "Write a long story about a village by the sea."]
    done = world.run("generate", *words)
    assert done.returncode == OK, done.stderr
    assert len(done.stdout) > 1024 and "…" not in done.stdout
    called = world.run("call", "chat", "--json", json.dumps({"messages": [{"role": "user", "content": words[-1]}], "temperature": 0,
                                                             "max_new_tokens": 300}), "--", BIN, "serve", "language_model")
    assert called.returncode == OK, called.stderr
    value = json.loads(called.stdout)
    assert len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()) < 1024
    assert value["text"].endswith("…") and done.stdout.startswith(value["text"][:-1]) and value["full_text"].startswith("gpumcp://")


def adapter_of_layers(folder, layers=(3, 9, 15)):
    """A LoRA adapter of SmolLM2 as PEFT saves it, of rank 1 on layers' values, that changes what it says."""
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps({
        "peft_type": "LORA", "r": 1, "lora_alpha": 1, "target_modules": ["v_proj"],
        "base_model_name_or_path": SMOLLM2}))
    header, data = {}, b""
    for layer in layers:
        for part, shape, scale in (("A", [1, 576], 0.2), ("B", [192, 1], 1.0)):
            count = shape[0] * shape[1]
            values = struct.pack(f"<{count}f", *(scale * math.sin(i + 1) for i in range(count)))
            header[f"base_model.model.model.layers.{layer}.self_attn.v_proj.lora_{part}.weight"] = {
                "dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(values)]}
            data += values
    text = json.dumps(header).encode()
    (folder / "adapter_model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
    return folder


def test_adapters_on_one_base_are_chosen_call_by_call(world):
    """--model BASE --model NAME=FOLDER: calls of one front under one adapter, another and none, at once and alone."""
    one, two = adapter_of_layers(world.folder / "one"), adapter_of_layers(world.folder / "two", (20, 25))
    front = world.serve("language_model", "--model", SMOLLM2, "--model", f"tone={one}", "--model", f"other={two}")
    asked = {"prompt": "The capital of France is", "max_new_tokens": 12, "temperature": 0}
    cases = [{}, {"adapter": "tone"}, {"adapter": "other"}, {"adapter": "none"}]
    alone = [front.call("generate", {**asked, **case})["structuredContent"]["text"] for case in cases]
    assert alone[0] == alone[3] == " Paris.\n\nThe answer is: 201"
    assert len(set(alone)) == 3, alone
    keys = [front.start(client.call(f"r{i}", "generate", {**asked, **cases[i % 4]})) for i in range(8)]
    for i, key in enumerate(keys):
        assert front.finish(key)["result"]["structuredContent"]["text"] == alone[i % 4]
    info = front.call("get_model_info")["structuredContent"]
    assert sorted(info["adapters"]) == ["other", "tone"]
    refused = front.call("generate", {**asked, "adapter": "third"})
    assert refused["isError"] and "arguments.adapter" in client.text_of(refused) and "tone" in client.text_of(refused)
    # An adapter named first is what calls get that name none, from the command line as well.
    done = world.run("generate", "--model", f"tone={one}", "--model", SMOLLM2, "--raw", "--temperature", "0", "--max-new-tokens", "12",
                     asked["prompt"])
    assert done.returncode == OK, done.stderr
    assert done.stdout == alone[1] + "\n"


def test_a_prompt_comes_from_stdin_too(world):
    done = subprocess.run([str(BIN), "generate", "--raw", *GREEDY, "-"], env=world.env, input="The capital of France is",
                          capture_output=True, text=True, timeout=client.TIMEOUT_S)
    assert done.returncode == OK, done.stderr
    assert done.stdout.startswith(" Paris.")


def test_text_comes_before_the_end_and_an_interrupt_ends_cleanly(world):
    started = subprocess.Popen([str(BIN), "generate", "--raw", "--temperature", "0", "--max-new-tokens", "5000", "1, 2, 3,"],
                               env=world.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert started.stdout.read(5), "no text came"
    began = time.monotonic()
    started.send_signal(signal.SIGINT)
    _, error = started.communicate(timeout=client.TIMEOUT_S)
    assert time.monotonic() - began < 10
    assert started.returncode == INTERRUPTED, error
    assert b"terminate" not in error and b"Traceback" not in error


def test_what_is_wrong_is_said(world):
    done = world.run("generate", "--chat", "--raw", "x")
    assert done.returncode == USAGE and "one of them" in done.stderr
    done = world.run("generate", "")
    assert done.returncode == USAGE and "empty" in done.stderr
    done = world.run("generate", "--top-p", "0", *GREEDY, "x")
    assert done.returncode == TOOL_ERROR and "top_p is 0" in done.stderr
    done = world.run("generate", "--model", "nobody/nothing", "x")
    assert done.returncode == TOOL_ERROR and "nobody/nothing" in done.stderr
    assert done.stdout == ""

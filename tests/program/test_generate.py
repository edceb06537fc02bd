"""gpumcp generate as a shell sees it, on the real SmolLM2: text on stdout as it comes, notes on stderr, clean ends."""

import signal
import subprocess
import time

import client
from conftest import BIN

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

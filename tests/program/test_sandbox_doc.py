"""docs/sandbox.md: what it shows is read from it and tried. Docker and kubectl are stood for by programs that take the words that
those would get, and run the container's command here."""

import json
import re
import shlex
import sys

from client import text_of
from conftest import BIN, ROOT

DOC = (ROOT / "docs/sandbox.md").read_text()
INTERFACE = '@expose\ndef add(a: int, b: int) -> int:\n    """A sum."""\n    return a + b\n'


def blocks(kind):
    return re.findall(rf"```{kind}\n(.*?)```", DOC, re.DOTALL)


def stand_in(world, name, body):
    """A program on PATH that gets `words`, writes them down, and becomes the command that `body` finds in them."""
    folder = world.folder / "bin"
    folder.mkdir(exist_ok=True)
    program = folder / name
    program.write_text(f"#!{sys.executable}\nimport json, os, sys\nwords = sys.argv[1:]\n"
                       f"json.dump(words, open({str(world.folder / 'words.json')!r}, 'w'))\n{body}\n"
                       f"os.execv({str(BIN)!r}, command)\n")
    program.chmod(0o755)
    world.env["PATH"] = f"{folder}:{world.env['PATH']}"


def test_the_file_is_one_that_gpumcp_reads(world):
    (world.folder / "interface.py").write_text(INTERFACE)
    (world.folder / "gpumcp.toml").write_text(blocks("toml")[0])
    world.env["HF_TOKEN"] = "a-token-of-the-test"
    done = world.run("tools", "--config", world.folder / "gpumcp.toml")
    assert done.returncode == 0 and "add(" in done.stdout, done.stderr
    known = world.run("serve", "--help").stdout
    for flag in re.findall(r"`(--[a-z-]+)`", DOC):
        assert flag in known or flag in world.run("worker", "--help").stdout, flag


def test_the_docker_command_runs_a_worker(world):
    (world.folder / "interface.py").write_text(INTERFACE)
    stand_in(world, "docker", "command = words[words.index('gpumcp'):]")
    line = next(line.strip() for line in DOC.splitlines() if line.startswith("    gpumcp serve") and "docker" in line)
    words = shlex.split(line)
    front = world.serve(*[world.folder / word if word == "interface.py" else word for word in words[2:]], "--gpu-count", "2")
    result = front.call("add", {"a": 2, "b": 3})
    assert not result.get("isError"), text_of(result)
    got = json.loads((world.folder / "words.json").read_text())
    assert got[got.index("--gpus") + 1] == "2" and got[-3:] == ["gpumcp", "worker", "--config-stdin"]
    assert re.fullmatch(r"gpumcp-[0-9a-f]{12}", got[got.index("--name") + 1])
    front.close()


def test_the_kubernetes_template_runs_a_worker(world):
    (world.folder / "interface.py").write_text(INTERFACE)
    (world.folder / "gpumcp.toml").write_text(blocks("toml")[1])
    stand_in(world, "kubectl", "pod = json.loads(next(w for w in words if w.startswith('--overrides=')).split('=', 1)[1])\n"
                               "command = pod['spec']['containers'][0]['command']")
    front = world.serve("--config", world.folder / "gpumcp.toml")
    result = front.call("add", {"a": 2, "b": 3})
    assert not result.get("isError"), text_of(result)
    got = json.loads((world.folder / "words.json").read_text())
    pod = json.loads(got[-1].split("=", 1)[1])
    assert pod["spec"]["nodeSelector"] == {"gpu": "a100"}
    assert pod["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    front.close()


def test_nothing_of_a_call_reaches_the_command(world):
    """Arguments that a shell would act on go down the pipe: the words are the same whatever an agent asks."""
    (world.folder / "interface.py").write_text('@expose\ndef echo(text: str) -> str:\n    """Back."""\n    return text\n')
    stand_in(world, "docker", "command = words[words.index('gpumcp'):]")
    front = world.serve(world.folder / "interface.py", "--provider", "command:docker run gpumcp worker --config-stdin")
    evil = f"$(touch {world.folder}/owned) `touch {world.folder}/owned`; touch {world.folder}/owned '\" \n&|"
    assert front.call("echo", {"text": evil})["structuredContent"]["result"] == evil
    assert not (world.folder / "owned").exists()
    assert json.loads((world.folder / "words.json").read_text()) == ["run", "gpumcp", "worker", "--config-stdin"]
    front.close()

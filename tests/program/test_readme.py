"""The README's commands and code, as a reader would try them."""

import json
import pathlib
import re
import subprocess

import pytest

from conftest import BIN, ROOT

README = (ROOT / "README.md").read_text()


def code_blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.S)


def test_the_server_in_the_readme_is_the_example_that_is_built():
    source = (ROOT / "examples/hello_tool/hello_tool.cpp").read_text()
    shown = next(block for block in code_blocks("cpp") if "int main()" in block)
    body = source[source.index("#include"):]
    assert body.strip() == shown.strip()
    assert len(body.splitlines()) < 15


def test_the_interface_in_the_readme_is_the_example_but_for_the_models_name():
    source = (ROOT / "examples/model_tools/interface.cpp").read_text()
    shown = next(block for block in code_blocks("cpp") if "GPUMCP_INTERFACE" in block)
    built = "".join(source.split())
    for line in shown.splitlines():
        line = re.sub(r"//.*", "", line)
        if "get_model_path" in line:
            continue
        assert "".join(line.split()) in built, line


def test_the_call_of_the_example_prints_what_the_readme_says(world):
    command = re.search(r"`gpumcp (call add [^`]*hello_tool)`", README).group(1).replace("build/release/bin/hello_tool", str(BIN.parent / "hello_tool"))
    expected = re.search(r"hello_tool` prints `([^`]*)`", README).group(1)
    done = world.run(*command.split())
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads(expected)


def test_the_call_in_the_readme_gives_the_keys_that_it_shows(world):
    shown = next(block for block in code_blocks("console") if "get_embedding" in block)
    expected = json.loads(shown[shown.index("{"):shown.rindex("}") + 1])
    done = world.run("call", "get_embedding", "text=hello world", "--idle", "0")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert list(result) == list(expected)
    assert result["preview"] == pytest.approx(expected["preview"], abs=1e-6)


def test_the_desktop_entry_in_the_readme_is_what_config_prints(world):
    shown = json.loads(code_blocks("json")[0])
    printed = json.loads(subprocess.run([str(BIN), "config", "claude-desktop"], capture_output=True, text=True, check=True).stdout)
    shown["mcpServers"]["gpumcp"]["command"] = printed["mcpServers"]["gpumcp"]["command"]
    assert shown == printed
    assert pathlib.Path(printed["mcpServers"]["gpumcp"]["command"]).is_absolute()

"""A sandbox written down in gpumcp.toml."""

import sys

from client import request
from test_providers import TOOLS, value_of


def test_a_file_says_what_the_command_line_would(world):
    other = world.folder / "other.py"
    other.write_text("@expose\ndef other_pid() -> int:\n    import os\n    return os.getpid()\n")
    (world.folder / "gpumcp.toml").write_text(f"""
[sandbox]
name = "both"
idle = 1
python = "{sys.executable}"
provider = "command:env MARK=from-the-file {{worker}}"
env = {{ GREETING = "hello" }}

[[model]]
name = "org/model"
path = "."

[[interface]]
file = "{TOOLS}"
name = "tools"

[[interface]]
file = "other.py"
""")
    config = ["--config", world.folder / "gpumcp.toml"]
    together, apart = world.pipe("serve", *config), world.pipe("serve", "other", *config)

    def names(front):
        return {tool["name"] for tool in front.ask(request(front.new_id(), "tools/list"))["result"]["tools"]}

    assert {"pid", "other_pid"} <= names(together) and names(apart) == {"other_pid"}
    assert value_of(together.call("environment", {"name": "MARK"})) == "from-the-file"
    assert value_of(together.call("environment", {"name": "GREETING"})) == "hello"
    assert value_of(together.call("path_of", {"model": "org/model"})) == str(world.folder)
    assert value_of(apart.call("other_pid")) == value_of(together.call("other_pid")), "one sandbox, shown whole and in part"
    together.close()
    apart.close()
    done = world.run("call", "other_pid", "--provider", "local", *config)
    assert done.returncode == 0, "the command line goes before the file"
    done = world.run("serve", "nothing", *config)
    assert done.returncode == 1 and "tools, other" in done.stderr
    (world.folder / "gpumcp.toml").write_text("[sandbox]\nidel = 3\n")
    done = world.run("serve", *config)
    assert done.returncode == 1 and 'gpumcp.toml:2: unknown key "idel"' in done.stderr

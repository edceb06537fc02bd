"""Calls a function from the shell: call.py FUNCTION [JSON ARGUMENTS]; without arguments it lists the functions."""

import importlib
import inspect
import json
import pathlib
import sys

FOLDER = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER))
NAME = next(path.parent.name for path in FOLDER.glob("*/gpumcp.json"))


def main():
    tools = importlib.import_module(NAME)
    if len(sys.argv) < 2:
        for name in tools.FUNCTIONS:
            print(f"{name}{inspect.signature(getattr(tools, name))}")
        return 0
    name, arguments = sys.argv[1], json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}
    if name not in tools.FUNCTIONS:
        print(f"there is no function {name}; there are: {', '.join(tools.FUNCTIONS)}", file=sys.stderr)
        return 1
    try:
        print(json.dumps(getattr(tools, name)(**arguments), ensure_ascii=False, indent=1, default=repr))
    except (tools.GpumcpError, TypeError) as e:
        print(f"{type(e).__name__}: {e}", file=sys.stderr)
        return 5
    return 0


if __name__ == "__main__":
    sys.exit(main())

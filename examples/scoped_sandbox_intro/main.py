"""An agent works here; the functions of interface.py run on a GPU, which is held only while they do.

    python3 main.py                                              on a machine with gpumcp, for gemma-2-9b
    python3 main.py --model google/gemma-2-9b=FOLDER             with any other model in its place
    python3 main.py --as mcp --agent codex --provider ssh:HOST   as tools, another agent, the GPU elsewhere

The agent is the program `claude` (or `codex`, `gemini`) with your own login. main.cpp is the same in C++.
"""

import argparse
import asyncio
import pathlib

from gpumcp.environment import ScopedSandbox, SandboxConfig, ModelConfig
from gpumcp.workspace import Workspace, Library
from gpumcp.execution import create_local_session
from gpumcp.harness import run_agent

HERE = pathlib.Path(__file__).parent
MODULE_TASK = """
Two Python modules lie in your working folder: `helpers`, which runs here, and `model_tools`, which runs on a GPU.
Write and run Python that calls model_tools.get_model_info() and model_tools.get_embedding("hello world"), formats both
with helpers.format_result(), and show me what it prints.
"""
TOOL_TASK = """
With your tools get the model's information and the embedding of "hello world", and tell me both.
"""


def parse():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="google/gemma-2-9b", metavar="NAME[=FOLDER]")
    parser.add_argument("--as", dest="expose_as", default="library", choices=["library", "mcp"])
    parser.add_argument("--agent", default="claude", choices=["claude", "codex", "gemini"])
    parser.add_argument("--provider", default="local")
    parser.add_argument("--python", help="an interpreter that has torch and transformers, instead of an environment made for this")
    parser.add_argument("--idle", type=float, default=60)
    parser.add_argument("--price", type=float, default=3.95, help="of an hour of the GPU")
    parser.add_argument("--workspace", default=str(HERE / "workspace"))
    return parser.parse_args()


async def main():
    options = parse()
    name, _, folder = options.model.partition("=")
    scoped = ScopedSandbox(SandboxConfig(
        gpu="A100",
        models=[ModelConfig(name=name, path=folder or None)],
        python_packages=[] if options.python else ["torch", "transformers", "accelerate"],
        python_version=options.python,
        provider=options.provider,
        idle=options.idle,
    ))
    scoped.start()
    try:
        model_tools = scoped.serve(str(HERE / "interface.py"), expose_as=options.expose_as, name="model_tools")
        as_tools = options.expose_as == "mcp"
        libraries = [Library.from_file(HERE / "helpers.py")] + ([] if as_tools else [model_tools])
        session = create_local_session(workspace=Workspace(libraries=libraries), workspace_dir=options.workspace, name="intro")
        async for message in run_agent(prompt=TOOL_TASK if as_tools else MODULE_TASK, mcp_config=model_tools if as_tools else {},
                                       provider=options.agent, price=options.price):
            pass  # run_agent has printed it
        print(f"session {session.name}: {message['result']}")
    finally:
        scoped.terminate()


if __name__ == "__main__":
    asyncio.run(main())

"""A server of the official Python SDK, for our client: sdk_server.py stdio | http PORT | sse PORT."""

import sys
from typing import Annotated

from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.resolve import Elicit, Resolve
from pydantic import BaseModel

server = MCPServer("station")


class Name(BaseModel):
    name: str
    city: str = "Bern"


def ask_name() -> Elicit[Name]:
    return Elicit("Who are you?", Name)


@server.tool()
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@server.tool()
def fail() -> str:
    """Fail."""
    raise ToolError("it cannot be done")  # other exceptions' texts stay with the server


@server.tool()
async def count(to: int, context: Context) -> int:
    """Count."""
    for i in range(1, to + 1):
        await context.report_progress(i, to, f"at {i}")
    return to


@server.tool()
def ask(who: Annotated[Name, Resolve(ask_name)]) -> str:
    """Ask for a name."""
    return f"Hello, {who.name} of {who.city}!"


@server.resource("note://hello")
def note() -> str:
    """A note."""
    return "hello there"


@server.prompt()
def greet(name: str) -> str:
    """Greet somebody."""
    return f"Greet {name}."


if sys.argv[1] == "stdio":
    server.run()
elif sys.argv[1] == "http":
    server.run("streamable-http", port=int(sys.argv[2]))
else:
    server.run("sse", port=int(sys.argv[2]))

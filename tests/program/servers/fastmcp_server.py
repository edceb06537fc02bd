"""A FastMCP server, for our client: fastmcp_server.py stdio | http PORT | sse PORT."""

import sys
from dataclasses import dataclass

from fastmcp import Context, FastMCP
from mcp_types import ElicitRequest, ElicitRequestFormParams, ElicitResult, InputRequiredResult

server = FastMCP("station")


@server.tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@server.tool
def fail() -> str:
    """Fail."""
    raise ValueError("it cannot be done")


@server.tool
async def count(to: int, context: Context) -> int:
    """Count."""
    for i in range(1, to + 1):
        await context.report_progress(i, to, f"at {i}")
    return to


@dataclass
class Name:
    name: str
    city: str = "Bern"


FORM = {"type": "object", "properties": {"name": {"type": "string"}, "city": {"type": "string", "default": "Bern"}},
        "required": ["name"]}


@server.tool
async def ask(context: Context) -> str | InputRequiredResult:
    """Ask for a name."""
    if sys.argv[1] == "sse":  # up to 2025-11-25 it is another call
        given = (await context.elicit("Who are you?", Name)).data
        return f"Hello, {given.name} of {given.city}!"
    answer = (context.input_responses or {}).get("who")
    if isinstance(answer, ElicitResult) and answer.content:
        return f"Hello, {answer.content['name']} of {answer.content['city']}!"
    question = ElicitRequestFormParams(message="Who are you?", requested_schema=FORM)
    return InputRequiredResult(input_requests={"who": ElicitRequest(params=question)})


@server.resource("note://hello")
def note() -> str:
    """A note."""
    return "hello there"


@server.prompt
def greet(name: str) -> str:
    """Greet somebody."""
    return f"Greet {name}."


if sys.argv[1] == "stdio":
    server.run(show_banner=False)
else:
    server.run({"http": "http", "sse": "sse"}[sys.argv[1]], port=int(sys.argv[2]), show_banner=False)

"""The official Python SDK lists, calls and reads over stdio and HTTP, in both eras."""

import base64
import os
import sys

import anyio
import pytest
from client import LEGACY, MODERN
from conftest import BIN
from mcp import Client, ClientSession, MCPError, StdioServerParameters
from mcp.client.sse import sse_client

MODES = {"legacy": LEGACY[-1], "auto": MODERN, MODERN: MODERN}


@pytest.fixture(params=["stdio", "http"])
def server(request, world):
    if request.param == "stdio":
        return StdioServerParameters(command=str(BIN), args=["serve", "--idle", "1"], env=world.env)
    http = world.serve_http()
    return f"http://{http.host}:{http.port}/mcp"


@pytest.mark.parametrize("mode", MODES)
def test_it_lists_calls_and_reads(server, mode):
    async def main():
        async with Client(server, mode=mode, read_timeout_seconds=60) as session:
            assert session.protocol_version == MODES[mode]
            assert mode == MODERN or session.server_info.name == "gpumcp"  # a pinned version asks nobody
            tools = {tool.name: tool for tool in (await session.list_tools()).tools}
            assert "get_embedding" in tools
            result = await session.call_tool("get_embedding", {"text": "hello world"})
            assert not result.is_error, result.content
            assert result.structured_content["dims"] == 384
            assert result.content[0].text
            assert result.meta["gpumcp/usage"]["tokens"] == 4
            contents = (await session.read_resource(result.structured_content["uri"])).contents
            assert base64.b64decode(contents[0].blob).startswith(b"\x93NUMPY")

            wrong = await session.call_tool("get_embedding", {"text": 5})
            assert wrong.is_error and "text" in wrong.content[0].text
            with pytest.raises(MCPError):
                await session.call_tool("frobnicate", {})

    anyio.run(main)


@pytest.mark.parametrize("mode", ["legacy", MODERN])
def test_calls_at_once_each_get_their_own_answer(server, mode):
    texts = [f"text number {i}" for i in range(24)]
    answers = {}

    async def main():
        async with Client(server, mode=mode, read_timeout_seconds=60) as session:
            async def one(text):
                answers[text] = (await session.call_tool("get_embedding", {"text": text})).structured_content

            async with anyio.create_task_group() as group:
                for text in texts:
                    group.start_soon(one, text)

    anyio.run(main)
    assert {text: answer["text"] for text, answer in answers.items()} == {text: text for text in texts}


def test_the_sdk_is_the_pinned_one():
    from importlib.metadata import version

    pins = dict(line.split("==") for line in open(os.path.join(os.path.dirname(__file__), "../requirements.txt"))
                if "==" in line)
    assert version("mcp") == pins["mcp"].strip(), sys.executable


def test_the_sse_client_calls_over_http_and_sse(world):
    http = world.serve_http()

    async def main():
        async with sse_client(f"http://{http.host}:{http.port}/sse") as (read, write):
            async with ClientSession(read, write) as session:
                await session.initialize()
                result = await session.call_tool("get_embedding", {"text": "hello world"})
                assert result.structured_content["dims"] == 384

    anyio.run(main)

"""The official Python SDK lists, calls and reads over stdio and HTTP, in both eras."""

import base64
import os
import sys

import anyio
import pytest
from client import LEGACY, MODERN
from conftest import BIN
from everything import everything
from mcp import Client, ClientSession, MCPError, StdioServerParameters
from mcp.client.sse import sse_client
from mcp.types import CreateMessageResult, ElicitResult, ListRootsResult, PromptReference, Root, TextContent

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


@pytest.mark.parametrize("transport, mode", [("stdio", "legacy"), ("stdio", "auto"), ("stdio", MODERN), ("http", "legacy"),
                                             ("http", "auto"), ("http", MODERN), ("sse", "legacy"), ("sse", "auto"),
                                             ("sse", MODERN)])
def test_it_uses_all_that_a_server_offers(world, transport, mode):
    steps, logged = [], []

    async def elicit(context, params):
        names = params.requested_schema["properties"]
        values = {"username": "ada", "email": "ada@example.com", "name": "Ada", "color": "blue"}
        return ElicitResult(action="accept", content={k: v for k, v in values.items() if k in names})

    async def sample(context, params):
        return CreateMessageResult(role="assistant", content=TextContent(type="text", text="Paris"), model="m")

    async def roots(context):
        return ListRootsResult(roots=[Root(uri="file:///tmp", name="tmp")])

    async def progress(done, total, message):
        steps.append(done)

    async def log(params):
        logged.append(params.data)

    async def main(target):
        if transport == "stdio":
            target = StdioServerParameters(command=target[0], args=target[1:], env=world.env)
        elif transport == "sse":
            target = sse_client(target)
        async with Client(target, mode=mode, read_timeout_seconds=60, elicitation_callback=elicit,
                          sampling_callback=sample, list_roots_callback=roots, logging_callback=log,
                          log_level="info") as session:
            modern = mode != "legacy"  # over HTTP+SSE too: each message says what it speaks
            assert session.protocol_version == (MODERN if modern else LEGACY[-1])
            texts = {"test_simple_text": "simple text response", "test_error_handling": "intentionally"}
            for tool, says in texts.items():
                assert says in (await session.call_tool(tool)).content[0].text
            kinds = [block.type for block in (await session.call_tool("test_multiple_content_types")).content]
            assert kinds == ["text", "image", "resource"]
            await session.call_tool("test_tool_with_progress", progress_callback=progress)
            assert steps == [0, 50, 100]
            await session.call_tool("test_tool_with_logging")
            assert "Tool processing data" in logged
            asked = await session.call_tool("test_elicitation", {"message": "Who?"})
            assert "ada@example.com" in asked.content[0].text
            sampled = await session.call_tool("test_sampling", {"prompt": "Capital?"})
            assert sampled.content[0].text == "LLM response: Paris"
            many = await session.call_tool("test_input_required_result_multiple_inputs")
            assert "Paris" in many.content[0].text and "Ada" in many.content[0].text
            rounds = await session.call_tool("test_input_required_result_multi_round")
            assert "Ada" in rounds.content[0].text and "blue" in rounds.content[0].text
            assert "1 roots" in (await session.call_tool("test_input_required_result_list_roots")).content[0].text

            listed = {str(one.uri) for one in (await session.list_resources()).resources}
            assert {"test://static-text", "test://static-binary"} <= listed
            templates = (await session.list_resource_templates()).resource_templates
            assert templates[0].uri_template == "test://template/{id}/data"
            assert '"id":"7"' in (await session.read_resource("test://template/7/data")).contents[0].text
            assert base64.b64decode((await session.read_resource("test://static-binary")).contents[0].blob)
            with pytest.raises(MCPError):
                await session.read_resource("test://none")
            prompts = {one.name for one in (await session.list_prompts()).prompts}
            assert "test_prompt_with_image" in prompts
            prompt = await session.get_prompt("test_prompt_with_arguments", {"arg1": "a", "arg2": "b"})
            assert "arg1='a', arg2='b'" in prompt.messages[0].content.text
            proposed = await session.complete(
                PromptReference(type="ref/prompt", name="test_prompt_with_arguments"), {"name": "arg1", "value": "par"})
            assert proposed.completion.values == ["paris", "park", "party"]

    with everything(world, transport) as target:
        anyio.run(main, target)

"""FastMCP's client lists, calls, asks and reads over every transport, in both eras."""

import anyio
import pytest
from client import LEGACY, MODERN
from conftest import BIN
from fastmcp import Client
from fastmcp.client.transports import SSETransport, StdioTransport, StreamableHttpTransport

from everything import everything

PAIRS = [("stdio", "legacy"), ("stdio", "auto"), ("stdio", MODERN), ("http", "legacy"), ("http", "auto"),
         ("http", MODERN), ("sse", "legacy"), ("sse", "auto"), ("sse", MODERN)]


@pytest.mark.parametrize("transport, mode", PAIRS)
def test_it_uses_all_that_a_server_offers(world, transport, mode):
    with everything(world, transport) as target:
        if transport == "stdio":
            made = StdioTransport(command=target[0], args=target[1:], env=world.env)
        else:
            made = (SSETransport if transport == "sse" else StreamableHttpTransport)(target)
        steps = []

        async def elicit(message, response_type, params, context):
            return {"username": "ada", "email": "ada@example.com"}

        async def sample(messages, params, context):
            return "Paris"

        async def progress(done, total, message):
            steps.append(done)

        async def main():
            async with Client(made, mode=mode, elicitation_handler=elicit, sampling_handler=sample,
                              progress_handler=progress, timeout=60) as session:
                tools = {tool.name for tool in await session.list_tools()}
                assert {"test_simple_text", "test_image_content"} <= tools
                text = await session.call_tool("test_simple_text")
                assert text.content[0].text == "This is a simple text response for testing."
                picture = await session.call_tool("test_image_content")
                assert picture.content[0].mime_type == "image/png"
                wrong = await session.call_tool("test_error_handling", raise_on_error=False)
                assert wrong.is_error and "intentionally" in wrong.content[0].text
                await session.call_tool("test_tool_with_progress")
                assert steps == [0, 50, 100]
                asked = await session.call_tool("test_elicitation", {"message": "Who?"})
                assert "ada@example.com" in asked.content[0].text
                sampled = await session.call_tool("test_sampling", {"prompt": "Capital?"})
                assert sampled.content[0].text == "LLM response: Paris"
                assert "test://static-text" in {str(one.uri) for one in await session.list_resources()}
                read = await session.read_resource("test://template/7/data")
                assert '"id":"7"' in read[0].text
                prompt = await session.get_prompt("test_prompt_with_arguments", {"arg1": "a", "arg2": "b"})
                assert "arg1='a', arg2='b'" in prompt.messages[0].content.text

        anyio.run(main)


def test_legacy_is_the_newest_of_the_older_versions(world):
    async def main(target):
        made = StdioTransport(command=target[0], args=target[1:], env=world.env)
        async with Client(made, mode="legacy") as session:
            assert session.initialize_result.protocol_version == LEGACY[-1]

    with everything(world, "stdio") as target:
        anyio.run(main, target)
    assert BIN

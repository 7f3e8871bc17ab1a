"""Our client against a server made with the official SDK, over stdin and stdout."""

from __future__ import annotations

from typing import Any

from llmos_server.agents.tool import ToolOutput


async def test_tools_are_listed_and_called(start: Any, mcp_helpers: Any) -> None:
    server = await start(
        "stdio_server.py", "bad-schema", env={"TOKEN": "${TOKEN_OF_TEST}"}, max_output_bytes=1024
    ).ready()
    tools = {tool.own_name: tool for tool in server.tools()}
    echo = tools["echo"]
    assert (echo.name, echo.label, echo.source, echo.description) == ("test__echo", "test", "mcp test", "Does echo.")
    assert echo.parameters["properties"] == {"text": {"type": "string"}}
    assert (await echo.run({"text": "hi"})).text.startswith("echo: hi")
    assert await tools["double"].run({"n": 4}) == ToolOutput(text='{"n":8}')
    assert await tools["fail"].run({}) == ToolOutput(text="it went wrong", is_error=True)

    lie = await tools["lie"].run({"n": 1})
    assert lie.is_error
    assert "n:" in lie.text
    assert "integer" in lie.text

    shown, told = (await tools["long"].run({})).text.split("\n")
    assert shown == "é" * 512
    assert "first 1024 of its 200000 bytes" in told

    picture = (await tools["picture"].run({})).text.split("\n")
    assert picture[0] == "see"
    assert "image/png" in picture[1]
    assert "file:///manual" in picture[2]

    env = dict(line.split("=", 1) for line in (await tools["env"].run({})).text.split("\n"))
    assert env["TOKEN"] == "s3cret-value"
    assert env.keys() <= {"PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "USER", "LOGNAME", "TOKEN"}

    assert sorted(server.listing.refused) == ["bad", "large"]
    assert "nonsense" in server.listing.refused["bad"]
    assert "32768" in server.listing.refused["large"]

    await tools["grow"].run({"text": "grown"})
    await mcp_helpers.until(lambda: "grown" in server.listing.offered)
    assert (await server.call("grown", {})).text.startswith("grown:")
    assert server.counts.num_errors == 2
    assert server.num_restarts == 0

"""The Python package `openai-agents`, over the Responses API: function tools, streamed and not, and several turns."""

from __future__ import annotations

import json
from typing import Any

from agents import (
    Agent,
    HostedMCPTool,
    ModelSettings,
    OpenAIResponsesModel,
    RunConfig,
    Runner,
    function_tool,
    set_tracing_disabled,
)
from openai import AsyncOpenAI
from scenarios import QUESTION, Target, run

set_tracing_disabled(True)
ASKED: list[str] = []


@function_tool
def get_weather(city: str) -> str:
    """The weather in a city."""
    ASKED.append(city)
    return f"sunny in {city}"


def agent(target: Target, **settings: Any) -> Agent[Any]:
    model = OpenAIResponsesModel(target.chat_model, AsyncOpenAI(base_url=target.base_url, api_key="none"))
    return Agent(
        name="assistant",
        instructions="You are a helpful assistant.",
        model=model,
        model_settings=ModelSettings(temperature=0, max_tokens=60, **settings),
        tools=[get_weather] if settings else [],
    )


async def answer(target: Target) -> str:
    return str((await Runner.run(agent(target), QUESTION)).final_output)


async def answer_streamed(target: Target) -> str:
    result = Runner.run_streamed(agent(target), QUESTION)
    types = [event.type async for event in result.stream_events()]
    assert "raw_response_event" in types
    return str(result.final_output)


async def _with_tool(target: Target, streamed: bool) -> str:
    """The tool has to be called once; then the model answers, which the SDK sees to."""
    ASKED.clear()
    forced = agent(target, tool_choice="required", parallel_tool_calls=False)
    config = RunConfig(tracing_disabled=True)
    if streamed:
        result: Any = Runner.run_streamed(forced, "What is the weather in Paris?", max_turns=4, run_config=config)
        async for _ in result.stream_events():
            pass
    else:
        result = await Runner.run(forced, "What is the weather in Paris?", max_turns=4, run_config=config)
    assert result.final_output
    return json.dumps({"city": ASKED[0], "items": [item.type for item in result.new_items][:2]})


async def tool(target: Target) -> str:
    return await _with_tool(target, streamed=False)


async def tool_streamed(target: Target) -> str:
    return await _with_tool(target, streamed=True)


async def turns(target: Target) -> str:
    """A second turn over the first one's items, and one over its id."""
    first = await Runner.run(agent(target), QUESTION)
    again: Any = [*first.to_input_list(), {"role": "user", "content": "Say that again."}]
    await Runner.run(agent(target), again)
    await Runner.run(agent(target), "Say that again.", previous_response_id=first.last_response_id)
    return str(first.final_output)


async def hosted(target: Target) -> str:
    """A tool of an MCP server that the server has declared, and that needs approval for each call."""
    config: Any = {
        "type": "mcp",
        "server_label": "echo",
        "allowed_tools": ["echo"],
        "require_approval": "always",
    }
    forced = agent(target, tool_choice="required", parallel_tool_calls=False)
    forced.tools = [HostedMCPTool(tool_config=config, on_approval_request=lambda _: {"approve": True})]
    result = await Runner.run(forced, "Say hello by the tool echo.", max_turns=4)
    output = [item for response in result.raw_responses for item in response.output]
    [call] = [item for item in output if item.type == "mcp_call"]
    assert call.error is None, call
    return " ".join([*(item.type for item in result.new_items), "mcp"])


if __name__ == "__main__":
    run({
        "answer": answer,
        "answer_streamed": answer_streamed,
        "tool": tool,
        "tool_streamed": tool_streamed,
        "turns": turns,
        "hosted": hosted,
    })  # fmt: skip

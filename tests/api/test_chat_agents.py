"""Tools that the server runs, named in chat completions: the client gets one answer, streamed or not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from types import ModuleType
from typing import Any

import openai
import pytest
from agent_fakes import add_tools, calls, turns
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmos_server.access.gate import Gate

ADD = {"type": "plugin_tool", "name": "add"}
SHOUT = {"type": "skill", "name": "shout"}
WEATHER = {"type": "function", "function": {"name": "w", "parameters": {"type": "object", "properties": {}}}}
USER: Any = [{"role": "user", "content": "Hi"}]


@pytest.fixture
def make_agent(make_api: Any, fakes: ModuleType) -> Callable[..., Any]:
    def make(*answers: str, **options: Any) -> Any:
        return make_api(
            turns(*answers),
            renderer=fakes.ByteRenderer(template="<tool_call></tool_call></think>"),
            max_model_len=20000,
            plugins=add_tools(fakes.create_skills()),
            **options,
        )

    return make


async def assembled(api: Any, **fields: Any) -> dict[str, Any]:
    client = openai.AsyncOpenAI(base_url="http://127.0.0.1:8000/v1", api_key="a", http_client=api.http, max_retries=0)
    options = {"include_usage": True}
    body: Any = {"model": "tiny", "messages": USER, "stream_options": options, **fields}
    async with client.chat.completions.stream(**body) as stream:
        async for _ in stream:
            pass
        found = stream.current_completion_snapshot.to_dict()
        return shown(found)


def shown(completion: dict[str, Any]) -> dict[str, Any]:
    [choice] = completion["choices"]
    message = choice["message"]
    return {
        "content": message["content"] or "",
        "reasoning": message.get("reasoning") or "",
        "calls": [call["function"]["name"] for call in message.get("tool_calls") or []],
        "arguments": [call["function"]["arguments"] for call in message.get("tool_calls") or []],
        "finish": choice["finish_reason"],
        "usage": completion["usage"],
    }


async def test_the_client_gets_one_answer(make_agent):
    answers = [calls(("add", {"a": 2, "b": 3})), "It is 5."]
    found = (await make_agent(*answers).chat(tools=[ADD])).json()
    assert found["choices"][0]["message"]["content"] == "It is 5."
    assert "tool_calls" not in found["choices"][0]["message"]
    assert found["choices"][0]["finish_reason"] == "stop"
    api = make_agent(*answers)
    assert await assembled(api, tools=[ADD]) == shown(found)
    assert '{"sum":5}' in api.renderer.decode(api.generator.requests[1].prompt_ids)
    first, second = api.generator.requests
    assert found["usage"]["prompt_tokens"] == len(first.prompt_ids) + len(second.prompt_ids)
    stream = await make_agent(*answers).chat(tools=[ADD], stream=True)
    assert ": add completed\n" in stream.text
    assert stream.text.endswith("data: [DONE]\n\n")


async def test_a_skill_runs_in_a_chat(make_agent):
    found = (await make_agent(calls(("shout", {"text": "hey"})), "quiet", "Done.").chat(tools=[SHOUT])).json()
    assert found["choices"][0]["message"]["content"] == "Done."


async def test_calls_of_the_client_are_the_clients(make_agent):
    answer = calls(("add", {"a": 1}), ("w", {}), text="So.")
    found = (await make_agent(answer).chat(tools=[ADD, WEATHER])).json()
    [call] = found["choices"][0]["message"]["tool_calls"]
    assert (call["function"]["name"], found["choices"][0]["finish_reason"]) == ("w", "tool_calls")
    assert await assembled(make_agent(answer), tools=[ADD, WEATHER]) == shown(found)


async def test_what_cannot_be_had_together_is_refused(make_agent):
    api = make_agent("Hi")
    for fields, param in (
        ({"tools": [ADD], "n": 2}, "n"),
        ({"tools": [ADD], "return_token_ids": True}, "return_token_ids"),
        ({"tools": [{"type": "plugin_tool", "name": "pay"}]}, "tools"),
        ({"tools": [{"type": "plugin_tool", "name": "nope"}]}, "tools[0].name"),
        ({"tools": [ADD, {"type": "web_search"}]}, "tools[1].type"),
        ({"tools": [ADD, {"type": "function", "function": {"name": "a b"}}]}, "tools[1].function.name"),
        ({"tools": [ADD], "model": "skill:shout"}, "tools"),
        ({"tools": [ADD], "temperature": 5}, "temperature"),
    ):
        for extra in ({}, {"stream": True}):
            reply = await api.chat(**fields, **extra)
            assert reply.status_code in (400, 404), reply.text
            assert reply.json()["error"]["param"] == param
    body = {"messages": USER, "tools": [ADD]}
    assert (await api.post("/v1/chat/completions/render", body)).json()["error"]["param"] == "tools[0]"
    assert api.generator.requests == []


async def test_a_key_without_the_tool_may_not_run_it(make_agent, fakes):
    keys = fakes.MemoryKeys()
    headers = {"Authorization": f"Bearer {keys.add(tools=())}"}
    reply = await make_agent("Hi", gate=Gate(keys)).chat(tools=[ADD], headers=headers)
    assert (reply.status_code, reply.json()["error"]["code"]) == (403, "tool_not_allowed")


async def test_engines_that_fail(make_agent):
    api = make_agent(calls(("add", {"a": 1})), "x" * 50)
    api.generator.fail_after = 3
    assert (await api.chat(tools=[ADD])).status_code == 500
    assert '"error"' in (await api.chat(tools=[ADD], stream=True)).text
    assert api.generator.num_holds == 0


async def test_a_client_that_leaves_ends_the_loop(make_agent):
    for extra in ({}, {"stream": True}):
        api = make_agent("x" * 300, step_seconds=0.01)
        task = asyncio.ensure_future(api.chat(tools=[ADD], **extra))
        while not api.generator.generations:
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        for _ in range(100):
            if api.generator.generations[0].aborted.is_set() and not api.generator.num_holds:
                break
            await asyncio.sleep(0.02)
        assert api.generator.generations[0].aborted.is_set()


PIECES = ["", "Hello", "<think>hm</think>Well.", "So."]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
async def test_streamed_equals_unstreamed(make_agent: Any, data: st.DataObject) -> None:
    """Any turns, cut anywhere."""
    wanted = st.lists(st.sampled_from([("add", {"a": 1}), ("fail", {"a": 1}), ("w", {})]), min_size=1, max_size=3)
    num = data.draw(st.integers(0, 3))
    answers = [calls(*data.draw(wanted), text=data.draw(st.sampled_from(PIECES))) for _ in range(num)]
    answers.append(data.draw(st.sampled_from(PIECES)))
    fields: dict[str, Any] = {"tools": [ADD, {"type": "plugin_tool", "name": "fail"}, WEATHER]}
    fields["max_tokens"] = data.draw(st.sampled_from([20, 150, 1000]))
    step = data.draw(st.integers(1, 30))
    whole = (await make_agent(*answers, tokens_per_step=step).chat(**fields)).json()
    assert await assembled(make_agent(*answers, tokens_per_step=step), **fields) == shown(whole)
    assert all(name == "w" for name in shown(whole)["calls"])
    if whole["choices"][0]["finish_reason"] == "tool_calls":
        assert [json.loads(text) for text in shown(whole)["arguments"]]

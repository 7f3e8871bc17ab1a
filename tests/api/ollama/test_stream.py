"""NDJSON: a JSON object a line and nothing else, saying the same as the unstreamed answer."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from types import ModuleType
from typing import Any

import httpx2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmos_server.errors import EngineFailed

WAIT = 20
USER = [{"role": "user", "content": "Hi"}]
TOOL = {"type": "function", "function": {"name": "w", "parameters": {"type": "object"}}}
VARYING = ("created_at", "total_duration", "load_duration", "eval_duration")


async def stream(api: Any, path: str = "/api/chat", **fields: Any) -> list[dict[str, Any]]:
    reply = await api.post(path, {"model": "tiny", "messages": USER, **fields})
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"] == "application/x-ndjson"
    assert reply.text.endswith("\n")
    return [json.loads(line) for line in reply.text.splitlines()]


async def test_it_streams_unless_told_otherwise(api: Any) -> None:
    *lines, last = await stream(api)
    assert [line["message"] for line in lines] == [{"role": "assistant", "content": letter} for letter in "Hello"]
    assert not any(line["done"] for line in lines)
    assert all(set(line) == {"model", "created_at", "message", "done"} for line in lines)
    assert (last["done"], last["done_reason"], last["message"]["content"], last["eval_count"]) == (True, "stop", "", 5)
    reply = await api.post("/api/generate", {"model": "tiny", "prompt": "Hi", "stream": True})
    lines = [json.loads(line) for line in reply.text.splitlines()]
    assert "".join(line["response"] for line in lines) == "Hello"


async def test_no_line_ends_inside_a_line(make_api: Any) -> None:
    """Some clients take Unicode's separators for line ends, httpx's iter_lines among them, which `ollama` uses."""
    text = "a\u2028b\u2029c\u0085d\r\n"
    assert "".join(line["message"]["content"] for line in await stream(make_api(text))) == text


PIECES = st.lists(st.sampled_from(["<think>", "</think>", "Hm. ", "é", "😀", "\n", "x"]), max_size=8)
CALLS = st.lists(st.sampled_from(["Rome", "São Paulo"]), max_size=2)


def joined(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """What a client that reads a stream has in the end."""
    whole: dict[str, Any] = {"message": {"role": "assistant", "content": ""}}
    for line in lines:
        for name, value in line.pop("message").items():
            if name != "role":
                empty: Any = "" if isinstance(value, str) else []
                whole["message"][name] = whole["message"].get(name, empty) + value
        whole["logprobs"] = whole.get("logprobs", []) + line.pop("logprobs", [])
    return whole | lines[-1]


def comparable(answer: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in answer.items() if name not in VARYING}
    for call in kept["message"].get("tool_calls", []):
        call.pop("id")
    return kept


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(PIECES, CALLS, st.sampled_from([1, 3, 1000]), st.integers(1, 200))
def test_streamed_equals_unstreamed(
    make_api: Any, fakes: ModuleType, pieces: list[str], cities: list[str], per_step: int, num_predict: int
) -> None:
    calls = [f'<tool_call>\n{{"name": "w", "arguments": {{"city": "{city}"}}}}\n</tool_call>' for city in cities]
    renderer = fakes.ByteRenderer(template="<think></think>")
    api = make_api("".join([*pieces, *calls]), renderer=renderer, max_model_len=4000, tokens_per_step=per_step)
    fields = {"tools": [TOOL], "logprobs": True, "top_logprobs": 1, "options": {"num_predict": num_predict, "seed": 1}}

    async def both() -> tuple[Any, Any]:
        whole = await api.post("/api/chat", {"model": "tiny", "messages": USER, "stream": False, **fields})
        return whole.json(), joined(await stream(api, **fields))

    whole, streamed = asyncio.run(both())
    assert comparable(streamed) == comparable(whole)


async def test_a_stream_that_waits_for_a_load_gets_nothing_but_its_answer(make_api: Any) -> None:
    """No comments, no pings: every line is JSON."""
    api = make_api(state="loading", settings={"ping_seconds": 0.1})
    task = asyncio.create_task(stream(api))
    await asyncio.sleep(0.3)
    api.generator.loaded.set()
    *_, last = await task
    assert last["load_duration"] > 10**8


async def test_a_failure_in_mid_stream_is_a_line(api: Any) -> None:
    api.generator.fail_after, api.generator.failure = 2, EngineFailed("The engine died.")
    *lines, error = await stream(api)
    assert "".join(line["message"]["content"] for line in lines) == "He"
    assert error == {"error": "The engine died."}


async def test_a_failure_before_the_first_text_has_its_status(api: Any) -> None:
    api.generator.fail_after, api.generator.failure = 0, EngineFailed("The engine died.")
    reply = await api.post("/api/chat", {"model": "tiny", "messages": USER})
    assert (reply.status_code, reply.json()) == (503, {"error": "The engine died."})


async def test_an_unexpected_failure_is_told_without_its_text(api: Any) -> None:
    api.generator.fail_after, api.generator.failure = 1, RuntimeError("secret")
    *_, error = await stream(api)
    assert "secret" not in error["error"]


def wait_until(condition: Callable[[], Any]) -> None:
    ready = threading.Event()
    for _ in range(WAIT * 100):
        if condition():
            return
        ready.wait(0.01)
    raise AssertionError("it did not come to pass")


def test_a_client_that_leaves_frees_its_place(make_api: Any, run_app: Any) -> None:
    api = make_api(lambda request, index: b"x" * 10**6, max_model_len=10**7, step_seconds=0.005)
    body = {"model": "tiny", "messages": USER}
    with run_app(api.app) as url, httpx2.Client() as client:
        with client.stream("POST", f"{url}/api/chat", json=body) as reply:
            next(reply.iter_lines())
        wait_until(api.generator.generations[0].aborted.is_set)
        wait_until(lambda: api.generator.num_holds == 0)

"""Server-sent events: the shape of the stream, and that it says the same as the unstreamed answer."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


def events(text: str) -> list[Any]:
    """The data of every event; None for [DONE]."""
    parsed = []
    for block in text.split("\n\n")[:-1]:
        lines = block.split("\n")
        if all(line.startswith(":") for line in lines):
            continue
        [line] = lines
        assert line.startswith("data: ")
        parsed.append(None if line == "data: [DONE]" else json.loads(line.removeprefix("data: ")))
    return parsed


async def test_the_chunks_of_a_chat(api):
    reply = await api.chat(stream=True)
    assert reply.status_code == 200
    assert reply.headers["content-type"].startswith("text/event-stream")
    *chunks, done = events(reply.text)
    assert done is None
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert len({chunk["created"] for chunk in chunks}) == 1
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert all("usage" not in chunk for chunk in chunks)
    choices = [chunk["choices"][0] for chunk in chunks]
    assert choices[0]["delta"] == {"role": "assistant", "content": "", "refusal": None}
    assert [choice["delta"] for choice in choices[1:-1]] == [{"content": letter} for letter in "Hello"]
    assert choices[-1]["delta"] == {}
    assert [choice["finish_reason"] for choice in choices] == [None] * 6 + ["stop"]


@pytest.mark.parametrize("path", ["chat", "complete"])
async def test_no_line_ends_inside_an_event(make_api, path):
    """Some clients take Unicode's separators for line ends, httpx's aiter_lines among them."""
    text = "a\u2028b\u2029c\u0085d\r\n"
    reply = await getattr(make_api(text), path)(stream=True)
    assert all(line == "" or line.startswith("data: ") for line in reply.text.splitlines())
    choices = [chunk["choices"][0] for chunk in events(reply.text)[:-1]]
    assert "".join(choice.get("text") or choice.get("delta", {}).get("content") or "" for choice in choices) == text


async def test_usage_comes_last_and_is_null_before(api):
    reply = await api.chat(stream=True, stream_options={"include_usage": True})
    *chunks, last, done = events(reply.text)
    assert done is None
    assert last["choices"] == []
    assert last["usage"]["completion_tokens"] == 5
    assert all(chunk["usage"] is None for chunk in chunks)


async def test_continuous_usage_grows(api):
    reply = await api.chat(stream=True, stream_options={"include_usage": True, "continuous_usage_stats": True})
    counts = [chunk["usage"]["completion_tokens"] for chunk in events(reply.text)[:-1]]
    assert counts == sorted(counts)
    assert counts[-1] == 5


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"stream": True, "stream_options": {"continuous_usage_stats": True}}, "stream_options.continuous_usage_stats"),
    ],
)
async def test_stream_options_that_mean_nothing_are_refused(api, options, param):
    reply = await api.chat(**options)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)


async def test_an_error_before_the_first_token_has_its_status(make_api):
    api = make_api(max_model_len=20)
    reply = await api.chat("x" * 50, stream=True)
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "context_length_exceeded")


async def test_a_failure_before_the_first_token_has_its_status(api):
    from llmos_server.errors import EngineFailed

    api.generator.fail_after, api.generator.failure = 0, EngineFailed("The engine died.")
    reply = await api.chat(stream=True)
    assert (reply.status_code, reply.json()["error"]["message"]) == (503, "The engine died.")


async def test_a_failure_in_mid_stream_is_an_event_and_no_done(api):
    from llmos_server.errors import EngineFailed

    api.generator.fail_after, api.generator.failure = 2, EngineFailed("The engine died.")
    reply = await api.chat(stream=True)
    *chunks, error = events(reply.text)
    assert reply.status_code == 200
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == "He"
    assert error["error"]["message"] == "The engine died."
    assert error["error"]["code"] == "engine_failed"
    assert api.generator.generations[0].aborted.is_set()


async def test_an_unexpected_failure_is_told_without_its_text(api):
    api.generator.fail_after, api.generator.failure = 1, RuntimeError("secret")
    reply = await api.chat(stream=True)
    assert events(reply.text)[-1]["error"]["code"] == "internal_error"
    assert "secret" not in reply.text


async def test_an_engine_that_ends_too_early_is_an_error(make_api):
    api = make_api("Hello")
    reply_task = asyncio.create_task(api.chat(stream=True))
    api.generator.gate = asyncio.Event()
    while not api.generator.generations:
        await asyncio.sleep(0)
    api.generator.generations[0].abort()
    api.generator.gate.set()
    assert (await reply_task).json()["error"]["code"] == "engine_failed"


async def test_a_stream_that_waits_for_a_load_gets_pings_and_then_its_answer(make_api):
    api = make_api(state="loading", settings={"ping_seconds": 0.02})
    task = asyncio.create_task(api.chat(stream=True))
    await asyncio.sleep(0.2)
    api.generator.loaded.set()
    reply = await task
    assert reply.status_code == 200
    assert reply.text.startswith(": waiting for the model; a load may take 300 s at most\n\n")
    assert ": ping" in reply.text
    assert events(reply.text)[-1] is None


async def test_a_load_that_fails_late_is_an_error_event(make_api):
    from llmos_server.errors import EngineFailed

    api = make_api(state="loading", settings={"ping_seconds": 0.02})
    api.generator.load_error = EngineFailed("No such weights.")
    task = asyncio.create_task(api.chat(stream=True))
    await asyncio.sleep(0.1)
    api.generator.loaded.set()
    assert events((await task).text)[-1]["error"]["message"] == "No such weights."


async def test_one_write_a_step(make_api, fakes):
    """Four choices, one step: one write."""
    api = make_api("ab", tokens_per_step=2)
    writes: list[bytes] = []
    body = json.dumps({"messages": [{"role": "user", "content": "x"}], "n": 4, "stream": True}).encode()
    received = [{"type": "http.request", "body": body, "more_body": False}]
    finished = asyncio.Event()

    async def receive():
        if received:
            return received.pop()
        await finished.wait()
        return {"type": "http.disconnect"}

    async def send(message):
        if message["type"] == "http.response.body" and message["body"]:
            writes.append(message["body"])

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
        "path": "/v1/chat/completions", "raw_path": b"/v1/chat/completions", "query_string": b"", "root_path": "",
        "headers": [(b"host", b"localhost"), (b"content-type", b"application/json")], "client": None, "server": None,
    }  # fmt: skip
    await api.app(scope, receive, send)
    finished.set()
    assert [write.count(b"data: ") for write in writes] == [8, 5]  # four roles and texts; four ends and [DONE]


def chat_view(choices: list[dict[str, Any]]) -> dict[int, Any]:
    """What a client has put together, by choice."""
    return {
        choice["index"]: (
            choice["message"]["content"],
            choice["finish_reason"],
            choice["stop_reason"],
            choice["logprobs"]["content"] if choice["logprobs"] else None,
        )
        for choice in choices
    }


def joined_chat(chunks: list[dict[str, Any]]) -> dict[int, Any]:
    state: dict[int, list[Any]] = {}
    for chunk in chunks:
        for choice in chunk["choices"]:
            whole = state.setdefault(choice["index"], ["", None, None, None])
            assert whole[1] is None, "nothing follows a finish_reason"
            whole[0] += choice["delta"].get("content", "")
            whole[1] = choice["finish_reason"]
            whole[2] = choice.get("stop_reason")
            if choice["logprobs"]:
                whole[3] = (whole[3] or []) + choice["logprobs"]["content"]
    return {index: tuple(whole) for index, whole in state.items()}


def joined_completion(chunks: list[dict[str, Any]]) -> dict[int, Any]:
    state: dict[int, Any] = {}
    for chunk in chunks:
        for choice in chunk["choices"]:
            whole = state.setdefault(choice["index"], {"text": "", "logprobs": None})
            whole["text"] += choice["text"]
            whole["finish_reason"], whole["stop_reason"] = choice["finish_reason"], choice["stop_reason"]
            if choice["logprobs"] is not None:
                before = whole["logprobs"] or {key: [] for key in choice["logprobs"]}
                whole["logprobs"] = {key: before[key] + choice["logprobs"][key] for key in before}
    return {index: (w["text"], w["finish_reason"], w["stop_reason"], w["logprobs"]) for index, w in state.items()}


def completion_view(choices: list[dict[str, Any]]) -> dict[int, Any]:
    return {c["index"]: (c["text"], c["finish_reason"], c["stop_reason"], c["logprobs"]) for c in choices}


TEXTS = st.text(alphabet="ab né😀日\n", min_size=0, max_size=14)
COMMON = {
    "n": st.integers(1, 3),
    "max_tokens": st.integers(1, 30),
    "stop": st.one_of(st.none(), st.lists(st.text(alphabet="ab né😀", min_size=1, max_size=3), max_size=3)),
    "ignore_eos": st.booleans(),
    "min_tokens": st.just(0),
    "seed": st.just(1),
}


@given(
    replies=st.lists(TEXTS, min_size=3, max_size=3),
    tokens_per_step=st.integers(1, 4),
    options=st.fixed_dictionaries({**COMMON, "logprobs": st.booleans()}),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_streamed_chat_equals_unstreamed(api, replies, tokens_per_step, options):
    def script(request, index):
        return list(replies[index].encode())

    api.generator.script, api.generator.tokens_per_step = script, 2
    whole = (await api.chat(**options)).json()
    api.generator.tokens_per_step = tokens_per_step
    reply = await api.chat(**options, stream=True, stream_options={"include_usage": True})
    *chunks, last, done = events(reply.text)
    assert done is None
    expected = {i: (c, f, s, lp or None) for i, (c, f, s, lp) in chat_view(whole["choices"]).items()}
    assert joined_chat(chunks) == expected
    assert last["usage"] == whole["usage"]


@given(
    replies=st.lists(TEXTS, min_size=3, max_size=3),
    prompts=st.one_of(TEXTS.filter(bool), st.lists(TEXTS.filter(bool), min_size=1, max_size=3)),
    tokens_per_step=st.integers(1, 4),
    options=st.fixed_dictionaries(
        {
            **COMMON,
            "logprobs": st.one_of(st.none(), st.integers(0, 3)),
            "echo": st.booleans(),
            "max_tokens": st.integers(0, 20),
        }
    ),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_streamed_completion_equals_unstreamed(api, replies, prompts, tokens_per_step, options):
    def script(request, index):
        return list(replies[(index + len(request.prompt_ids)) % 3].encode())

    api.generator.script, api.generator.tokens_per_step = script, 3
    whole = (await api.complete(prompts, **options)).json()
    api.generator.tokens_per_step = tokens_per_step
    reply = await api.complete(prompts, **options, stream=True, stream_options={"include_usage": True})
    *chunks, last, done = events(reply.text)
    assert done is None
    assert joined_completion(chunks) == completion_view(whole["choices"])
    assert last["usage"] == whole["usage"]

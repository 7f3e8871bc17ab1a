"""The chat of the terminal interface on a real server with the real model."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from math import exp
from pathlib import Path
from typing import Any

import httpx2
import pytest
from llmos_tui.app import LLMOSApp
from llmos_tui.client import Client
from llmos_tui.screens.chat.lane import Lane
from llmos_tui.screens.chat.prompt import Prompt
from llmos_tui.screens.chat.screen import ChatScreen
from llmos_tui.screens.chat.thread import Answer
from textual.pilot import Pilot
from textual.widgets import Input

from llmos_server.contracts import ModelVersion

pytestmark = pytest.mark.real_model

SECONDS = 60.0
LONG = "Count from one to three hundred in words."


@asynccontextmanager
async def opened(server: Any) -> AsyncIterator[Pilot[None]]:
    app = LLMOSApp(Client(server.url, lambda: token_of(server)), interval=0.5)
    app.animation_level = "none"
    async with app.run_test(size=(100, 30)) as pilot:
        await until(pilot, lambda: app.connection.is_online)
        app.action_show_place("chat")
        await until(pilot, lambda: isinstance(app.screen, ChatScreen) and lane(pilot).model is not None)
        yield pilot


def token_of(server: Any) -> str:
    return (server.log.parent / "home/admin.token").read_text().strip()


async def until(pilot: Pilot[None], is_so: Callable[[], Any]) -> None:
    for _ in range(int(SECONDS / 0.05)):
        await pilot.pause(0.05)
        if is_so():
            return
    raise AssertionError(f"not so after {SECONDS} s: {lane(pilot).thread}")


def lane(pilot: Pilot[None]) -> Lane:
    return pilot.app.screen_stack[-1].query_one(Lane)


def last(pilot: Pilot[None]) -> Answer:
    answer = lane(pilot).thread.last_answer
    assert answer is not None
    return answer


async def send(pilot: Pilot[None], text: str) -> None:
    pilot.app.screen.options_panel.end()
    prompt = pilot.app.screen.query_one(Prompt)
    prompt.focus()
    prompt.text = text
    await pilot.press("enter")


async def test_a_chat_from_the_first_word_to_its_export(server: Any, smollm2: ModelVersion, tmp_path: Path) -> None:
    async with opened(server) as pilot:
        await pilot.app.screen.options_panel.begin()
        for name, text in (("temperature", "0"), ("max_completion_tokens", "300"), ("seed", "1")):
            pilot.app.screen.query_one(f"#option-{name}", Input).value = text
        await stop_in_the_middle(pilot, server)
        await ask_again_with_tokens(pilot, server)
        rating = await rate_and_save(pilot, server)
        assert rating["model"] == smollm2.name
        await export(pilot, tmp_path / "chat.json")


async def stop_in_the_middle(pilot: Pilot[None], server: Any) -> None:
    await send(pilot, LONG)
    await until(pilot, lambda: last(pilot).usage and last(pilot).usage.completion_tokens >= 5)
    assert server.metric("llmos:num_requests_running") == 1
    await pilot.press("escape")
    await until(pilot, lambda: last(pilot).state == "stopped")
    assert last(pilot).text
    server.wait_for(lambda: server.metric("llmos:num_requests_running") == 0, "freed")
    assert last(pilot).usage.completion_tokens < 300


async def ask_again_with_tokens(pilot: Pilot[None], server: Any) -> None:
    """The same prompt, greedy: it begins as the stopped one did, and is what an unstreamed request gets."""
    before = last(pilot).text
    pilot.app.screen.query_one("#option-max_completion_tokens", Input).value = "24"
    await pilot.press("alt+p", "alt+g")
    await until(pilot, lambda: last(pilot).state == "done")
    answer = last(pilot)
    assert answer.finish_reason == "length"
    assert answer.usage.completion_tokens == len(answer.tokens) == 24
    assert "".join(token.token for token in answer.tokens) == answer.text
    assert before.startswith(answer.text) or answer.text.startswith(before)
    for token in answer.tokens:
        assert len(token.top_logprobs) == 5
        assert exp(token.logprob) <= 1
        assert token.logprob == max(other.logprob for other in token.top_logprobs)  # Greedy takes the likeliest.
    body = {"messages": [{"role": "user", "content": LONG}], "temperature": 0, "seed": 1, "max_tokens": 24}
    unstreamed = httpx2.post(f"{server.url}/v1/chat/completions", json=body, timeout=SECONDS).json()
    assert unstreamed["choices"][0]["message"]["content"] == answer.text
    status = lane(pilot).query_one("#lane-status").text
    assert "tok/s" in status
    assert f"{unstreamed['usage']['prompt_tokens']} in" in status


async def rate_and_save(pilot: Pilot[None], server: Any) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {token_of(server)}"}
    await pilot.press("alt+s")
    await until(pilot, lambda: not isinstance(pilot.app.screen, ChatScreen))
    await pilot.press("enter")
    await until(pilot, lambda: isinstance(pilot.app.screen, ChatScreen) and last(pilot).message_id)
    kept = lane(pilot).keeper.conversation
    items = httpx2.get(f"{server.url}/v1/conversations/{kept.id}/items?order=asc", headers=headers).json()["data"]
    assert [item["role"] for item in items] == ["user", "assistant"]
    assert items[1]["content"][0]["text"] == last(pilot).text
    await pilot.press("escape", "plus")
    await until(pilot, lambda: last(pilot).opinion.rating == 1)
    path = f"{server.url}/v1/llmos/feedback/{last(pilot).opinion.id}"
    rating = httpx2.get(path, headers=headers).json()
    assert (rating["rating"], rating["answer"], rating["item_id"]) == (1, last(pilot).text, items[1]["id"])
    assert rating["sampling"] == {"temperature": 0.0, "max_completion_tokens": 24, "seed": 1}
    httpx2.delete(path, headers=headers).raise_for_status()
    httpx2.delete(f"{server.url}/v1/conversations/{kept.id}", headers=headers).raise_for_status()
    return rating


async def export(pilot: Pilot[None], path: Path) -> None:
    await pilot.press("alt+x")
    await until(pilot, lambda: not isinstance(pilot.app.screen, ChatScreen))
    pilot.app.screen.query_one(Input).value = str(path)
    await pilot.press("enter")
    await until(pilot, path.exists)
    kept = json.loads(path.read_text())
    assert [message["content"] for message in kept["messages"]] == [LONG, last(pilot).text]


async def test_what_the_server_refuses_is_in_its_words(server: Any, smollm2: ModelVersion) -> None:
    async with opened(server) as pilot:
        await pilot.app.screen.options_panel.begin()
        field = pilot.app.screen.query_one("#option-temperature", Input)
        field.value = "9"
        await send(pilot, "Hi")
        await until(pilot, lambda: last(pilot).state == "failed")
        assert "temperature" in last(pilot).error
        field.value = ""
        await send(pilot, "word " * 9000)
        await until(pilot, lambda: last(pilot).state == "failed" and "temperature" not in last(pilot).error)
        assert "tokens" in last(pilot).error
        assert "n begins a new chat" in last(pilot).remedy

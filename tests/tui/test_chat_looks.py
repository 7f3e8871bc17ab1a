"""The chat's screen as it looks: a whole answer, tokens with their probabilities, two models, the options."""

from __future__ import annotations

import pytest
from chat_fake import ChatFake
from test_chat import ask, lanes, last, screen_of, send
from textual.widgets import TextArea
from tui_snapshots import SIZES, check_snapshot

ANSWER = """A page holds **16 tokens** of the KV cache:

```python
def num_pages(tokens: int, page_size: int = 16) -> int:
    return -(-tokens // page_size)  # round up
```

1. A prefix is found by its hash.
2. Free pages are taken first.
"""


@pytest.fixture(autouse=True)
def still_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quarter of a second passes each time that somebody looks; only what is in the test looks."""
    seconds = iter(range(10_000))
    monkeypatch.setattr("llmos_tui.screens.chat.lane.monotonic", lambda: next(seconds) / 4)
    monkeypatch.setattr("llmos_tui.screens.chat.lane.PAINT_SECONDS", 1000)


@pytest.mark.parametrize("size", SIZES)
async def test_an_answer(open_app, chats: ChatFake, wait_for, size: tuple[int, int]) -> None:
    chats.hold()
    async with open_app(size=size, place="chat") as pilot:
        await send(pilot, "What is a page?")
        await wait_for(pilot, lambda: chats.answers)
        answer = chats.answers[0]
        answer.say(reasoning="The user asks about paged attention.")
        answer.say(ANSWER)
        answer.call(0, "lookup", '{"term": "page"}')
        answer.end("tool_calls")
        await wait_for(pilot, lambda: last(pilot).is_over)
        await pilot.press("escape")
        await check_snapshot(pilot, "chat")


@pytest.mark.parametrize("size", SIZES)
async def test_tokens_of_two_models(open_app, chats: ChatFake, wait_for, monkeypatch, size: tuple[int, int]) -> None:
    monkeypatch.setattr("llmos_tui.screens.chat.lane.monotonic", lambda: 1.0)  # Both look, in any order.
    chats.hold()
    async with open_app(size=size, place="chat") as pilot:
        await pilot.press("alt+v")
        await pilot.pause()
        await pilot.press(*"qwen", "enter")
        await wait_for(pilot, lambda: len(lanes(pilot)) == 2)
        screen_of(pilot)._shows_tokens = True
        for lane in lanes(pilot):
            await lane.transcript.show_tokens(True)
        await send(pilot, "Is the sky blue?")
        await wait_for(pilot, lambda: len(chats.answers) == 2)
        for answer, words in zip(chats.answers, ("Yes it is .", "No , it is black at night ."), strict=True):
            for number, word in enumerate(words.split()):
                answer.say(f" {word}", probability=0.95 / (1 + number**2), others={" perhaps": 0.02})
            answer.end()
        await wait_for(pilot, lambda: last(pilot).is_over and last(pilot, 1).is_over)
        await pilot.press("escape", "right")
        await check_snapshot(pilot, "chat-tokens")


@pytest.mark.parametrize("size", SIZES)
async def test_options(open_app, chats: ChatFake, wait_for, size: tuple[int, int]) -> None:
    async with open_app(size=size, place="chat") as pilot:
        await ask(pilot, wait_for, "Hi")
        await pilot.press("alt+o")
        screen_of(pilot).options_panel.query_one(TextArea).text = "Be brief."
        await check_snapshot(pilot, "chat-options")

"""Which turns a chat loses when it is too long."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos_server.chat.renderer import Renderer
from llmos_server.errors import InvalidRequest


def message(role: str, content: str) -> dict[str, Any]:
    return {"role": role, "content": content}


CHAT = [
    message("system", "Be brief."),
    message("user", "one"),
    message("assistant", "1"),
    message("user", "two"),
    message("assistant", "2"),
    message("user", "three"),
]


def test_what_fits_stays_whole(renderer: Renderer) -> None:
    assert renderer.drop_oldest(CHAT, len(renderer.encode_chat(CHAT))) == (CHAT, 0)


def test_drops_the_oldest_exchange_first(renderer: Renderer) -> None:
    limit = len(renderer.encode_chat(CHAT)) - 1
    assert renderer.drop_oldest(CHAT, limit) == ([CHAT[0], *CHAT[3:]], 2)


def test_drops_all_but_the_system_prompt_and_the_last_turn(renderer: Renderer) -> None:
    least = [CHAT[0], CHAT[-1]]
    assert renderer.drop_oldest(CHAT, len(renderer.encode_chat(least))) == (least, 4)


@pytest.mark.parametrize("chat", [CHAT, CHAT[:2], [message("user", "a very long question")]])
def test_says_how_long_it_is_and_what_fits(renderer: Renderer, chat: list[dict[str, Any]]) -> None:
    with pytest.raises(InvalidRequest, match=f"are {len(renderer.encode_chat(chat))} tokens long, and 9 fit") as caught:
        renderer.drop_oldest(chat, 9)
    assert caught.value.code == "context_length_exceeded"


def test_a_tool_result_goes_with_its_call(renderer: Renderer) -> None:
    chat = [
        message("assistant", "Hello, what can I do?"),
        message("user", "Weather?"),
        message("assistant", "call"),
        message("tool", "sunny"),
        message("user", "Thanks"),
    ]
    kept, dropped = renderer.drop_oldest(chat, len(renderer.encode_chat(chat[1:])) - 1)
    assert (kept, dropped) == ([chat[-1]], 4)


def test_options_count_too(renderer: Renderer) -> None:
    chat = [*CHAT, message("assistant", "3 is")]
    options: dict[str, Any] = {"add_generation_prompt": False, "continue_final_message": True}
    limit = len(renderer.encode_chat(chat, **options))
    assert renderer.drop_oldest(chat, limit, **options)[1] == 0
    assert renderer.drop_oldest(chat, limit)[1] > 0


@given(st.lists(st.sampled_from(["system", "user", "assistant"]), min_size=1, max_size=12), st.integers(20, 200))
def test_drops_the_fewest(renderer: Renderer, roles: list[str], limit: int) -> None:
    chat = [message(role, f"number {i}") for i, role in enumerate(roles)]
    try:
        kept, dropped = renderer.drop_oldest(chat, limit)
    except InvalidRequest:
        return
    assert dropped == len(chat) - len(kept)
    assert len(renderer.encode_chat(kept)) <= limit
    assert kept[-1] is chat[-1]
    assert [m for m in chat if m["role"] == "system"] == [m for m in kept if m["role"] == "system"]
    if dropped:
        places = [chat.index(m) for m in chat if m not in kept]
        turn = [i for i in places if roles[i] == "user" and i != places[0]]
        fewer = places[: places.index(turn[-1])] if turn else []
        assert len(renderer.encode_chat([m for i, m in enumerate(chat) if i not in fewer])) > limit

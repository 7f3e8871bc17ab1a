"""A chat that is longer than the context: which turns to drop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from llmos_server.errors import InvalidRequest

KEPT_ROLES = ("system", "developer")

Message = Mapping[str, Any]


def drop_oldest(
    messages: Sequence[Message], limit: int, count_tokens: Callable[[Sequence[Message]], int]
) -> tuple[list[Message], int]:
    """Drop the fewest oldest turns so that the rest fits in `limit` tokens. Returns it, and how many messages went.

    A turn is a user's message with everything up to the next one, so that roles still alternate and no tool result
    loses its call. System messages and the last turn stay. Raises InvalidRequest if even those don't fit.
    """
    length = count_tokens(messages)
    if length <= limit:
        return list(messages), 0
    turns = _turns(messages)

    def without(num_turns: int) -> list[Message]:
        dropped = {i for turn in turns[:num_turns] for i in turn}
        return [message for i, message in enumerate(messages) if i not in dropped]

    low, high = 1, len(turns) - 1  # the fewest turns to drop lies in here, for longer chats have more tokens
    if high < low or (shortest := count_tokens(without(high))) > limit:
        raise InvalidRequest(
            f"The messages are {length} tokens long, and {limit} fit. "
            f"{f'Without the older turns they are still {shortest}. ' if high >= low else ''}"
            "Shorten the system prompt or the last message.",
            param="messages",
            code="context_length_exceeded",
        )
    while low < high:
        middle = (low + high) // 2
        if count_tokens(without(middle)) <= limit:
            high = middle
        else:
            low = middle + 1
    kept = without(high)
    return kept, len(messages) - len(kept)


def _turns(messages: Sequence[Message]) -> list[list[int]]:
    """Places of the messages that may go, by turn, oldest first; the last turn holds the last message."""
    turns: list[list[int]] = []
    for i, message in enumerate(messages):
        role = message.get("role")
        if role in KEPT_ROLES and i < len(messages) - 1:
            continue
        if role == "user" or not turns:
            turns.append([])
        turns[-1].append(i)
    return turns

"""Ids of a response and its items. An item's id holds its response's, so that a stored one is found by it."""

from __future__ import annotations

import re
import uuid

_ITEM = re.compile(r"[a-z]{2,8}_([0-9a-f]{32})[0-9a-f]{4}")


class Ids:
    """Of one response."""

    def __init__(self) -> None:
        self._hex = uuid.uuid4().hex
        self._num_items = 0

    @property
    def response(self) -> str:
        return f"resp_{self._hex}"

    def item(self, prefix: str) -> str:
        self._num_items += 1
        return f"{prefix}_{self._hex}{self._num_items:04x}"


def response_of(item_id: str) -> str | None:
    """The id of the response that an item belongs to; None where it isn't one of ours."""
    found = _ITEM.fullmatch(item_id)
    return None if found is None else f"resp_{found[1]}"

"""How many streams of what goes on, such as the log's, are open."""

from __future__ import annotations

from llmos_server.api.errors import QueueFull

MAX_WATCHERS = 64


class Watchers:
    def __init__(self, most: int = MAX_WATCHERS) -> None:
        self._most = most
        self._num = 0

    def enter(self) -> None:
        """Raises QueueFull."""
        if self._num >= self._most:
            raise QueueFull(f"{self._most} streams of what goes on here are open, which is the most. Close one first.")
        self._num += 1

    def leave(self) -> None:
        self._num -= 1

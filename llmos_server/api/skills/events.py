"""What a run tells while it goes on, for a client that streams."""

from __future__ import annotations

import asyncio

from llmos_server.api.schemas.skills import SkillEvent


class RunEvents:
    """Belongs to the API's event loop; skills reach it through their context."""

    def __init__(self) -> None:
        self.written = ""
        """All text so far."""
        self._waiting: list[SkillEvent] = []
        self._wake = asyncio.Event()
        self._has_ended = False

    def progress(self, done: float, total: float | None, note: str) -> None:
        """Replaces one that nobody has read yet: whoever is slow gets the latest."""
        if self._waiting and self._waiting[-1].type == "progress":
            self._waiting.pop()
        self._put(SkillEvent(type="progress", done=done, total=total, note=note))

    def write(self, text: str) -> None:
        """Joined to what nobody has read yet."""
        self.written += text
        if self._waiting and self._waiting[-1].type == "text":
            text = f"{self._waiting.pop().text}{text}"
        self._put(SkillEvent(type="text", text=text))

    def end(self) -> None:
        self._has_ended = True
        self._wake.set()

    async def wait(self) -> None:
        """Until there is something to read, or the end."""
        await self._wake.wait()

    async def next(self) -> list[SkillEvent]:
        """All that came since the last call; none at the end."""
        await self._wake.wait()
        events, self._waiting = self._waiting, []
        if not self._has_ended:
            self._wake.clear()
        return events

    def _put(self, event: SkillEvent) -> None:
        self._waiting.append(event)
        self._wake.set()

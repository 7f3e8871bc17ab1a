"""Several generations read as one."""

from __future__ import annotations

import asyncio

from llmos_server.contracts import ChoiceDelta, Generation


class Merged:
    """Deltas of any of the generations, as they come. A single one is read without a task beside it."""

    def __init__(self, generations: list[Generation]) -> None:
        self._generations = generations
        self._tasks: list[asyncio.Task[None]] = []
        self._arrived: list[tuple[int, list[ChoiceDelta]]] = []
        self._error: Exception | None = None
        self._wake = asyncio.Event()

    async def next(self) -> list[tuple[int, list[ChoiceDelta]]]:
        """All that has arrived: the place of a generation, and its deltas; none when it has ended."""
        if len(self._generations) == 1:
            return [(0, await anext(self._generations[0], []))]
        if not self._tasks:
            self._tasks = [asyncio.create_task(self._pump(place)) for place in range(len(self._generations))]
        while not self._arrived:
            self._wake.clear()
            await self._wake.wait()
        if self._error is not None:
            raise self._error
        arrived, self._arrived = self._arrived, []
        return arrived

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def _pump(self, place: int) -> None:
        try:
            async for deltas in self._generations[place]:
                self._put(place, deltas)
        except Exception as error:
            self._error = error
        self._put(place, [])

    def _put(self, place: int, deltas: list[ChoiceDelta]) -> None:
        self._arrived.append((place, deltas))
        self._wake.set()

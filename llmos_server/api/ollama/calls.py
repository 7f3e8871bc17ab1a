"""Tool calls of an answer, whole: Ollama's clients run each as soon as they see it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from llmos_server.api.schemas.ollama import OllamaMadeCall, OllamaMadeFunction
from llmos_server.chat.deltas import CallDelta


class CallCollector:
    """Pieces in, calls out, each when the next one begins or the answer ends.

    One that was cut off, whose arguments are no object, is left out: it would be run.
    """

    def __init__(self) -> None:
        self._id = self._name = self._arguments = ""
        self._index = 0

    def feed(self, pieces: Iterable[CallDelta], finish_reason: str | None) -> list[OllamaMadeCall]:
        """finish_reason: of the answer, with its last pieces."""
        return list(self._feed(pieces, finish_reason))

    def _feed(self, pieces: Iterable[CallDelta], finish_reason: str | None) -> Iterator[OllamaMadeCall]:
        for piece in pieces:
            if piece.name:
                yield from self._finish(is_whole=True)
                self._id, self._name, self._index = piece.id, piece.name, piece.index
            self._arguments += piece.arguments
        if finish_reason is not None:
            yield from self._finish(is_whole=finish_reason == "stop")

    def _finish(self, *, is_whole: bool) -> Iterator[OllamaMadeCall]:
        name, text, self._name, self._arguments = self._name, self._arguments, "", ""
        if not name:
            return
        if not text and is_whole:  # It has none.
            text = "{}"
        try:
            arguments = msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError):
            return
        if isinstance(arguments, dict):
            yield OllamaMadeCall(
                id=self._id, function=OllamaMadeFunction(index=self._index, name=name, arguments=arguments)
            )

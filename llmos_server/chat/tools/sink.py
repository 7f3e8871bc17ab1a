"""Where a format's scanner puts what it finds in a text."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from llmos_server.chat.deltas import CallDelta


class Parsed(NamedTuple):
    """What a piece of an answer adds."""

    content: str
    calls: list[CallDelta]


class CallSink:
    """Collects content and calls until they are taken. create_id: of a call."""

    def __init__(self, create_id: Callable[[], str]) -> None:
        self._create_id = create_id
        self._content: list[str] = []
        self._calls: list[CallDelta] = []
        self._pieces: list[str] = []
        self.num_calls = 0
        """That have begun."""
        self.num_whole = 0

    def text(self, text: str) -> None:
        self._content.append(text)

    def begin(self, name: str) -> None:
        self._flush()
        self._calls.append(CallDelta(index=self.num_calls, id=self._create_id(), name=name))
        self.num_calls += 1

    def arguments(self, text: str) -> None:
        """Of the call that began last."""
        self._pieces.append(text)

    def end(self) -> None:
        """That call is whole."""
        self.num_whole += 1

    def take(self) -> Parsed:
        self._flush()
        parsed = Parsed("".join(self._content), self._calls)
        self._content, self._calls = [], []
        return parsed

    def _flush(self) -> None:
        if self._pieces:
            self._calls.append(CallDelta(index=self.num_calls - 1, arguments="".join(self._pieces)))
            self._pieces = []


class Scanner(Protocol):
    """Reads what follows a format's begin marker, character by character, into its sink. What turns out to be no call
    goes there as text, markers included, so that nothing of an answer is lost."""

    def feed(self, text: str) -> None: ...

    def finish(self) -> None:
        """Nothing follows."""
        ...

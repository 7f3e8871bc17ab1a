"""Requests in flight: who asks for what, how far that is, and how it can be ended from outside. Nothing here is touched
once a token."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

MAX_CLIENT_LENGTH = 80
PATIENCE_SECONDS = 5.0
"""How long the client of a stream that was ended may take to read that, before its connection is closed."""

_KEY = "llmos_flight"

End = Callable[[Exception], None]
"""Ends something soon. Takes what its client is told."""
UseState = Literal["loading", "queued", "prefill", "generating", "running"]


class Progress(NamedTuple):
    """How far an answer is."""

    prompt_tokens: int
    cached_tokens: int | None
    """None before the first token."""
    completion_tokens: int
    num_choices: int
    has_begun: bool
    """The engine has given it its first step."""
    ttft_seconds: float | None
    decode_seconds: float
    """Since the first token."""


class Details(NamedTuple):
    """What was asked of an answer, without its texts."""

    sampling: dict[str, Any]
    has_grammar: bool
    tools: list[str]


class Answering(Protocol):
    """An answer that is being made: asked only while somebody looks on."""

    def progress(self) -> Progress: ...

    def details(self) -> Details: ...


@dataclass(slots=True, eq=False)
class Use:
    """One use of a model, from before it is waited for until the engine owes nothing more."""

    model: str
    phase: Literal["loading", "queued", "running"] = "loading"
    """queued: on its way to its first step; running: where there is no answer that tells more."""
    answer: Answering | None = None

    def state(self, progress: Progress | None) -> UseState:
        """progress: of its answer, if it has one."""
        if progress is None:
            return self.phase
        if progress.ttft_seconds is not None:
            return "generating"
        return "prefill" if progress.has_begun else "queued"


class Flight:
    """One request, from its arrival until nothing of it goes on. It is in the register from when it first asks for
    what costs something."""

    def __init__(self, id: str, endpoint: str, client: str, end_exchange: End) -> None:
        """id: the X-Request-Id of its answer. client: what the client calls itself. end_exchange: ends the request and
        its answer."""
        self.id = id
        self.endpoint = endpoint
        self.client = "".join(c if c.isprintable() else "?" for c in client[:MAX_CLIENT_LENGTH])
        self.started = time.time()
        self.key = ""
        """Its name."""
        self.model: str | None = None
        self.is_stream = False
        self.has_place = False
        """Among its key's requests; filters have let it pass."""
        self.uses: list[Use] = []
        """Those that go on."""
        self.prompt_tokens = self.cached_tokens = self.completion_tokens = 0
        """Of uses that are over."""
        self.told: Exception | None = None
        """Why it was ended from outside."""
        self.end_job: End | None = None
        """Ends what goes on when the answer is over."""
        self._end_exchange: End | None = end_exchange
        self._num_keeps = 0
        self._register: Flights | None = None

    def board(self, register: Flights) -> None:
        """Safe to call twice."""
        if self._register is None:
            self._register = register
            register.add(self)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Something of it goes on within."""
        self._num_keeps += 1
        try:
            yield
        finally:
            self._num_keeps -= 1
            if not self._num_keeps and self._register is not None:
                self._register.remove(self)

    @contextmanager
    def exchange(self) -> Iterator[None]:
        """Around the request and its answer."""
        with self.kept():
            try:
                yield
            finally:
                self._end_exchange = None

    @contextmanager
    def streamed(self, expire: End) -> Iterator[None]:
        """While a stream is sent: expire tells its client why it ends. One that doesn't read it is cut off."""
        cut_off, timer = self._end_exchange, None

        def end(told: Exception) -> None:
            nonlocal timer
            expire(told)
            if cut_off is not None and timer is None:
                timer = asyncio.get_running_loop().call_later(PATIENCE_SECONDS, cut_off, told)

        self._end_exchange = end
        if self.told is not None:
            end(self.told)
        try:
            yield
        finally:
            self._end_exchange = cut_off
            if timer is not None:
                timer.cancel()

    @contextmanager
    def using(self, use: Use) -> Iterator[None]:
        """While it goes on."""
        self.uses.append(use)
        try:
            yield
        finally:
            self.uses.remove(use)

    def abort(self, told: Exception) -> None:
        """End all of it. Safe to call twice. told: what its client is."""
        self.told = self.told or told
        for end in (self._end_exchange, self.end_job):
            if end is not None:
                end(self.told)


class Flights:
    """All of them, oldest first, by their ids. Clients may choose ids, so one that is taken gets a number behind it."""

    def __init__(self) -> None:
        self._flights: dict[str, Flight] = {}

    def __len__(self) -> int:
        return len(self._flights)

    def __iter__(self) -> Iterator[Flight]:
        return iter(self._flights.values())

    def find(self, id: str) -> Flight | None:
        return self._flights.get(id)

    def add(self, flight: Flight) -> None:
        sent, number = flight.id, 1
        while flight.id in self._flights:
            number += 1
            flight.id = f"{sent}#{number}"
        self._flights[flight.id] = flight

    def remove(self, flight: Flight) -> None:
        self._flights.pop(flight.id, None)


def note_flight(scope: Any, flight: Flight) -> None:
    scope["state"][_KEY] = flight


def flight_in(scope: Any) -> Flight:
    """Of an ASGI scope."""
    flight: Flight = scope["state"][_KEY]
    return flight


def flight_of(connection: Any) -> Flight:
    return flight_in(connection.scope)

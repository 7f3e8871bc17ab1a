"""Requests in flight: who asks for what, and how far that is. Nothing here is touched once a token."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

MAX_CLIENT_LENGTH = 80

_KEY = "llmos_flight"


class Flight:
    """One request, from its arrival until nothing of it goes on. It is in the register from when it first asks for
    what costs something."""

    def __init__(self, id: str, endpoint: str, client: str) -> None:
        """id: the X-Request-Id of its answer. client: what the client calls itself."""
        self.id = id
        self.endpoint = endpoint
        self.client = client[:MAX_CLIENT_LENGTH]
        self.started = time.time()
        self.arrival = time.perf_counter()
        self._num_keeps = 0
        self._register: Flights | None = None

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

    def board(self, register: Flights) -> None:
        """Safe to call twice."""
        if self._register is None:
            self._register = register
            register.add(self)


class Flights:
    """All of them, oldest first, by their ids. Clients may choose ids, so one that is taken gets a number behind it."""

    def __init__(self) -> None:
        self._flights: dict[str, Flight] = {}

    def __len__(self) -> int:
        return len(self._flights)

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


def flight_of(connection: Any) -> Flight:
    """Of a request or its answer's connection."""
    flight: Flight = connection.scope["state"][_KEY]
    return flight

"""What a run has told, from any of its threads, and is not written yet."""

from __future__ import annotations

import threading
from typing import Any

import msgspec

from llmos_server.job_contracts import JobEvent

MAX_EVENTS = 10_000
"""That wait for a database that is away; what comes then is lost."""


class Told(msgspec.Struct, frozen=True):
    events: list[JobEvent] = []
    values: dict[str, Any] = {}
    """Columns of the job's row."""


class TellTale:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._events: list[JobEvent] = []
        self._values: dict[str, Any] = {}

    @property
    def is_empty(self) -> bool:
        return not (self._events or self._values)

    def add(self, event: JobEvent) -> None:
        with self._lock:
            if len(self._events) < MAX_EVENTS:
                self._events.append(event)

    def note(self, **values: Any) -> None:
        with self._lock:
            self._values.update(values)

    def take(self) -> Told:
        with self._lock:
            told = Told(self._events, self._values)
            self._events, self._values = [], {}
        return told

    def put_back(self, told: Told) -> None:
        """It could not be written; what was told since comes after it."""
        with self._lock:
            self._events = told.events + self._events
            self._values = {**told.values, **self._values}

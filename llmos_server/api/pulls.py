"""Pulls that clients asked for: each in a thread of its own, its progress told to everybody who asked for it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from llmos_server.api.errors import WireError, describe, report
from llmos_server.api.schemas.admin_models import PullEvent
from llmos_server.registry.registry import Registry

UPDATE_SECONDS = 0.25
"""Between two events about one transfer."""

Told = PullEvent | WireError | None
"""None, in a listener's queue, is the end."""


@dataclass(slots=True)
class Pull:
    """One that runs."""

    loop: asyncio.AbstractEventLoop
    listeners: list[asyncio.Queue[Told]] = field(default_factory=list)

    def tell(self, event: PullEvent) -> None:
        """From the pull's thread."""
        self._publish(event)

    def end(self, last: PullEvent | WireError) -> None:
        """From the pull's thread."""
        self._publish(last, None)

    def _publish(self, *told: Told) -> None:
        def put() -> None:
            for listener in self.listeners:
                for event in told:
                    listener.put_nowait(event)

        with suppress(RuntimeError):  # The server has stopped meanwhile.
            self.loop.call_soon_threadsafe(put)


class PullProgress:
    """A registry.progress.Progress, and the Track of its transfers, that tell events."""

    def __init__(self, pull: Pull) -> None:
        self._pull = pull
        self._label = ""
        self._total: int | None = None
        self._told = 0.0

    def say(self, text: str) -> None:
        """One event."""
        self._pull.tell(PullEvent(text=text))

    @contextmanager
    def track(self, label: str, total: int | None) -> Iterator[PullProgress]:
        """An event at the start, then some as it goes on, and one at the end."""
        self._label, self._total, self._told = label, total, 0.0
        self.update(0)
        yield self
        if total is not None:
            self._told = 0.0
            self.update(total)

    def update(self, done: int) -> None:
        """At most one event in UPDATE_SECONDS."""
        if time.monotonic() - self._told >= UPDATE_SECONDS:
            self._told = time.monotonic()
            self._pull.tell(PullEvent(label=self._label, done=done, total=self._total))


class Pulls:
    """At most one pull of a name at a time; who asks for a name that is being pulled listens to that.

    A pull goes on when its listeners have left. It ends with the server; the next one begins where it can.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._running: dict[str, Pull] = {}

    def listen(self, name: str) -> asyncio.Queue[Told]:
        """Events, the last one with the model, or an error; then None. Raises InvalidRequest."""
        wanted = self._registry.resolve(name)
        pull = self._running.get(wanted)
        if pull is None:
            pull = self._running[wanted] = Pull(asyncio.get_running_loop())
            threading.Thread(target=self._run, args=(wanted, pull), name=f"pull {wanted}", daemon=True).start()
        events: asyncio.Queue[Told] = asyncio.Queue()
        pull.listeners.append(events)
        return events

    def _run(self, name: str, pull: Pull) -> None:
        try:
            last: PullEvent | WireError = PullEvent(model=self._registry.pull(name, PullProgress(pull)))
        except Exception as error:
            last = describe(error)
            report(error, last)
        del self._running[name]
        pull.end(last)

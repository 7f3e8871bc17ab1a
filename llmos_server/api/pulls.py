"""Pulls that clients asked for: each in a thread of its own, its progress told to everybody who asked for it."""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Literal

from llmos_server.api.errors import WireError, describe, report
from llmos_server.api.schemas.admin_models import PullEvent
from llmos_server.errors import PullCancelled
from llmos_server.registry.registry import Registry

UPDATE_SECONDS = 0.25
"""Between two events about one transfer."""
MAX_ENDED = 50
"""Pulls that have ended and are still told of."""
MAX_LOG = 100
"""Lines of one pull."""
MAX_POINTS = 500
"""Of its progress over time."""

Told = PullEvent | WireError | None
"""None, in a listener's queue, is the end."""


@dataclass(slots=True)
class Pull:
    """One that runs, or has ended. All but its thread's own methods belong to the event loop."""

    name: str
    loop: asyncio.AbstractEventLoop
    id: str = field(default_factory=lambda: f"pull_{uuid.uuid4().hex}")
    created: float = field(default_factory=time.time)
    ended: float | None = None
    state: Literal["running", "done", "failed", "cancelled"] = "running"
    label: str = ""
    """Of the transfer that goes on."""
    done: int = 0
    """Bytes of it, as total."""
    total: int | None = None
    error: str | None = None
    log: deque[str] = field(default_factory=lambda: deque(maxlen=MAX_LOG))
    points: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=MAX_POINTS))
    """(seconds since its start, bytes of the transfer)."""
    listeners: list[asyncio.Queue[Told]] = field(default_factory=list)
    is_cancelled: bool = False

    def cancel(self) -> None:
        """It ends as soon as its download lets it; it may have ended by then."""
        self.is_cancelled = True

    def check(self) -> None:
        """From the pull's thread. Raises PullCancelled."""
        if self.is_cancelled:
            raise PullCancelled(f"{self.name}: the pull was cancelled by an administrator.")

    def tell(self, event: PullEvent) -> None:
        """From the pull's thread."""
        self._publish(event)

    def end(self, last: PullEvent | WireError) -> None:
        """From the pull's thread."""
        self._publish(last, None)

    def _publish(self, *told: Told) -> None:
        def put() -> None:
            for event in told:
                self._note(event)
                for listener in self.listeners:
                    listener.put_nowait(event)

        with suppress(RuntimeError):  # The server has stopped meanwhile.
            self.loop.call_soon_threadsafe(put)

    def _note(self, event: Told) -> None:
        if isinstance(event, WireError):
            self.state, self.error = ("cancelled" if self.is_cancelled else "failed"), event.message
            self.ended = time.time()
        elif event is not None and event.model is not None:
            self.state, self.ended = "done", time.time()
        elif event is not None and event.text is not None:
            self.log.append(event.text)
        elif event is not None and event.label is not None:
            self._note_transfer(event.label, event.done or 0, event.total)

    def _note_transfer(self, label: str, done: int, total: int | None) -> None:
        if label != self.label:
            self.log.append(label)
        self.label, self.done, self.total = label, done, total
        self.points.append((round(time.time() - self.created, 3), float(done)))


class PullProgress:
    """A registry.progress.Progress, and the Track of its transfers, that tell events."""

    def __init__(self, pull: Pull) -> None:
        self._pull = pull
        self._label = ""
        self._total: int | None = None
        self._told = 0.0

    def check(self) -> None:
        """Raises PullCancelled, as all that tells something does."""
        self._pull.check()

    def say(self, text: str) -> None:
        """One event."""
        self.check()
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
        self.check()
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
        self._all: dict[str, Pull] = {}
        """By id: those that run, and the last that have ended."""

    def list(self) -> list[Pull]:
        return list(self._all.values())

    def find(self, pull_id: str) -> Pull | None:
        return self._all.get(pull_id)

    def listen(self, name: str) -> asyncio.Queue[Told]:
        """Events, the last one with the model, or an error; then None. Raises InvalidRequest."""
        wanted = self._registry.resolve(name)
        pull = self._running.get(wanted)
        if pull is None:
            pull = self._running[wanted] = Pull(wanted, asyncio.get_running_loop())
            self._remember(pull)
            threading.Thread(target=self._run, args=(wanted, pull), name=f"pull {wanted}", daemon=True).start()
        events: asyncio.Queue[Told] = asyncio.Queue()
        pull.listeners.append(events)
        return events

    def _remember(self, pull: Pull) -> None:
        ended = [other.id for other in self._all.values() if other.ended is not None]
        for old in ended[: max(0, len(ended) - MAX_ENDED)]:
            del self._all[old]
        self._all[pull.id] = pull

    def _run(self, name: str, pull: Pull) -> None:
        try:
            last: PullEvent | WireError = PullEvent(model=self._registry.pull(name, PullProgress(pull)))
        except Exception as error:
            last = describe(error)
            report(error, last)
        del self._running[name]
        pull.end(last)

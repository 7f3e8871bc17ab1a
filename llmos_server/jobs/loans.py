"""Memory for jobs that need much of it: asked for while one waits, and given back when it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from llmos_server.job_contracts import JobKind

LENT_TO: tuple[JobKind, ...] = ("tune",)
"""Other kinds ask the engine, and need little themselves."""


class Lender(Protocol):
    """Whoever else has this machine's memory."""

    async def borrow(self, num_bytes: int) -> Any:
        """Returns when there is so much. Cancelling gives it up."""
        ...

    def give_back(self, loan: Any) -> None: ...


class Loans:
    """For one job more at a time, on the supervisor's event loop."""

    def __init__(self, lender: Lender | None, num_bytes: int, on_granted: Callable[[], None]) -> None:
        """lender: None where nobody has to be asked. num_bytes: for each job."""
        self._lender = lender
        self._num_bytes = num_bytes
        self._on_granted = on_granted
        self._asked: asyncio.Task[Any] | None = None

    @property
    def is_ready(self) -> bool:
        """One more may begin."""
        return self._lender is None or (self._asked is not None and self._asked.done() and not self._asked.cancelled())

    @property
    def detail(self) -> str:
        """What such a job does meanwhile."""
        return f"waits for {self._num_bytes / 1e9:.1f} GB of memory (jobs.memory_bytes)"

    def ask(self) -> None:
        """For the next one, unless that has been done."""
        if self._lender is not None and self._asked is None:
            self._asked = asyncio.create_task(self._lender.borrow(self._num_bytes), name="memory for a job")
            self._asked.add_done_callback(lambda _: self._on_granted())

    def take(self) -> Callable[[], None]:
        """What was granted is one job's now. Returns what is to be called at its end."""
        if self._lender is None or self._asked is None:
            return lambda: None
        lender, loan = self._lender, self._asked.result()
        self._asked = None
        return lambda: lender.give_back(loan)

    def drop(self) -> None:
        """None waits any more."""
        if self._asked is not None:
            if self.is_ready:
                self.take()()
            else:
                self._asked.cancel()
                self._asked = None

"""Memory of the fleet's budget is lent to jobs, and pools of pages become smaller and larger for it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Protocol, cast

from llmos_server.contracts import EngineInfo
from llmos_server.engine.fleet_member import Member, mebibytes
from llmos_server.engine.fleet_plan import FleetPlan, Grant, Grow, Loan, Shrink, Slot
from llmos_server.errors import EngineBusy, EngineFailed
from llmos_server.process_memory import rss_of

RECHECK_SECONDS = 5.0
"""How often a job that waits is asked for anew: memory beside the budget may have become free."""

RESERVE_BYTES = 2**29
"""For the rest of the machine."""

log = logging.getLogger("llmos.fleet")


class Pooled(Protocol):
    """A decoder's worker."""

    async def resize_pool(self, num_pages: int) -> None:
        """See EngineClient."""
        ...


class Lending:
    """Part of a Fleet, on its event loop."""

    def __init__(
        self,
        plan: FleetPlan,
        members: Mapping[Slot, Member],
        available: Callable[[], int],
        step: Callable[[], None],
        spawn: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        """available: bytes that programs may take just now. step: the plan may have changed."""
        self._plan = plan
        self._members = members
        self._available = available
        self._step = step
        self._spawn = spawn
        self._waiting: dict[Loan, asyncio.Event] = {}

    async def borrow(self, num_bytes: int) -> Loan:
        """Returns when there is so much memory for a job; end that with give_back(). What is free beside the budget
        needs no loan, so the plan may be asked for less, or for nothing."""
        granted = asyncio.Event()
        loan = Loan(0, wanted_bytes=num_bytes)
        self._waiting[loan] = granted
        try:
            while not granted.is_set():
                loan.num_bytes = max(0, num_bytes - self._beside_budget())
                self._plan.ask_loan(loan)
                self._step()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(RECHECK_SECONDS):
                        await granted.wait()
        except BaseException:
            self.give_back(loan)
            raise
        finally:
            del self._waiting[loan]
        return loan

    def give_back(self, loan: Loan) -> None:
        self._plan.end_loan(loan)
        self._step()

    def carry_out(self, action: Grant | Shrink | Grow) -> None:
        if isinstance(action, Grant):
            self._waiting[action.loan].set()
        else:
            self._spawn(self._resize(self._members[action.slot]))

    def _beside_budget(self) -> int:
        """Bytes that nobody needs even if the workers, and the jobs that run, take all that they may."""
        workers = [member.worker for member in self._members.values()]
        resident = sum(rss_of(worker.pid) or 0 for worker in workers if worker is not None and worker.pid)
        promised = max(0, self._plan.budget - resident)
        promised += sum(loan.wanted_bytes - loan.num_bytes for loan in self._plan.loans if loan.is_granted)
        return max(0, self._available() - promised - RESERVE_BYTES)

    async def _resize(self, member: Member) -> None:
        slot, worker = member.slot, member.worker
        info = cast(EngineInfo, member.info)
        num_pages = info.num_pages - -(-(slot.given_bytes + slot.giving_bytes) // info.page_bytes)
        log.info("%s gets %d of its %d pages.", member.name, num_pages, info.num_pages)
        with contextlib.suppress(EngineBusy, EngineFailed):  # It has ended; the next worker will have as many.
            await cast(Pooled, worker).resize_pool(num_pages)
        if member.worker is worker and slot.giving_bytes:
            log.info("%s has given back %s.", member.name, mebibytes(slot.giving_bytes))
            self._plan.given(slot)
            self._step()

"""Several models under one memory budget: starts and ends their workers as fleet_plan.py decides."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Collection, Coroutine, Iterable
from typing import Any

from llmos_server.contracts import EncoderInfo, EngineInfo, EngineState, ModelVersion
from llmos_server.engine.fleet_member import (
    Member,
    Worker,
    failed,
    mebibytes,
    shutting_down,
    too_large,
    waited_too_long,
)
from llmos_server.engine.fleet_plan import Action, Evict, FleetPlan, Load, Settle, Slot, Ticket
from llmos_server.engine.footprint import Footprint
from llmos_server.engine.lending import Lending
from llmos_server.errors import EngineBusy, EngineFailed, LLMOSError, ModelNotFound
from llmos_server.fleet_contracts import FleetStatus

PATIENCE_SECONDS = 5.0
"""How long a load waits for others to become idle by themselves, and how long a model is of use before it must go."""
RETRY_PAUSE_SECONDS = 30.0
NUM_TICKS = 20
"""While somebody waits, time alone may change what the plan decides: it is asked so often within the patience."""

CreateWorker = Callable[[ModelVersion, Footprint], Worker]
Measure = Callable[[ModelVersion, int], Footprint]
"""(version, number of decoders that share the default for KV caches)"""

log = logging.getLogger("llmos.fleet")


class Fleet:
    """Everything runs on one event loop. api/ reaches it through the engines of fleet_engine.py."""

    def __init__(
        self,
        budget: int,
        measure: Measure,
        create_worker: CreateWorker,
        *,
        pinned: Collection[str] = (),
        idle_seconds: float = 0.0,
        patience: float = PATIENCE_SECONDS,
        available: Callable[[], int] = lambda: 0,
        retry_pause: float = RETRY_PAUSE_SECONDS,
    ) -> None:
        """budget: bytes for all workers. pinned: names of models that are never evicted.

        idle_seconds: a worker that nobody has used for so long is ended; 0: only when its room is needed.
        available: bytes that programs may take just now; what is left of it beside the budget is no loan.
        retry_pause: seconds after a failed load before the next one; it doubles with every failure in a row.
        """
        self._retry_pause = retry_pause
        self._plan = FleetPlan(budget, patience, idle_seconds)
        self._tick = patience / NUM_TICKS
        self._measure = measure
        self._create_worker = create_worker
        self._pinned = set(pinned)
        self._members: dict[str, Member] = {}
        """Of the versions that names stand for now."""
        self._by_slot: dict[Slot, Member] = {}
        """Those, and the ones that only finish what runs."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self.lending = Lending(self._plan, self._by_slot, available, self._step, self._spawn)
        self._stopping = asyncio.Event()

    @property
    def _is_stopping(self) -> bool:
        return self._stopping.is_set()

    def member(self, version: ModelVersion) -> Member:
        """The one of this version. Another version of the same name is replaced: what runs on it ends there."""
        known = self._members.get(version.name)
        if known is not None and known.version.digest == version.digest:
            return known
        if known is not None:
            self.remove(version.name, EngineBusy(f"{version.name} was pulled anew; send the request again."))
        slot = Slot(version.name, is_pinned=version.name in self._pinned)
        member = self._members[version.name] = self._by_slot[slot] = Member(version, slot)
        member.ended.set()
        self._plan.slots.append(slot)
        self._size(member)
        return member

    def remove(self, name: str, told: Exception) -> None:
        """Take no new requests for it; its worker ends with its last one. told: what those that wait are told."""
        member = self._members.pop(name, None)
        if member is None:
            return
        member.removal = told
        member.slot.is_unwanted = True
        self._refuse_waiting(member, told)
        self._forget_if_removed(member)
        self._step()

    def names(self) -> list[str]:
        return list(self._members)

    def pin(self, name: str, *, is_pinned: bool) -> None:
        """From now on: whether it may be evicted. Loads nothing and unloads nothing; for a name of any model."""
        (self._pinned.add if is_pinned else self._pinned.discard)(name)
        if (member := self._members.get(name)) is not None:
            self._plan.pin(member.slot, is_pinned=is_pinned)
            self._step()

    async def enter(self, member: Member, timeout: float | None) -> None:
        """Wait until the member has a worker, which may still load, and be a user of it; end that with leave().

        Raises EngineBusy on time-out, InvalidRequest when the model can't fit, EngineFailed when it couldn't be loaded.
        """
        self._check(member)
        if member.removal is not None:
            raise member.removal
        if member.slot.place == "absent" and not member.granted:
            self._size(member)
        ticket = self._plan.ask(member.slot)
        granted = member.granted[ticket] = asyncio.get_running_loop().create_future()
        try:
            self._step()
            async with asyncio.timeout(timeout):
                await granted
        except BaseException as error:
            self._plan.withdraw(ticket)
            if ticket.state == "admitted":
                self.leave(member)
            if isinstance(error, TimeoutError):
                raise waited_too_long(member, self._plan, timeout) from None
            raise
        finally:
            del member.granted[ticket]
            self._step()

    def leave(self, member: Member) -> None:
        """One user less. For every enter() that returned."""
        self._plan.leave(member.slot, self._now())
        self._step()

    async def wait_ready(self, member: Member, timeout: float | None) -> EngineInfo | EncoderInfo:
        """For users of the member. Raises EngineBusy on time-out or crash, EngineFailed when it can't be loaded."""
        worker = member.worker
        self._check(member)
        if worker is None or member.slot.place != "present":
            raise EngineBusy(f"{member.name} was unloaded; send the request again.")
        try:
            info = await worker.wait_ready(timeout)
        except EngineFailed:
            self._note_state(member)
            if member.failure is None:
                raise
            raise failed(member, self._now()) from None
        self._note_state(member)
        return info

    async def load(self, name: str, timeout: float | None) -> None:
        """Load it now, also when it has failed before. Raises as enter() and wait_ready() do."""
        member = self._named(name)
        if member.failure is not None:
            await member.ended.wait()
            member.failure = None
        await self.enter(member, timeout)
        try:
            await self.wait_ready(member, timeout)
        finally:
            self.leave(member)

    async def unload(self, name: str, timeout: float | None) -> bool:
        """End its worker as soon as nobody uses it; False: none ran. Raises EngineBusy when that takes too long."""
        member = self._named(name)
        member.failure = None
        if member.slot.place == "absent":
            return False
        member.slot.is_unwanted = True
        self._step()
        try:
            async with asyncio.timeout(timeout):
                await member.ended.wait()
        except TimeoutError:
            raise EngineBusy(
                f"{name} is still in use by {member.slot.num_users} requests after {timeout:g} s; it goes with the "
                "last of them."
            ) from None
        return True

    async def preload(self, names: Iterable[str]) -> None:
        """Begin to load these; returns at once. What fails is logged."""
        for name in names:
            self._spawn(self._preload(name))

    async def _preload(self, name: str) -> None:
        """Until it is loaded: nobody may send a request to a server whose default model isn't."""
        while not self._is_stopping:
            try:
                await self.load(name, None)
                return
            except EngineBusy:  # Its first start crashed, and its supervisor tries the next one.
                await self._pause(self._tick)
            except EngineFailed as error:
                log.error("%s is not loaded: %s", name, error)
                await self._pause(error.retry_after or self._retry_pause)
            except LLMOSError as error:
                log.error("%s is not loaded: %s", name, error)
                return

    async def _pause(self, seconds: float) -> None:
        """Ends early when the server does."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    def state_of(self, member: Member) -> EngineState:
        return "stopped" if self._is_stopping else member.state

    def failure_of(self, member: Member) -> str:
        """Why its state is "failed", and what comes next; "" in another state."""
        return "" if member.failure is None else str(failed(member, self._now()))

    def status(self) -> FleetStatus:
        self._note_states()
        return FleetStatus(
            budget_bytes=self._plan.budget,
            used_bytes=self._plan.num_bytes,
            lent_bytes=self._plan.num_lent,
            models=[member.status(self._now()) for member in self._members.values()],
            idle_seconds=self._plan.idle_seconds,
        )

    async def stop(self, grace: float = 0.0) -> None:
        """Refuse what waits, let what runs go on for at most `grace` seconds, end every worker."""
        self._stopping.set()
        if self._timer is not None:
            self._timer.cancel()
        members = list(self._by_slot.values())
        for granted in [granted for member in members for granted in member.granted.values()]:
            if not granted.done():
                granted.set_exception(shutting_down())
        await asyncio.gather(*(member.worker.stop(grace) for member in members if member.worker is not None))
        await asyncio.gather(*self._tasks)

    def _check(self, member: Member) -> None:
        """Raises when nothing can be had of this member any more."""
        if self._is_stopping:
            raise shutting_down()
        self._note_state(member)
        if member.failure is not None:
            if self._now() < member.retry_at or not member.ended.is_set():
                raise failed(member, self._now())
            member.failure = None

    def _named(self, name: str) -> Member:
        """Raises ModelNotFound: it may have been removed since its name was looked up."""
        member = self._members.get(name)
        if member is None:
            raise ModelNotFound(f"The model {name!r} was removed.")
        return member

    def _size(self, member: Member) -> None:
        """How many decoders share the default for KV caches changes with what was pulled."""
        names = {m.name for m in self._members.values() if m.version.kind == "decoder"}
        member.footprint = self._measure(member.version, len(names))
        member.slot.num_bytes = member.footprint.total

    def _note_states(self) -> None:
        for member in list(self._by_slot.values()):
            self._note_state(member)

    def _note_state(self, member: Member) -> None:
        """Take over what the worker says about itself: that it is ready, or that it has failed."""
        worker, slot = member.worker, member.slot
        if worker is None or slot.place != "present":
            return
        if worker.state == "ready" and slot.ready_at is None:
            member.note_ready(self._now())
        elif worker.state == "failed":
            member.note_failure(worker.load_failure, self._now(), self._retry_pause)
            self._refuse_waiting(member, failed(member, self._now()))
            self._do([self._plan.fail(slot)])

    def _step(self) -> None:
        """Whatever has changed: do what the plan makes of it."""
        if self._is_stopping:
            return
        self._note_states()
        self._do(self._plan.step(self._now()))
        self._arm_timer()

    def _do(self, actions: Iterable[Action]) -> None:
        for action in actions:
            if isinstance(action, Load):
                self._start(self._by_slot[action.slot])
            elif isinstance(action, Evict):
                self._spawn(self._end(self._by_slot[action.slot]))
            elif isinstance(action, Settle):
                self._settle(action.ticket)
            else:
                self.lending.carry_out(action)

    def _settle(self, ticket: Ticket) -> None:
        member = self._by_slot[ticket.slot]
        granted = member.granted[ticket]
        if granted.done():
            return  # Its request was cancelled or told something else, and takes care of the rest.
        if ticket.state == "admitted":
            granted.set_result(None)
        else:
            granted.set_exception(too_large(member, self._plan))

    def _start(self, member: Member) -> None:
        log.info("Loading %s (%s).", member.name, mebibytes(member.slot.num_bytes))
        member.num_loads += 1
        member.ended.clear()
        member.worker = self._create_worker(member.version, member.footprint)
        self._spawn(member.worker.start())

    async def _end(self, member: Member) -> None:
        assert member.worker is not None
        log.info("Unloading %s.", member.name)
        await member.worker.stop()
        member.worker = None
        member.num_evictions += member.failure is None
        self._plan.gone(member.slot)
        member.ended.set()
        self._forget_if_removed(member)
        self._step()

    def _refuse_waiting(self, member: Member, told: Exception) -> None:
        """Those that wait for its load; so nobody's wish makes it load again."""
        for ticket, granted in member.granted.items():
            self._plan.withdraw(ticket)
            if not granted.done():
                granted.set_exception(told)

    def _forget_if_removed(self, member: Member) -> None:
        if member.removal is not None and member.slot.place == "absent" and member.slot in self._by_slot:
            self._plan.slots.remove(member.slot)
            del self._by_slot[member.slot]

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _arm_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        change = self._plan.next_change()
        delay = self._tick if self._plan.queue else None if change is None else max(change - self._now(), 0.0)
        if delay is not None:
            self._timer = asyncio.get_running_loop().call_later(delay, self._step)

    def _now(self) -> float:
        return time.monotonic()

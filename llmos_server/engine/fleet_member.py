"""A model of a fleet, with or without a worker, and what is told about it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Protocol

from llmos_server.contracts import EncoderInfo, EngineInfo, EngineState, ModelVersion
from llmos_server.engine.fleet_plan import FleetPlan, Slot, Ticket
from llmos_server.engine.footprint import Footprint
from llmos_server.errors import EngineBusy, EngineFailed, InvalidRequest
from llmos_server.fleet_contracts import ModelStatus

MAX_PAUSES = 20
"""Most that the pause after a failed load grows to, in first pauses."""

LENT_RETRY_SECONDS = 60.0


class Worker(Protocol):
    """The lifecycle that EngineClient and EncoderClient share."""

    @property
    def state(self) -> EngineState: ...

    @property
    def info(self) -> EngineInfo | EncoderInfo | None: ...

    @property
    def load_failure(self) -> str:
        """Why the state is "failed"."""
        ...

    @property
    def pid(self) -> int | None: ...

    @property
    def num_restarts(self) -> int: ...

    async def start(self) -> None: ...

    async def stop(self, grace: float = 0.0) -> None:
        """Returns when the process has ended."""
        ...

    async def wait_ready(self, timeout: float | None = None) -> EngineInfo | EncoderInfo: ...


@dataclass(slots=True, eq=False)
class Member:
    """One version of one model, with or without a worker."""

    version: ModelVersion
    slot: Slot
    footprint: Footprint = field(default_factory=lambda: Footprint(weights=0, cache=0))
    worker: Worker | None = None
    info: EngineInfo | EncoderInfo | None = None
    """Of the last load."""
    failure: str | None = None
    """Why it could not be loaded; requests are told so until `retry_at`."""
    num_failures: int = 0
    """In a row."""
    retry_at: float = 0.0
    removal: Exception | None = None
    """What its requests are told once it has been removed or replaced."""
    granted: dict[Ticket, asyncio.Future[None]] = field(default_factory=dict)
    """Of the requests that wait for a load."""
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while there is no worker."""
    num_loads: int = 0
    load_seconds: float = 0.0
    num_evictions: int = 0

    @property
    def name(self) -> str:
        return self.version.name

    @property
    def state(self) -> EngineState:
        if self.failure is not None:
            return "failed"
        return self.worker.state if self.worker is not None and self.slot.place == "present" else "unloaded"

    def note_ready(self, now: float) -> None:
        """Once a load, when its worker is first seen ready."""
        assert self.worker is not None
        self.slot.ready_at, self.info = now, self.worker.info
        self.load_seconds += self.info.load_seconds if self.info is not None else 0.0
        self.num_failures = 0
        self.slot.spare_bytes = spare_of(self.info)

    def note_failure(self, text: str, now: float, first_pause: float) -> None:
        """Once a load. It is not tried again before the pause is over, which doubles with every failure in a row."""
        if self.failure is None:
            self.failure = text
            self.retry_at = now + min(first_pause * 2**self.num_failures, MAX_PAUSES * first_pause)
            self.num_failures = min(self.num_failures + 1, 16)

    def status(self, now: float) -> ModelStatus:
        """now: on the slots' clock."""
        slot, worker = self.slot, self.worker
        idle = 0.0 if slot.num_users else now - slot.last_used
        return ModelStatus(
            name=self.name,
            kind=self.version.kind,
            digest=self.version.digest,
            state=self.state,
            num_bytes=slot.num_bytes,
            is_pinned=slot.is_pinned,
            num_open_requests=slot.num_users,
            num_waiting=len(self.granted),
            last_used=time.time() - idle if slot.last_used else None,
            pid=worker.pid if worker is not None else None,
            num_restarts=worker.num_restarts if worker is not None else 0,
            num_loads=self.num_loads,
            load_seconds=self.load_seconds,
            num_evictions=self.num_evictions,
            failure=self.failure,
        )


def spare_of(info: EngineInfo | EncoderInfo | None) -> int:
    """Bytes that its pool can give back: of the pages that its longest sequence doesn't need."""
    if not isinstance(info, EngineInfo):
        return 0
    num_needed = -(-info.max_model_len // info.page_size)
    return (info.num_pages - num_needed) * info.page_bytes


def failed(member: Member, now: float) -> EngineFailed:
    """The cause, and when it is tried again."""
    seconds = max(1.0, member.retry_at - now)
    return EngineFailed(
        f"{member.failure} The next request after {seconds:.0f} s tries it again; mend the cause, and for at once: "
        f"llmos load {member.name}",
        retry_after=seconds,
    )


def too_large(member: Member, plan: FleetPlan) -> InvalidRequest | EngineBusy:
    """The bytes that it needs, those that there are, and what to do."""
    slot = member.slot
    if slot.num_bytes <= plan.room_for(slot) + plan.num_lent:
        return EngineBusy(
            f"{slot.name} needs {slot.num_bytes} bytes, and jobs have {plan.num_lent} of the budget of {plan.budget} "
            "until they end. Try again then, cancel one of them, or lower jobs.memory_bytes.",
            retry_after=LENT_RETRY_SECONDS,
        )
    pinned = [s.name for s in plan.slots if s.is_pinned and s is not slot and s.place == "present"]
    beside = f" beside {', '.join(pinned)} (pinned)" if pinned else ""
    return InvalidRequest(
        f"{slot.name} needs {slot.num_bytes} bytes ({mebibytes(slot.num_bytes)}), {member.footprint.cache} of them for "
        f"its KV cache. There are {plan.room_for(slot)} bytes{beside}, in a budget of {plan.budget}. "
        f"Loaded: {_loaded(plan.slots)}. Raise engine.memory_bytes, lower engine.cache_bytes, or pin less.",
        param="model",
        code="model_too_large",
    )


def waited_too_long(member: Member, plan: FleetPlan, timeout: float | None) -> EngineBusy:
    """For its place in memory."""
    return EngineBusy(
        f"{member.name} could not be loaded within {timeout:g} s (api.load_timeout_seconds): the memory is in use. "
        f"Loaded: {_loaded(plan.slots)}. Try again, unload one of them, or raise engine.memory_bytes.",
        retry_after=5.0,
    )


def shutting_down() -> EngineBusy:
    return EngineBusy("The server is shutting down; try again in a moment.", retry_after=5.0)


def mebibytes(num_bytes: int) -> str:
    return f"{num_bytes / 2**20:.0f} MiB"


def _loaded(slots: Collection[Slot]) -> str:
    """With their bytes and the requests that use them."""
    found = [f"{s.name} ({mebibytes(s.num_bytes)}, {s.num_users} in use)" for s in slots if s.place != "absent"]
    return ", ".join(found) or "none"

"""A fleet over fakes that notice when they are ended under a request, and that answer by their name. A plain module."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from llmos_server.contracts import EngineInfo, EngineState, EngineStats, ModelVersion
from llmos_server.engine.fleet_engine import EngineFleet
from llmos_server.engine.footprint import Footprint
from llmos_server.errors import EngineBusy, EngineFailed

WAIT = 20
SIZE = 2**30


def version(name: str, digest: str = "1", **fields: Any) -> ModelVersion:
    return ModelVersion(
        name=name, source=name, digest=f"sha256:{digest}", folder="/nowhere", weights=[], context_length=64,
        size_bytes=1, created=0, **fields,
    )  # fmt: skip


class FakeWorker:
    """Loads when told to, or at once."""

    alive: list[FakeWorker] = []

    def __init__(self, model: ModelVersion, footprint: Footprint, *, loads: bool = True) -> None:
        self.model = model
        self.footprint = footprint
        self.state: EngineState = "loading"
        self.info: EngineInfo | None = None
        self.stats = EngineStats()
        self.pid: int | None = None
        self.num_restarts = 0
        self.num_running = 0
        self.was_ended_under_requests = False
        self.load_failure = ""
        self.num_waits = 0
        self.ready = asyncio.Event()
        self.may_end = asyncio.Event()
        self.may_end.set()
        self._loads = loads
        self.num_pages: list[int] = []
        """That it had, one after the other."""
        self.may_resize = asyncio.Event()
        self.may_resize.set()

    @property
    def num_bytes(self) -> int:
        """Of a size of one: half of it is pages that it can give back."""
        return SIZE * (self.num_pages[-1] if self.num_pages else 8) // 8

    async def resize_pool(self, num_pages: int) -> None:
        await self.may_resize.wait()
        self.num_pages.append(num_pages)

    async def start(self) -> None:
        self.pid = 2**30  # Nobody's.
        FakeWorker.alive.append(self)
        if self._loads:
            self.become_ready()

    def become_ready(self) -> None:
        self.info = EngineInfo(
            model_digest=self.model.digest, architecture="fake", dtype="float32", device="cpu", vocab_size=9,
            context_length=64, max_model_len=64, page_size=16, num_pages=8, page_bytes=SIZE // 8, load_seconds=0.5,
        )  # fmt: skip
        self.state = "ready"
        self.ready.set()

    def crash_first_start(self) -> None:
        """And be started again: those that wait are told so."""
        self.state = "restarting"
        self.ready.set()

    def fail(self, reason: str) -> None:
        self.load_failure, self.state = reason, "failed"
        self.ready.set()

    async def stop(self, grace: float = 0.0) -> None:
        self.was_ended_under_requests |= bool(self.num_running)
        self.state = "stopped"
        await self.may_end.wait()
        await asyncio.sleep(0)
        if self in FakeWorker.alive:
            FakeWorker.alive.remove(self)

    async def wait_ready(self, timeout: float | None = None) -> EngineInfo:
        try:
            async with asyncio.timeout(timeout):
                await self.ready.wait()
        except TimeoutError:
            raise EngineBusy("still loading") from None
        self.num_waits += 1
        if self.load_failure:
            raise EngineFailed(self.load_failure)
        if self.state == "restarting":
            raise EngineBusy("restarting")
        assert self.info is not None
        return self.info

    def submit(self, request: Any) -> tuple[str, str, Any]:
        assert self.state == "ready"
        return self.model.name, self.model.digest, request

    async def encode(self, request: Any) -> list[bytes]:
        return [self.model.name.encode()]


class Bench:
    """A fleet over fakes, and what it made."""

    def __init__(self, budget: int = 2, *, patience: float = 0.02, loads: bool = True, **options: Any) -> None:
        self.workers: list[FakeWorker] = []
        self.sizes: dict[str, int] = {}
        self.loads = loads
        self.fleet = EngineFleet(budget * SIZE, self.measure, self.create, patience=patience, **options)

    def measure(self, model: ModelVersion, num_decoders: int) -> Footprint:
        overhead = Footprint(weights=0, cache=0).total
        return Footprint(weights=self.sizes.get(model.name, 1) * SIZE - overhead, cache=0)

    def create(self, model: ModelVersion, footprint: Footprint) -> FakeWorker:
        self.workers.append(FakeWorker(model, footprint, loads=self.loads))
        return self.workers[-1]

    def engine(self, name: str, digest: str = "1", **fields: Any) -> Any:
        return self.fleet.engine(version(name, digest, **fields))

    @property
    def loaded(self) -> set[str]:
        return {worker.model.name for worker in FakeWorker.alive}


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(WAIT):
        while not condition():
            await asyncio.sleep(0.001)

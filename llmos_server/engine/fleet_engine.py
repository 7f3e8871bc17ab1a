"""One caller's engine of one model in a fleet: loaded when it is waited for, kept while it is held."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import cast

from llmos_server.adapter_contracts import LoadedAdapter
from llmos_server.contracts import (
    Encoder,
    EncodeRequest,
    EncoderInfo,
    EngineInfo,
    EngineState,
    EngineStats,
    GenerateRequest,
    Generation,
    Generator,
    ModelVersion,
    PageLayout,
    ScoreRequest,
    Scores,
)
from llmos_server.engine.fleet import Fleet
from llmos_server.engine.fleet_member import Member
from llmos_server.engine.scoring import collect_scores
from llmos_server.errors import EngineBusy


class FleetEngine:
    """Make one for each request: what it has waited for within hold() it uses until the hold ends."""

    def __init__(self, fleet: Fleet, member: Member) -> None:
        self._fleet = fleet
        self._member = member
        self._num_holds = 0
        self._num_entries = 0
        """How often the fleet counts this as a user: 0 or 1, more if several waits went on at once."""

    @property
    def state(self) -> EngineState:
        return self._fleet.state_of(self._member)

    @property
    def load_failure(self) -> str:
        """See contracts.Engine."""
        return self._fleet.failure_of(self._member)

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """See contracts.Engine."""
        self._num_holds += 1
        try:
            yield
        finally:
            self._num_holds -= 1
            while self._num_entries and not self._num_holds:
                self._num_entries -= 1
                self._fleet.leave(self._member)

    async def _wait_ready(self, timeout: float | None) -> EngineInfo | EncoderInfo:
        loop = asyncio.get_running_loop()
        started = loop.time()
        with self.hold():  # Outside of a hold of the caller's, for this wait alone.
            if not self._num_entries:
                await self._fleet.enter(self._member, timeout)
                self._num_entries += 1
            try:
                left = None if timeout is None else max(timeout - (loop.time() - started), 0.0)
                return await self._fleet.wait_ready(self._member, left)
            except EngineBusy:
                if self.state != "loading":
                    raise
                message = f"{self._member.name} is still loading after {timeout:g} s (api.load_timeout_seconds)"
                raise EngineBusy(f"{message}; try again in a moment.", retry_after=5.0) from None

    def _require_hold(self) -> None:
        """Without it the worker might be ended under the request."""
        if not self._num_entries:
            raise RuntimeError("Enter hold() and then wait_ready() before a request is handed over.")


class FleetGenerator(FleetEngine):
    """Implements contracts.Generator."""

    @property
    def info(self) -> EngineInfo | None:
        return cast(EngineInfo | None, self._member.info)

    @property
    def stats(self) -> EngineStats:
        """All zero while the model isn't loaded."""
        worker = self._member.worker
        return EngineStats() if worker is None else cast(Generator, worker).stats

    async def wait_ready(self, timeout: float | None = None) -> EngineInfo:
        """See contracts.Generator."""
        return cast(EngineInfo, await self._wait_ready(timeout))

    def submit(self, request: GenerateRequest) -> Generation:
        """See contracts.Generator."""
        self._require_hold()
        if self._member.worker is None:
            raise EngineBusy(f"{self._member.name} could not be loaded; send the request again.")
        return cast(Generator, self._member.worker).submit(request)

    @property
    def adapters(self) -> list[LoadedAdapter]:
        """None while the model isn't loaded."""
        worker = self._member.worker
        return [] if worker is None else cast(Generator, worker).adapters

    async def load_adapter(self, digest: str) -> None:
        """See contracts.Generator."""
        self._require_hold()
        await cast(Generator, self._member.worker).load_adapter(digest)

    async def drop_adapter(self, digest: str) -> None:
        """See contracts.Generator. Neither loads the model nor keeps it."""
        if self._member.worker is not None and self.state == "ready":
            await cast(Generator, self._member.worker).drop_adapter(digest)

    async def map_pages(self) -> PageLayout:
        """See contracts.Generator. Neither loads the model nor keeps it."""
        if self._member.worker is None:
            raise EngineBusy(f"{self._member.name} isn't loaded, so it has no pages.")
        return await cast(Generator, self._member.worker).map_pages()

    async def score(self, request: ScoreRequest) -> Scores:
        """See contracts.Generator."""
        return await collect_scores(request, self.submit(request.to_generate()))


class FleetEncoder(FleetEngine):
    """Implements contracts.Encoder."""

    @property
    def info(self) -> EncoderInfo | None:
        return cast(EncoderInfo | None, self._member.info)

    async def wait_ready(self, timeout: float | None = None) -> EncoderInfo:
        """See contracts.Generator."""
        return cast(EncoderInfo, await self._wait_ready(timeout))

    async def encode(self, request: EncodeRequest) -> list[bytes]:
        """See contracts.Encoder."""
        self._require_hold()
        if self._member.worker is None:
            raise EngineBusy(f"{self._member.name} could not be loaded; send the request again.")
        return await cast(Encoder, self._member.worker).encode(request)


class EngineFleet(Fleet):
    """Implements contracts.EngineFleet."""

    def engine(self, version: ModelVersion) -> FleetGenerator | FleetEncoder:
        """See contracts.EngineFleet."""
        member = self.member(version)
        return FleetGenerator(self, member) if version.kind == "decoder" else FleetEncoder(self, member)

"""The torch-free face of an engine: hands requests to its worker and routes what comes back."""

from __future__ import annotations

import asyncio
import contextlib
import time

import msgspec

from llmos_server.adapter_contracts import LoadedAdapter
from llmos_server.backoff import Backoff
from llmos_server.contracts import (
    EngineInfo,
    EngineStats,
    GenerateRequest,
    ModelVersion,
    PageLayout,
    ScoreRequest,
    Scores,
)
from llmos_server.engine.connection import Endpoints
from llmos_server.engine.generation import EngineGeneration
from llmos_server.engine.launcher import Launcher, SubprocessLauncher
from llmos_server.engine.loaded_adapters import LoadedAdapters
from llmos_server.engine.messages import (
    AbortRequest,
    AdaptersChanged,
    AddRequest,
    DraftConfig,
    MapPages,
    PagesMapped,
    PoolResized,
    Report,
    RequestFailed,
    RequestsBegun,
    ResizePool,
    StepOutput,
    WorkerConfig,
)
from llmos_server.engine.queue_estimate import QueueEstimate, bounded_retry, has_filled_its_share
from llmos_server.engine.scoring import collect_scores
from llmos_server.engine.worker_client import WorkerClient
from llmos_server.engine.worker_config import configure_worker
from llmos_server.errors import EngineBusy, EngineFailed, InvalidRequest, LLMOSError, ModelFault
from llmos_server.settings import EngineSettings, LogSettings

NOT_FINITE = (
    "The model's numbers for this request are not finite (NaN or infinite), so there is no next token. "
    "Change the prompt; if other prompts fail, too, the weights are damaged: remove the model and pull it again."
)


Told = StepOutput | RequestsBegun | RequestFailed | AdaptersChanged | PoolResized | PagesMapped


class EngineClient(WorkerClient[EngineInfo, Told]):
    """Implements contracts.Generator for one model."""

    def __init__(
        self,
        model: ModelVersion,
        settings: EngineSettings,
        log: LogSettings,
        *,
        launcher: Launcher | None = None,
        backoff: Backoff | None = None,
        draft: ModelVersion | None = None,
    ) -> None:
        """log: how the worker logs. launcher and backoff: None for a process on this machine and the usual delays.
        draft: a model that guesses for this one."""
        super().__init__(model, settings, log, launcher or SubprocessLauncher(), backoff, reports=Report)
        self._draft = DraftConfig(draft.name, draft.folder, draft.weights, draft.quantization) if draft else None
        self._stats = EngineStats()
        self._open: dict[str, EngineGeneration] = {}
        self._queue = QueueEstimate()
        self._all_closed = asyncio.Event()
        self._asked_layout: asyncio.Future[PageLayout] | None = None
        self._num_pages = 0  # That it may have; 0: all that were laid out.
        self._resized: asyncio.Future[None] | None = None
        self._resizing = asyncio.Lock()
        self._adapters = LoadedAdapters()

    @property
    def adapters(self) -> list[LoadedAdapter]:
        """See contracts.Generator."""
        return self._adapters.loaded

    @property
    def stats(self) -> EngineStats:
        """Of the last step; all zero while no worker is ready."""
        stats, info = self._stats, self.info
        if not stats.num_pages and self.state == "ready" and info is not None:  # It has had none: all pages are free.
            stats = msgspec.structs.replace(stats, num_pages=info.num_pages, num_free_pages=info.num_pages)
        return msgspec.structs.replace(stats, queue_seconds=self._queue.seconds_in_all)

    @property
    def num_open_requests(self) -> int:
        """Requests handed over that have neither finished nor been aborted."""
        return len(self._open)

    def submit(self, request: GenerateRequest) -> EngineGeneration:
        """See contracts.Generator. Raises EngineBusy, too, when the queue is too long for this request's owner."""
        connection = self._supervisor.require_ready()
        self._check_queue(request.owner)
        if request.request_id in self._open:
            raise InvalidRequest(f"A request with the id {request.request_id!r} is running already; take a new id.")
        self._queue.join(request, time.monotonic(), was_idle=not self._open)
        generation = self._open[request.request_id] = EngineGeneration(request, self._abort)
        connection.send(AddRequest(epoch=connection.epoch, request=request))
        self._adapters.note_use(request.adapter)
        return generation

    async def score(self, request: ScoreRequest) -> Scores:
        """See contracts.Generator."""
        return await collect_scores(request, self.submit(request.to_generate()))

    async def map_pages(self) -> PageLayout:
        """See contracts.Generator. Who asks while an answer is under way gets the same."""
        connection = self._supervisor.require_ready()
        if self._asked_layout is None:
            self._asked_layout = asyncio.get_running_loop().create_future()
            self._asked_layout.add_done_callback(asyncio.Future.exception)  # All who asked may have left.
            connection.send(MapPages(epoch=connection.epoch))
        return await asyncio.shield(self._asked_layout)

    async def load_adapter(self, digest: str) -> None:
        """See contracts.Generator."""
        connection = self._supervisor.require_ready()
        await self._adapters.load(digest, connection.send, connection.epoch)

    async def drop_adapter(self, digest: str) -> None:
        """See contracts.Generator."""
        connection = self._supervisor.require_ready()
        await self._adapters.drop(digest, connection.send, connection.epoch)

    async def resize_pool(self, num_pages: int) -> None:
        """How many pages the worker may have, and whichever takes its place. Returns when it has no more, and the rest
        is the system's. Raises EngineBusy or EngineFailed when it has ended: the next one will have as many."""
        async with self._resizing:
            self._num_pages = num_pages
            connection = self._supervisor.require_ready()
            self._resized = asyncio.get_running_loop().create_future()
            connection.send(ResizePool(epoch=connection.epoch, num_pages=num_pages))
            await self._resized

    def _check_queue(self, owner: str) -> None:
        queue, settings = self._queue, self._settings
        num_own = queue.num_waiting_of(owner)
        if has_filled_its_share(num_own, queue.num_waiting, queue.num_owners, settings.max_waiting):
            raise EngineBusy(
                f"{num_own} of your requests wait already, of {queue.num_waiting} in all; try again later, "
                "or raise engine.max_waiting.",
                retry_after=bounded_retry(queue.seconds_for_a_place(owner)),
            )
        seconds = queue.seconds_before(owner)
        if settings.max_wait_seconds and seconds > settings.max_wait_seconds:
            raise EngineBusy(
                f"This request would wait for about {seconds:.0f} s; engine.max_wait_seconds allows "
                f"{settings.max_wait_seconds:.0f}. Try again later.",
                retry_after=bounded_retry(seconds - settings.max_wait_seconds),
            )

    def _configure(self, epoch: int, endpoints: Endpoints) -> WorkerConfig:
        return configure_worker(
            self._model,
            self._settings,
            epoch=epoch,
            endpoints=endpoints,
            draft=self._draft,
            log=self._log,
            heartbeat_seconds=self._heartbeat_seconds,
            num_pages=self._num_pages,
        )

    def _abort(self, generation: EngineGeneration, index: int | None) -> None:
        connection = self._supervisor.connection
        if connection is not None:
            connection.send(AbortRequest(epoch=connection.epoch, request_id=generation.request_id, index=index))
        self._close_if_done(generation)

    def _route(self, report: Told) -> None:
        if isinstance(report, RequestsBegun):
            for request_id in report.request_ids:
                if (begun := self._open.get(request_id)) is not None:
                    begun.has_begun = True
            return
        if isinstance(report, AdaptersChanged):
            self._adapters.note(report)
            return
        if isinstance(report, PoolResized):
            self._stats = report.stats
            if self._resized is not None and not self._resized.done():
                self._resized.set_result(None)
            return
        if isinstance(report, PagesMapped):
            if self._asked_layout is not None:
                self._asked_layout.set_result(report.layout)
                self._asked_layout = None
            return
        if isinstance(report, RequestFailed):
            self._end(report.request_id, InvalidRequest(report.message, code=report.code))
            return
        self._stats = report.stats
        if self._open:  # An idle engine reports, too, when its pages were asked for: no work has taken that time.
            self._queue.note_step(report.deltas, time.monotonic())
        for request_id in report.broken:
            self._end(request_id, ModelFault(NOT_FINITE))
        for delta in report.deltas:
            generation = self._open.get(delta.request_id)
            if generation is not None:
                generation.feed(delta)
                if delta.finish_reason is not None and not generation.is_given:
                    self._queue.note_answer(generation.num_tokens(delta.index))
                self._close_if_done(generation)

    def _end(self, request_id: str, error: LLMOSError) -> None:
        generation = self._open.get(request_id)
        if generation is not None:
            generation.fail(error)
            self._close_if_done(generation)

    def _close_if_done(self, generation: EngineGeneration) -> None:
        if not generation.is_open:
            del self._open[generation.request_id]
            self._queue.leave(generation.request_id)
        if not self._open:
            self._all_closed.set()

    def _lose(self, reason: str, retry_after: float) -> None:
        self._stats = EngineStats()
        self._adapters.lose(reason)
        super()._lose(reason, retry_after)

    async def _drain(self, grace: float) -> None:
        if self._open:
            self._all_closed.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._all_closed.wait(), grace)

    def _fail_open(self, error: EngineFailed) -> None:
        if self._asked_layout is not None:
            self._asked_layout.set_exception(error)
            self._asked_layout = None
        if self._resized is not None and not self._resized.done():
            self._resized.set_exception(error)
        for generation in list(self._open.values()):
            generation.fail(error)
            self._close_if_done(generation)

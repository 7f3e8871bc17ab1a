"""The torch-free face of an engine: hands requests to its worker and routes what comes back."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator

import msgspec

from llmos_server.contracts import EngineInfo, EngineState, EngineStats, GenerateRequest, ModelVersion
from llmos_server.engine.connection import Endpoints
from llmos_server.engine.generation import EngineGeneration
from llmos_server.engine.launcher import Launcher, SubprocessLauncher, num_usable_cores
from llmos_server.engine.messages import AbortRequest, AddRequest, Report, RequestFailed, StepOutput, WorkerConfig
from llmos_server.engine.queue_estimate import QueueEstimate, bounded_retry
from llmos_server.engine.supervisor import Backoff, Supervisor
from llmos_server.errors import EngineBusy, EngineFailed, InvalidRequest, LLMOSError, ModelFault
from llmos_server.settings import EngineSettings, LogSettings

MAX_HEARTBEAT_SECONDS = 2.0
NUM_BEATS_IN_TIMEOUT = 10
NOT_FINITE = (
    "The model's numbers for this request are not finite (NaN or infinite), so there is no next token. "
    "Change the prompt; if other prompts fail, too, the weights are damaged: remove the model and pull it again."
)


class EngineClient:
    """Implements contracts.Generator for one model. Everything runs on the event loop that called start()."""

    def __init__(
        self,
        model: ModelVersion,
        settings: EngineSettings,
        log: LogSettings,
        *,
        launcher: Launcher | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        """log: how the worker logs. launcher and backoff: None for a process on this machine and the usual delays."""
        self._model = model
        self._settings = settings
        self._log = log
        self._stats = EngineStats()
        self._open: dict[str, EngineGeneration] = {}
        self._queue = QueueEstimate()
        self._num_holds = 0
        self._all_closed = asyncio.Event()
        self._supervisor: Supervisor[EngineInfo, StepOutput | RequestFailed] = Supervisor(
            model.name,
            self._configure,
            launcher or SubprocessLauncher(),
            reports=Report,
            heartbeat_timeout=settings.heartbeat_timeout_seconds,
            backoff=backoff or Backoff(),
            on_report=self._route,
            on_loss=self._lose,
        )

    @property
    def state(self) -> EngineState:
        return self._supervisor.state

    @property
    def info(self) -> EngineInfo | None:
        return self._supervisor.info

    @property
    def stats(self) -> EngineStats:
        """Of the last step; all zero while no worker is ready."""
        return msgspec.structs.replace(self._stats, queue_seconds=self._queue.seconds_in_all)

    @property
    def num_restarts(self) -> int:
        return self._supervisor.num_restarts

    @property
    def pid(self) -> int | None:
        """The worker's, while one runs."""
        return self._supervisor.pid

    @property
    def num_open_requests(self) -> int:
        """Requests handed over that have neither finished nor been aborted."""
        return len(self._open)

    @property
    def is_busy(self) -> bool:
        """Whether anybody would miss the worker if it ended now."""
        return bool(self._open or self._num_holds)

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """See contracts.Engine."""
        self._num_holds += 1
        try:
            yield
        finally:
            self._num_holds -= 1

    async def start(self) -> None:
        """Begin to load the model; returns at once. What was started ends with stop()."""
        self._supervisor.start()

    async def stop(self, grace: float = 0.0) -> None:
        """Take no new requests, let the open ones run for at most `grace` seconds, then end the worker."""
        self._supervisor.refuse()
        if self._open:
            self._all_closed.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._all_closed.wait(), grace)
        self._fail_open(EngineFailed("The server is shutting down; send the request again.", retry_after=5.0))
        await self._supervisor.stop()

    async def wait_ready(self, timeout: float | None = None) -> EngineInfo:
        """See contracts.Generator. timeout: seconds; None waits as long as the load takes."""
        return await self._supervisor.wait_ready(timeout)

    def submit(self, request: GenerateRequest) -> EngineGeneration:
        """See contracts.Generator. Raises EngineBusy, too, when the queue is too long for this request's owner."""
        connection = self._supervisor.require_ready()
        self._check_queue(request.owner)
        if request.request_id in self._open:
            raise InvalidRequest(f"A request with the id {request.request_id!r} is running already; take a new id.")
        self._queue.join(request, time.monotonic(), was_idle=not self._open)
        generation = self._open[request.request_id] = EngineGeneration(request, self._abort)
        connection.send(AddRequest(epoch=connection.epoch, request=request))
        return generation

    def _check_queue(self, owner: str) -> None:
        """A full queue is closed to owners that fill their even share of it, and open to others."""
        queue, settings = self._queue, self._settings
        num_own = queue.num_waiting_of(owner)
        is_full = queue.num_waiting >= settings.max_waiting and num_own * queue.num_owners >= settings.max_waiting
        if is_full or num_own >= settings.max_waiting:
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
        settings = self._settings
        return WorkerConfig(
            epoch=epoch,
            commands_endpoint=endpoints.commands,
            reports_endpoint=endpoints.reports,
            model_digest=self._model.digest,
            model_folder=self._model.folder,
            weights=self._model.weights,
            device=settings.device,
            threads=settings.threads or num_usable_cores(),
            page_size=settings.page_size,
            cache_bytes=settings.cache_bytes,
            max_num_seqs=settings.max_num_seqs,
            max_num_batched_tokens=settings.max_num_batched_tokens,
            max_step_ms=settings.max_step_ms,
            prefix_caching=settings.prefix_caching,
            log=self._log,
            heartbeat_seconds=min(MAX_HEARTBEAT_SECONDS, settings.heartbeat_timeout_seconds / NUM_BEATS_IN_TIMEOUT),
        )

    def _abort(self, generation: EngineGeneration, index: int | None) -> None:
        connection = self._supervisor.connection
        if connection is not None:
            connection.send(AbortRequest(epoch=connection.epoch, request_id=generation.request_id, index=index))
        self._close_if_done(generation)

    def _route(self, report: StepOutput | RequestFailed) -> None:
        if isinstance(report, RequestFailed):
            self._end(report.request_id, InvalidRequest(report.message))
            return
        self._stats = report.stats
        self._queue.note_step(report.deltas, time.monotonic())
        for request_id in report.broken:
            self._end(request_id, ModelFault(NOT_FINITE))
        for delta in report.deltas:
            generation = self._open.get(delta.request_id)
            if generation is not None:
                generation.feed(delta)
                if delta.finish_reason is not None:
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
        message = f"The engine stopped while it answered ({reason}); send the request again."
        self._fail_open(EngineFailed(message, retry_after=retry_after))

    def _fail_open(self, error: EngineFailed) -> None:
        for generation in list(self._open.values()):
            generation.fail(error)
            self._close_if_done(generation)

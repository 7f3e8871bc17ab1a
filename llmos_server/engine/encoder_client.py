"""The torch-free face of an encoder's engine: hands requests to its worker and resolves them."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Iterator

from llmos_server.contracts import EncodeRequest, EncoderInfo, EngineState, ModelVersion
from llmos_server.engine.client import MAX_HEARTBEAT_SECONDS, NUM_BEATS_IN_TIMEOUT
from llmos_server.engine.connection import Endpoints
from llmos_server.engine.launcher import Launcher, SubprocessLauncher, num_usable_cores
from llmos_server.engine.messages import (
    AbortRequest,
    Broken,
    Encode,
    Encoded,
    EncoderConfig,
    EncoderReport,
    RequestFailed,
)
from llmos_server.engine.supervisor import Backoff, Supervisor
from llmos_server.errors import EngineBusy, EngineFailed, InvalidRequest, LLMOSError, ModelFault
from llmos_server.settings import EngineSettings, LogSettings

ENCODER_ARGV = (sys.executable, "-P", "-m", "llmos_server.engine.encoder_worker")
"""-P as for decoders."""

NOT_COMPUTED = (
    "The model could not compute this request (the server's log tells more). Change the input; if other inputs fail, "
    "too, the weights are damaged: remove the model and pull it again."
)


class EncoderClient:
    """Implements contracts.Encoder for one model. Everything runs on the event loop that called start()."""

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
        self._open: dict[str, asyncio.Future[list[bytes]]] = {}
        self._num_holds = 0
        self._supervisor: Supervisor[EncoderInfo, Encoded | Broken | RequestFailed] = Supervisor(
            model.name,
            self._configure,
            launcher or SubprocessLauncher(ENCODER_ARGV),
            reports=EncoderReport,
            heartbeat_timeout=settings.heartbeat_timeout_seconds,
            backoff=backoff or Backoff(),
            on_report=self._route,
            on_loss=self._lose,
        )

    @property
    def state(self) -> EngineState:
        return self._supervisor.state

    @property
    def info(self) -> EncoderInfo | None:
        return self._supervisor.info

    @property
    def num_restarts(self) -> int:
        return self._supervisor.num_restarts

    @property
    def pid(self) -> int | None:
        """The worker's, while one runs."""
        return self._supervisor.pid

    @property
    def num_open_requests(self) -> int:
        """Requests handed over that have neither finished nor been given up."""
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
            await asyncio.wait(list(self._open.values()), timeout=grace)
        self._fail_open(EngineFailed("The server is shutting down; send the request again.", retry_after=5.0))
        await self._supervisor.stop()

    async def wait_ready(self, timeout: float | None = None) -> EncoderInfo:
        """See contracts.Generator. timeout: seconds; None waits as long as the load takes."""
        return await self._supervisor.wait_ready(timeout)

    async def encode(self, request: EncodeRequest) -> list[bytes]:
        """See contracts.Encoder. Raises EngineBusy, too, when max_waiting requests are open already, ModelFault when
        the model can't compute this one."""
        connection = self._supervisor.require_ready()
        if len(self._open) >= self._settings.max_waiting:
            raise EngineBusy(f"{len(self._open)} requests are open already; try again in a moment.")
        if request.request_id in self._open:
            raise InvalidRequest(f"A request with the id {request.request_id!r} is running already; take a new id.")
        answer: asyncio.Future[list[bytes]] = asyncio.get_running_loop().create_future()
        self._open[request.request_id] = answer
        connection.send(Encode(epoch=connection.epoch, request=request))
        try:
            return await answer
        except asyncio.CancelledError:
            if connection is self._supervisor.connection:
                connection.send(AbortRequest(epoch=connection.epoch, request_id=request.request_id))
            raise
        finally:
            self._open.pop(request.request_id, None)

    def _configure(self, epoch: int, endpoints: Endpoints) -> EncoderConfig:
        settings = self._settings
        return EncoderConfig(
            epoch=epoch,
            commands_endpoint=endpoints.commands,
            reports_endpoint=endpoints.reports,
            model_digest=self._model.digest,
            model_folder=self._model.folder,
            weights=self._model.weights,
            device=settings.device,
            threads=settings.threads or num_encoder_threads(num_usable_cores()),
            max_batch_tokens=settings.max_encode_tokens,
            log=self._log,
            heartbeat_seconds=min(MAX_HEARTBEAT_SECONDS, settings.heartbeat_timeout_seconds / NUM_BEATS_IN_TIMEOUT),
        )

    def _route(self, report: Encoded | Broken | RequestFailed) -> None:
        answer = self._open.get(report.request_id)
        if answer is None or answer.done():
            return
        if isinstance(report, Encoded):
            answer.set_result(report.embeddings)
        elif isinstance(report, Broken):
            answer.set_exception(ModelFault(NOT_COMPUTED))
        else:
            answer.set_exception(InvalidRequest(report.message))

    def _lose(self, reason: str, retry_after: float) -> None:
        message = f"The engine stopped while it answered ({reason}); send the request again."
        self._fail_open(EngineFailed(message, retry_after=retry_after))

    def _fail_open(self, error: LLMOSError) -> None:
        for answer in self._open.values():
            if not answer.done():
                answer.set_exception(error)


def num_encoder_threads(num_cores: int) -> int:
    """An encoder shares the cores with decoders and the API process: half of them, at least one."""
    return max(num_cores // 2, 1)

"""The torch-free face of an encoder's engine: hands requests to its worker and resolves them."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter

from llmos_server.backoff import Backoff
from llmos_server.contracts import EncodeRequest, EncoderInfo, ModelVersion
from llmos_server.cores import num_usable_cores
from llmos_server.engine.connection import Endpoints
from llmos_server.engine.launcher import Launcher, SubprocessLauncher
from llmos_server.engine.messages import (
    AbortRequest,
    Broken,
    Encode,
    Encoded,
    EncoderConfig,
    EncoderReport,
    RequestFailed,
)
from llmos_server.engine.queue_estimate import has_filled_its_share
from llmos_server.engine.worker_client import WorkerClient
from llmos_server.errors import EngineBusy, EngineFailed, InvalidRequest, ModelFault
from llmos_server.settings import EngineSettings, LogSettings

ENCODER_ARGV = (sys.executable, "-P", "-m", "llmos_server.engine.encoder_worker")
"""-P as for decoders."""

NOT_COMPUTED = (
    "The model could not compute this request (the server's log tells more). Change the input; if other inputs fail, "
    "too, the weights are damaged: remove the model and pull it again."
)


class EncoderClient(WorkerClient[EncoderInfo, Encoded | Broken | RequestFailed]):
    """Implements contracts.Encoder for one model."""

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
        super().__init__(
            model, settings, log, launcher or SubprocessLauncher(ENCODER_ARGV), backoff, reports=EncoderReport
        )
        self._open: dict[str, asyncio.Future[list[bytes]]] = {}
        self._num_open_of: Counter[str] = Counter()

    @property
    def num_open_requests(self) -> int:
        """Requests handed over that have neither finished nor been given up."""
        return len(self._open)

    async def encode(self, request: EncodeRequest) -> list[bytes]:
        """See contracts.Encoder. Raises EngineBusy, too, when this request's owner has too many open already,
        ModelFault when the model can't compute this one."""
        connection = self._supervisor.require_ready()
        num_own, num_open = self._num_open_of[request.owner], len(self._open)
        if has_filled_its_share(num_own, num_open, len(self._num_open_of), self._settings.max_waiting):
            raise EngineBusy(
                f"{num_own} of your requests are open already, of {num_open} in all; try again in a moment."
            )
        if request.request_id in self._open:
            raise InvalidRequest(f"A request with the id {request.request_id!r} is running already; take a new id.")
        answer: asyncio.Future[list[bytes]] = asyncio.get_running_loop().create_future()
        self._open[request.request_id] = answer
        self._num_open_of[request.owner] += 1
        connection.send(Encode(epoch=connection.epoch, request=request))
        try:
            return await answer
        except asyncio.CancelledError:
            if connection is self._supervisor.connection:
                connection.send(AbortRequest(epoch=connection.epoch, request_id=request.request_id))
            raise
        finally:
            del self._open[request.request_id]
            self._num_open_of -= Counter([request.owner])  # Forgets those that have none.

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
            heartbeat_seconds=self._heartbeat_seconds,
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

    async def _drain(self, grace: float) -> None:
        if self._open:
            await asyncio.wait(list(self._open.values()), timeout=grace)

    def _fail_open(self, error: EngineFailed) -> None:
        for answer in self._open.values():
            if not answer.done():
                answer.set_exception(error)


def num_encoder_threads(num_cores: int) -> int:
    """An encoder shares the cores with decoders and the API process: half of them, at least one."""
    return max(num_cores // 2, 1)

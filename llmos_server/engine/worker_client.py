"""What the faces of decoders and encoders share: the life of one worker, from start() to stop()."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from typing import Any, Generic

from llmos_server.backoff import Backoff
from llmos_server.contracts import EngineState, ModelVersion
from llmos_server.engine.connection import Endpoints
from llmos_server.engine.launcher import Launcher
from llmos_server.engine.life_signs import Limits
from llmos_server.engine.messages import Info, ProcessConfig
from llmos_server.engine.supervisor import Output, Supervisor
from llmos_server.errors import EngineFailed
from llmos_server.settings import EngineSettings, LogSettings

MAX_HEARTBEAT_SECONDS = 2.0
NUM_BEATS_IN_TIMEOUT = 10


class WorkerClient(ABC, Generic[Info, Output]):
    """One model's worker. Everything runs on the event loop that called start().

    A subclass hands requests over and settles them; it says how to configure the worker, what its reports mean, and how
    its open requests end without one.
    """

    def __init__(
        self,
        model: ModelVersion,
        settings: EngineSettings,
        log: LogSettings,
        launcher: Launcher,
        backoff: Backoff | None,
        *,
        reports: Any,
    ) -> None:
        """log: how the worker logs. backoff: None for the usual delays. reports: the union of the worker's reports."""
        self._model = model
        self._settings = settings
        self._log = log
        self._supervisor: Supervisor[Info, Output] = Supervisor(
            model.name,
            self._configure,
            launcher,
            reports=reports,
            limits=Limits(
                silence=settings.heartbeat_timeout_seconds,
                step=settings.step_timeout_seconds,
                load=settings.load_timeout_seconds,
            ),
            backoff=backoff or Backoff(),
            on_report=self._route,
            on_loss=self._lose,
        )

    @property
    def state(self) -> EngineState:
        return self._supervisor.state

    @property
    def info(self) -> Info | None:
        return self._supervisor.info

    @property
    def load_failure(self) -> str:
        """See contracts.Engine."""
        return self._supervisor.load_failure

    @property
    def num_restarts(self) -> int:
        return self._supervisor.num_restarts

    @property
    def pid(self) -> int | None:
        """The worker's, while one runs."""
        return self._supervisor.pid

    def hold(self) -> AbstractContextManager[None]:
        """See contracts.Engine. Nothing but stop() ends this worker."""
        return contextlib.nullcontext()

    async def start(self) -> None:
        """Begin to load the model; returns at once. What was started ends with stop()."""
        self._supervisor.start()

    async def stop(self, grace: float = 0.0) -> None:
        """Take no new requests, let the open ones run for at most `grace` seconds, then end the worker."""
        self._supervisor.refuse()
        await self._drain(grace)
        self._fail_open(EngineFailed("The server is shutting down; send the request again.", retry_after=5.0))
        await self._supervisor.stop()

    async def wait_ready(self, timeout: float | None = None) -> Info:
        """See contracts.Generator. timeout: seconds; None waits as long as the load takes."""
        return await self._supervisor.wait_ready(timeout)

    @property
    def _heartbeat_seconds(self) -> float:
        return min(MAX_HEARTBEAT_SECONDS, self._settings.heartbeat_timeout_seconds / NUM_BEATS_IN_TIMEOUT)

    def _lose(self, reason: str, retry_after: float) -> None:
        message = f"The engine stopped while it answered ({reason}); send the request again."
        self._fail_open(EngineFailed(message, retry_after=retry_after))

    @abstractmethod
    def _configure(self, epoch: int, endpoints: Endpoints) -> ProcessConfig: ...

    @abstractmethod
    def _route(self, report: Output) -> None: ...

    @abstractmethod
    async def _drain(self, grace: float) -> None:
        """Wait until no request is open, at most `grace` seconds."""

    @abstractmethod
    def _fail_open(self, error: EngineFailed) -> None: ...

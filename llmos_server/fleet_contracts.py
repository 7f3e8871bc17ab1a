"""Several models under one memory budget: a chapter of contracts.py, with the same rules."""

from __future__ import annotations

from typing import Protocol

import msgspec

from llmos_server.contracts import Encoder, EngineState, Generator, ModelKind, ModelVersion


class ModelStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What the fleet of engines knows about one model that it may load."""

    name: str
    kind: ModelKind
    digest: str
    state: EngineState
    num_bytes: int
    """What its worker takes, or would take, by the account of the memory budget."""
    is_pinned: bool
    num_open_requests: int
    """That use the model now."""
    num_waiting: int
    """That wait for it to be loaded."""
    last_used: float | None = None
    """Unix seconds; None: not since the server started."""
    pid: int | None = None
    num_restarts: int = 0
    """Of the present worker, after crashes."""
    num_loads: int = 0
    load_seconds: float = 0.0
    """Of all loads together, as the engines themselves measured them."""
    num_evictions: int = 0
    failure: str | None = None
    """Why it could not be loaded; it is not tried again until somebody asks for that."""


class FleetStatus(msgspec.Struct, frozen=True, kw_only=True):
    """All of them, and the account of the memory budget, in bytes."""

    budget_bytes: int
    used_bytes: int
    lent_bytes: int = 0
    """Of the budget, what jobs have meanwhile."""
    models: list[ModelStatus]
    idle_seconds: float = 0.0
    """A model that nobody has used for so long is unloaded; 0: only when its memory is needed."""


class EngineFleet(Protocol):
    """The face of all engines together that the API sees: one for each model that the registry has."""

    def engine(self, version: ModelVersion) -> Generator | Encoder:
        """For one request. Another version of the same name is replaced: it ends with its last request."""
        ...

    def names(self) -> list[str]:
        """Of the models that it knows, loaded or not."""
        ...

    def remove(self, name: str, told: Exception) -> None:
        """Take no new requests; the worker ends with its last one. told: what those that wait for it are told."""
        ...

    def pin(self, name: str, *, is_pinned: bool) -> None:
        """From now on: whether it may be evicted. Loads nothing and unloads nothing; for a name of any model."""
        ...

    async def load(self, name: str, timeout: float | None) -> None:
        """Load it now, also when that has failed before. Raises as Generator.wait_ready does."""
        ...

    async def unload(self, name: str, timeout: float | None) -> bool:
        """End its worker as soon as nobody uses it; False: none ran. Raises errors.EngineBusy on time-out."""
        ...

    def status(self) -> FleetStatus: ...

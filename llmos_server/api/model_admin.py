"""What an administrator does with models: the registry, the fleet and the directory together."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from llmos_server.api.capabilities import capabilities
from llmos_server.api.pins import Pins
from llmos_server.api.pulls import Pulls
from llmos_server.api.schemas.admin_models import AdminModel, AdminModelList
from llmos_server.api.served import Directory, ListedModel
from llmos_server.contracts import ModelVersion
from llmos_server.errors import LLMOSError, ModelNotFound
from llmos_server.fleet_contracts import EngineFleet, FleetStatus, ModelStatus
from llmos_server.registry.registry import Registry
from llmos_server.registry.shape import quantization

ReadAttention = Callable[[ModelVersion, Sequence[int], int], Awaitable[npt.NDArray[np.float32]]]
"""(version, token ids, layer) -> [heads, queries, keys]. Raises InvalidRequest for what can't be computed, EngineFailed
for what went wrong. Cancelling gives it up."""


class ModelAdmin:
    """home_id: of the registry's LLMOS_HOME."""

    def __init__(
        self,
        registry: Registry,
        fleet: EngineFleet,
        directory: Directory,
        home_id: str,
        pins: Pins | None = None,
        read_attention: ReadAttention | None = None,
    ) -> None:
        """pins: None keeps none. read_attention: None can't."""
        self.pulls = Pulls(registry)
        self.home_id = home_id
        self.read_attention = read_attention
        self._pins = pins or Pins(fleet, None)
        self._registry = registry
        self._fleet = fleet
        self._directory = directory
        self._unloads: set[asyncio.Task[None]] = set()

    def list(self) -> AdminModelList:
        """In the directory's order."""
        listed = self._directory.list()
        fleet = self._fleet.status()
        states = {status.name: status for status in fleet.models}
        default = self._default()
        data = [
            self._row(model, model.version, states[model.id], is_default=model.id == default)
            for model in listed
            if model.version is not None
        ]
        return AdminModelList(budget_bytes=fleet.budget_bytes, used_bytes=fleet.used_bytes, data=data)

    def fleet_status(self) -> FleetStatus:
        """Of what is in memory, or was."""
        return self._fleet.status()

    async def load(self, name: str, timeout: float) -> AdminModel:
        """Raises ModelNotFound, and as EngineFleet.load does."""
        wanted = await self._known(name)
        await self._fleet.load(wanted, timeout)
        return self._model(wanted)

    async def unload(self, name: str, timeout: float) -> AdminModel:
        """Returns when its worker has ended. Raises ModelNotFound, EngineBusy."""
        wanted = await self._known(name)
        await self._fleet.unload(wanted, timeout)
        return self._model(wanted)

    def unload_soon(self, model_id: str) -> None:
        """The same, but nobody waits for it. A model that went meanwhile is no matter."""
        task = asyncio.create_task(self._unload_quietly(model_id))
        self._unloads.add(task)
        task.add_done_callback(self._unloads.discard)

    async def _unload_quietly(self, model_id: str) -> None:
        with contextlib.suppress(LLMOSError):
            await self._fleet.unload(model_id, None)

    async def remove(self, name: str) -> str:
        """Off the disk. What runs on it ends in order, and its worker with that; new requests get a 404 from now on."""
        wanted = self._registry.resolve(name)
        await asyncio.to_thread(self._registry.remove, wanted)
        self._fleet.remove(wanted, ModelNotFound(f"The model {name!r} was removed."))
        await self._pins.forget(wanted)
        return wanted

    async def pin(self, name: str) -> AdminModel:
        """It is never evicted from now on, also after a restart. Raises ModelNotFound, StoreUnavailable."""
        wanted = self.version(name).name
        await self._pins.pin(wanted)
        return self._model(wanted)

    async def unpin(self, name: str) -> AdminModel:
        """Raises ModelNotFound, InvalidRequest for what the settings pin, StoreUnavailable."""
        wanted = self.version(name).name
        await self._pins.unpin(wanted)
        return self._model(wanted)

    def version(self, name: str | None) -> ModelVersion:
        """As it is on disk; None is the default model. Raises ModelNotFound."""
        return self._registry.get(self._directory.default().id if name is None else name)

    async def _known(self, name: str) -> str:
        return (await self._directory.get(name)).id

    def _default(self) -> str | None:
        """None where it isn't there any more."""
        try:
            return self._directory.default().id
        except ModelNotFound:
            return None

    def _row(self, model: ListedModel, version: ModelVersion, status: ModelStatus, *, is_default: bool) -> AdminModel:
        pinned_by: Literal["settings", "administrator"] = (
            "settings" if self._pins.is_from_settings(model.id) else "administrator"
        )
        return AdminModel(
            id=model.id,
            aliases=list(self._directory.aliases_of(model.id)),
            capabilities=capabilities(model),
            quantization=quantization(version),
            quantization_at_load=version.quantization,
            num_parameters=version.num_parameters,
            size_bytes=version.size_bytes,
            context_length=model.max_model_len,
            state=status.state,
            is_default=is_default,
            is_pinned=status.is_pinned,
            pinned_by=pinned_by if status.is_pinned else None,
            version=version,
            status=status,
        )

    def _model(self, name: str) -> AdminModel:
        for model in self.list().data:
            if model.version.name == name:
                return model
        raise ModelNotFound(f"The model {name!r} was removed.")

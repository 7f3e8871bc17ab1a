"""What an administrator does with models: the registry, the fleet and the directory together."""

from __future__ import annotations

import asyncio
import contextlib

from llmos_server.api.pulls import Pulls
from llmos_server.api.schemas.admin_models import AdminModel, AdminModelList
from llmos_server.api.served import Directory
from llmos_server.errors import LLMOSError, ModelNotFound
from llmos_server.fleet_contracts import EngineFleet, FleetStatus
from llmos_server.registry.registry import Registry


class ModelAdmin:
    """home_id: of the registry's LLMOS_HOME."""

    def __init__(self, registry: Registry, fleet: EngineFleet, directory: Directory, home_id: str) -> None:
        self.pulls = Pulls(registry)
        self.home_id = home_id
        self._registry = registry
        self._fleet = fleet
        self._directory = directory
        self._unloads: set[asyncio.Task[None]] = set()

    def list(self) -> AdminModelList:
        """In the directory's order."""
        listed = self._directory.list()
        fleet = self._fleet.status()
        states = {status.name: status for status in fleet.models}
        data = [AdminModel(version=m.version, status=states[m.id]) for m in listed if m.version is not None]
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
        return wanted

    async def _known(self, name: str) -> str:
        return (await self._directory.get(name)).id

    def _model(self, name: str) -> AdminModel:
        for model in self.list().data:
            if model.version.name == name:
                return model
        raise ModelNotFound(f"The model {name!r} was removed.")

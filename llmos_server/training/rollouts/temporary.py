"""The weights that a run trains, where the server's engine finds them: under a name that no list shows."""

from __future__ import annotations

import shutil
from contextlib import suppress
from typing import Any

import httpx2
import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from llmos_server.adapter_contracts import TEMPORARY
from llmos_server.job_client import create_client
from llmos_server.registry.disk import fresh_folder
from llmos_server.store.adapters import register_temporary
from llmos_server.training.adapters import publish_adapter
from llmos_server.training.run import Run

FORGET_SECONDS = 5.0


class TemporaryAdapter:
    """One at a time. Its content's digest is what the engine knows it by, so that nothing that was computed with other
    weights, cached prefixes among it, is ever taken for its own."""

    def __init__(self, run: Run) -> None:
        """Named by the attempt, too: an earlier one that still runs can't take it away."""
        self._run = run
        self.name = f"{run.version.name}:{TEMPORARY}{run.context.job.id}-{run.context.job.epoch}"
        self._is_there = False

    async def push(self, model: Any) -> None:
        """model: PEFT's. From here on the name leads to its weights as they are now; the ones before are gone from the
        engine and from the disk. Raises LeaseLost."""
        await self.remove()  # First: a step may have changed nothing, and the same content comes again.
        folder = fresh_folder(self._run.context.folder / "rollouts")
        try:
            model.save_pretrained(folder)
            adapter = publish_adapter(self._run, folder, self._run.suffix)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        adapter = msgspec.structs.replace(adapter, name=self.name)

        async def write(connection: AsyncConnection) -> None:
            await register_temporary(connection, adapter)

        self._run.context.write(write)
        self._is_there = True

    async def remove(self) -> None:
        """What can't be removed now is removed by the server's sweeping, once the job has ended."""
        if not self._is_there:
            return
        self._is_there = False
        async with create_client(self._run.context.server, 1) as client:
            with suppress(httpx2.HTTPError):
                await client.delete(f"/v1/models/{self.name}", timeout=FORGET_SECONDS)

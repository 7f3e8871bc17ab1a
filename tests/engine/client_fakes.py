"""A client over real worker processes that run the scripted model. A plain module."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import engine_fakes

from llmos_server.backoff import Backoff
from llmos_server.contracts import Generation, ModelVersion
from llmos_server.engine.client import EngineClient
from llmos_server.engine.launcher import SubprocessLauncher, WorkerProcess
from llmos_server.engine.messages import WorkerConfig
from llmos_server.settings import EngineSettings, LogSettings

NUM_PAGES = 4096
SCRIPT = engine_fakes.__file__
ENDLESS = 60_000
"""Tokens that no test waits for."""


class RecordingLauncher:
    """Starts scripted workers and remembers them."""

    def __init__(self, argv: tuple[str, ...] = (sys.executable, SCRIPT)) -> None:
        self.processes: list[WorkerProcess] = []
        self.configs: list[WorkerConfig] = []
        self._launcher = SubprocessLauncher(argv)

    async def launch(self, config: WorkerConfig) -> WorkerProcess:
        process = await self._launcher.launch(config)
        self.processes.append(process)
        self.configs.append(config)
        return process


@asynccontextmanager
async def running_client(
    script: str = "sha256:0",
    *,
    launcher: RecordingLauncher | None = None,
    log: LogSettings = LogSettings(),  # noqa: B008 - frozen
    **fields: object,
) -> AsyncIterator[tuple[EngineClient, RecordingLauncher]]:
    """script: see create_scripted_runner. fields: of EngineSettings."""
    launcher = launcher or RecordingLauncher()
    model = ModelVersion(
        name="scripted", source="", digest=script, folder="", weights=[], context_length=0, size_bytes=0, created=0
    )
    settings = EngineSettings(cache_bytes=NUM_PAGES, threads=1, **fields)
    backoff = Backoff(first=0.01, maximum=0.02, maximum_after_ready=0.02)
    client = EngineClient(model, settings, log, launcher=launcher, backoff=backoff)
    await client.start()
    try:
        yield client, launcher
    finally:
        await client.stop()


async def collect(generation: Generation) -> dict[int, list[int]]:
    output: dict[int, list[int]] = {}
    async for deltas in generation:
        assert deltas
        for delta in deltas:
            output.setdefault(delta.index, []).extend(delta.token_ids)
    return output


async def until(condition: Callable[[], bool]) -> None:
    """Polls what other processes bring about; the test's own time-out ends it."""
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.005)


async def ready(client: EngineClient) -> None:
    await client.wait_ready(30)


def within(seconds: float, awaitable: Awaitable[object]) -> Awaitable[object]:
    return asyncio.wait_for(awaitable, seconds)

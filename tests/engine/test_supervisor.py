"""The supervisor over workers that only seem to be processes."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
import zmq.asyncio

from llmos_server.backoff import Backoff
from llmos_server.contracts import EngineInfo
from llmos_server.engine.connection import Endpoints
from llmos_server.engine.life_signs import Limits
from llmos_server.engine.messages import Heartbeat, ProcessConfig, Ready, Report
from llmos_server.engine.supervisor import Supervisor
from llmos_server.errors import EngineFailed

INFO = EngineInfo(
    model_digest="sha256:0", architecture="fake", dtype="float32", device="cpu", vocab_size=9, context_length=64,
    max_model_len=64, page_size=16, num_pages=4, load_seconds=0.5,
)  # fmt: skip


class FakeProcess:
    pid = 4711

    def __init__(self, config: ProcessConfig, context: zmq.asyncio.Context) -> None:
        self.epoch = config.epoch
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._reports = context.socket(zmq.PUSH)
        self._reports.connect(config.reports_endpoint)

    async def report(self, report: msgspec.Struct) -> None:
        await self._reports.send(msgspec.msgpack.encode(report))

    async def wait(self) -> int:
        return await asyncio.shield(self.ended)

    def kill(self) -> None:
        if not self.ended.done():
            self.ended.set_result(-signal.SIGKILL)


class FakeLauncher:
    def __init__(self, context: zmq.asyncio.Context) -> None:
        self.processes: list[FakeProcess] = []
        self._context = context

    async def launch(self, config: ProcessConfig) -> FakeProcess:
        self.processes.append(FakeProcess(config, self._context))
        return self.processes[-1]


def configure(epoch: int, endpoints: Endpoints) -> ProcessConfig:
    return ProcessConfig(
        epoch=epoch, commands_endpoint=endpoints.commands, reports_endpoint=endpoints.reports, model_digest="",
        model_folder="", weights=[], device="cpu", threads=1,
    )  # fmt: skip


@asynccontextmanager
async def supervising(**limits: float) -> AsyncIterator[tuple[Supervisor[EngineInfo, Any], FakeLauncher, list[str]]]:
    """With what was told of losses."""
    losses: list[str] = []
    context = zmq.asyncio.Context()
    launcher = FakeLauncher(context)
    supervisor: Supervisor[EngineInfo, Any] = Supervisor(
        "fake",
        configure,
        launcher,
        reports=Report,
        limits=Limits(**{"silence": 30.0, "step": 0.0, "load": 0.0, **limits}),
        backoff=Backoff(first=0.01, maximum=0.02, maximum_after_ready=0.02),
        on_report=lambda report: None,
        on_loss=lambda reason, retry_after: losses.append(reason),
    )
    supervisor.start()
    try:
        yield supervisor, launcher, losses
    finally:
        for process in launcher.processes:
            process.kill()
        await supervisor.stop()
        context.destroy(linger=0)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


async def test_a_first_load_that_hangs_has_failed(caplog: pytest.LogCaptureFixture) -> None:
    async with supervising(load=0.1) as (supervisor, launcher, losses):
        told = r"fake could not be loaded: its load took longer than 0.1 s \(engine.load_timeout_seconds\)"
        with pytest.raises(EngineFailed, match=told):
            await supervisor.wait_ready(20)
        await until(lambda: losses)
        assert supervisor.state == "failed"
        assert await launcher.processes[0].wait() == -signal.SIGKILL
        assert len(launcher.processes) == 1
    assert "load took longer" in caplog.text


async def test_a_load_that_hangs_after_the_worker_was_ready_once_is_begun_again() -> None:
    async with supervising(load=1.0) as (supervisor, launcher, losses):
        await until(lambda: launcher.processes)
        await launcher.processes[0].report(Ready(epoch=1, info=INFO))
        await supervisor.wait_ready(20)
        launcher.processes[0].kill()
        await until(lambda: len(launcher.processes) == 3)
        await launcher.processes[2].report(Ready(epoch=3, info=INFO))
        await until(lambda: supervisor.state == "ready")
    assert ["load took longer" in reason for reason in losses[:2]] == [False, True]


async def test_a_worker_that_beats_from_within_one_step_for_too_long_is_ended() -> None:
    async with supervising(silence=2.0, step=1.5) as (_, launcher, losses):
        await until(lambda: launcher.processes)
        first = launcher.processes[0]
        await first.report(Ready(epoch=1, info=INFO))
        for seconds in (1.0, 3600.0):
            await first.report(Heartbeat(epoch=1, step_seconds=seconds))
        assert await first.wait() == -signal.SIGKILL
        await until(lambda: len(launcher.processes) == 2)
    assert losses[0] == "it hung for 3600 s in one step (engine.step_timeout_seconds)"

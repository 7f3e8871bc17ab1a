"""The encoder's client against real worker processes that run a scripted encoder."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import encoder_fakes
import pytest
from encoder_fakes import CRASH_TOKEN, DEATH_TOKEN, SLOW_TOKEN, expected, make_request

from llmos_server.backoff import Backoff
from llmos_server.contracts import Encoder, ModelVersion
from llmos_server.engine.encoder_client import EncoderClient, num_encoder_threads
from llmos_server.engine.launcher import SubprocessLauncher, WorkerProcess
from llmos_server.engine.messages import ProcessConfig
from llmos_server.errors import EngineBusy, EngineFailed, InvalidRequest, ModelFault
from llmos_server.settings import EngineSettings, LogSettings

SLOW = [[SLOW_TOKEN]] * 2000
"""Takes longer than any test waits."""


class RecordingLauncher:
    """Starts scripted workers and remembers them."""

    def __init__(self) -> None:
        self.processes: list[WorkerProcess] = []
        self.configs: list[ProcessConfig] = []
        self._launcher = SubprocessLauncher((sys.executable, encoder_fakes.__file__))

    async def launch(self, config: ProcessConfig) -> WorkerProcess:
        process = await self._launcher.launch(config)
        self.processes.append(process)
        self.configs.append(config)
        return process


@asynccontextmanager
async def running(script: str = "sha256:0", **fields: object) -> AsyncIterator[tuple[EncoderClient, RecordingLauncher]]:
    launcher = RecordingLauncher()
    model = ModelVersion(
        name="scripted", source="", digest=script, folder="", weights=[], context_length=0, size_bytes=0, created=0,
        kind="encoder",
    )  # fmt: skip
    settings = EngineSettings(**{"threads": 1, "max_encode_tokens": 1, **fields})
    client = EncoderClient(model, settings, LogSettings(), launcher=launcher, backoff=Backoff(first=0.01, maximum=0.02))
    await client.start()
    try:
        yield client, launcher
    finally:
        await client.stop()


async def until(condition: Callable[[], bool]) -> None:
    """Polls what other processes bring about; the test's own time-out ends it."""
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.005)


async def test_requests_are_answered_in_the_order_of_their_inputs() -> None:
    async with running(max_encode_tokens=40) as (client, _):
        face: Encoder = client
        info = await face.wait_ready(30)
        assert (face.state, face.info, info.max_input_tokens) == ("ready", info, encoder_fakes.MAX_TOKENS)
        requests = [make_request(f"r{i}", [[i, *range(j)] for j in range(1, 12)], f"o{i % 3}") for i in range(9)]
        answers = await asyncio.gather(*map(face.encode, requests))
        assert answers == [expected(request) for request in requests]
        assert client.num_open_requests == 0


async def test_a_cancelled_request_frees_the_worker() -> None:
    async with running() as (client, _):
        await client.wait_ready(30)
        slow = asyncio.create_task(client.encode(make_request("slow", SLOW)))
        await until(lambda: client.num_open_requests == 1)
        slow.cancel()
        with pytest.raises(asyncio.CancelledError):
            await slow
        assert client.num_open_requests == 0
        request = make_request("slow", [[1, 2]])  # Its id is free again.
        assert await asyncio.wait_for(client.encode(request), 20) == expected(request)


async def test_bounded_admission_and_refusals() -> None:
    async with running(max_waiting=1) as (client, launcher):
        with pytest.raises(EngineBusy, match="loading"):
            await client.encode(make_request("early", [[1]]))
        await client.wait_ready(30)
        with pytest.raises(InvalidRequest, match="0 tokens"):
            await client.encode(make_request("bad", [[]]))
        slow = asyncio.create_task(client.encode(make_request("slow", SLOW)))
        await until(lambda: client.num_open_requests == 1)
        with pytest.raises(EngineBusy, match="1 of your requests are open already, of 1"):
            await client.encode(make_request("more", [[1]]))
        slow.cancel()
        await asyncio.wait({slow})
        with pytest.raises(ModelFault, match="could not compute this request"):
            await client.encode(make_request("crash", [[CRASH_TOKEN]]))
        request = make_request("after", [[1]])
        assert await client.encode(request) == expected(request)
        assert len(launcher.processes) == 1


async def test_one_owner_that_fills_the_queue_does_not_close_it_to_another() -> None:
    async with running(max_waiting=2) as (client, _):
        await client.wait_ready(30)
        slow = [asyncio.create_task(client.encode(make_request(f"a{i}", SLOW, "a"))) for i in range(2)]
        await until(lambda: client.num_open_requests == 2)
        with pytest.raises(EngineBusy, match="2 of your requests"):
            await client.encode(make_request("a2", [[1]], "a"))
        request = make_request("b0", [[1]], "b")
        assert await asyncio.wait_for(client.encode(request), 30) == expected(request)
        for task in slow:
            task.cancel()
        await asyncio.wait(slow)


async def test_a_dead_worker_fails_its_requests_and_is_started_again() -> None:
    async with running() as (client, launcher):
        await client.wait_ready(30)
        waiting = [asyncio.create_task(client.encode(make_request(f"r{i}", SLOW))) for i in range(3)]
        await until(lambda: client.num_open_requests == 3)
        os.kill(launcher.processes[0].pid, signal.SIGKILL)
        for task in waiting:
            with pytest.raises(EngineFailed, match="send the request again") as lost:
                await asyncio.wait_for(task, 30)
            assert lost.value.retry_after is not None
        await until(lambda: client.state == "ready")
        assert client.num_restarts == 1
        with pytest.raises(EngineFailed, match="exit status 3"):
            await client.encode(make_request("death", [[DEATH_TOKEN]]))
        await until(lambda: client.state == "ready")
        request = make_request("again", [[1, 2]])
        assert await client.encode(request) == expected(request)
        assert launcher.configs[2].epoch == 3


async def test_failed_load_is_told() -> None:
    async with running("unsupported") as (client, _):
        with pytest.raises(EngineFailed, match="choose another"):
            await client.wait_ready(30)
        assert client.state == "failed"


async def test_stop_lets_open_requests_finish_within_the_grace() -> None:
    async with running() as (client, launcher):
        await client.wait_ready(30)
        request = make_request("r", [[SLOW_TOKEN, i] for i in range(10)])
        task = asyncio.create_task(client.encode(request))
        await until(lambda: client.num_open_requests == 1)
        await client.stop(grace=30)
        assert await task == expected(request)
        assert await launcher.processes[0].wait() == 0


async def test_stop_ends_requests_after_the_grace_and_cleans_up() -> None:
    async with running() as (client, launcher):
        await client.wait_ready(30)
        folder = Path(launcher.configs[0].commands_endpoint.removeprefix("ipc://")).parent
        task = asyncio.create_task(client.encode(make_request("r", SLOW)))
        await until(lambda: client.num_open_requests == 1)
        await client.stop(grace=0)
        with pytest.raises(EngineFailed, match="shutting down"):
            await task
        assert not folder.exists()


def test_few_cores_give_an_encoder_one_thread() -> None:
    assert [num_encoder_threads(cores) for cores in (1, 2, 3, 4, 16)] == [1, 1, 1, 2, 8]


def test_the_torch_free_parts_import_no_torch() -> None:
    code = (
        "import sys, llmos_server.engine.encoder_client, llmos_server.engine.encoder_worker;"
        "sys.exit(any(name in sys.modules for name in ('torch', 'transformers')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

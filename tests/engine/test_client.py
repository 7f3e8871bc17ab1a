"""The client against real worker processes that run the scripted model."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import engine_fakes
import pytest
from engine_fakes import CRASH_TOKEN, HANG_TOKEN, NAN_TOKEN, expected_choice, make_request

from llmos_server.contracts import Generation, Generator, ModelVersion
from llmos_server.engine.backoff import Backoff
from llmos_server.engine.client import EngineClient
from llmos_server.engine.launcher import SubprocessLauncher, WorkerProcess
from llmos_server.engine.messages import WorkerConfig
from llmos_server.engine.supervisor import MAX_FIRST_STARTS
from llmos_server.errors import EngineBusy, EngineFailed, InvalidRequest, ModelFault
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


async def test_requests_are_answered() -> None:
    async with running_client() as (client, _):
        face: Generator = client
        info = await face.wait_ready(30)
        assert (face.state, info.num_pages) == ("ready", NUM_PAGES)
        requests = [make_request(f"r{i}", [i, 2, 3], max_tokens=30, n=1 + i % 3) for i in range(8)]
        outputs = await asyncio.gather(*[collect(face.submit(request)) for request in requests])
        for request, output in zip(requests, outputs, strict=True):
            assert output == {i: expected_choice(request, i).token_ids for i in range(request.n)}
        assert client.num_open_requests == 0
        await until(lambda: client.stats.num_free_pages == NUM_PAGES)


async def test_submit_before_ready_is_busy_and_waiting_times_out() -> None:
    async with running_client() as (client, _):
        with pytest.raises(EngineBusy, match="loading"):
            client.submit(make_request("a", [1]))
        with pytest.raises(EngineBusy, match="still loading"):
            await client.wait_ready(0)
        assert client.info is None


async def test_abort_frees_pages() -> None:
    async with running_client() as (client, _):
        await ready(client)
        generation = client.submit(make_request("a", [1, 2, 3], max_tokens=ENDLESS))
        await anext(generation)
        assert client.stats.num_running == 1
        generation.abort()
        generation.abort()
        await within(30, collect(generation))
        await until(lambda: client.stats.num_free_pages == NUM_PAGES)
        assert client.stats.num_running == 0


async def test_abort_of_one_choice() -> None:
    async with running_client() as (client, _):
        await ready(client)
        request = make_request("a", [1, 2, 3], max_tokens=60, n=2)
        generation = client.submit(request)
        first = await anext(generation)
        generation.abort(1)
        output = await collect(generation)
        opening = [token for delta in first if delta.index == 0 for token in delta.token_ids]
        assert opening + output[0] == expected_choice(request, 0).token_ids
        assert client.num_open_requests == 0


async def test_waiting_consumer_is_released_by_abort() -> None:
    async with running_client(max_num_seqs=1) as (client, _):
        await ready(client)
        client.submit(make_request("busy", [1], max_tokens=ENDLESS))
        queued = client.submit(make_request("queued", [2]))
        consumer = asyncio.create_task(collect(queued))
        await until(lambda: client.stats.num_waiting == 1)
        queued.abort()
        assert await consumer == {}


async def test_a_full_queue_is_closed_to_who_fills_it_and_open_to_others() -> None:
    async with running_client(max_waiting=2, max_num_seqs=2) as (client, _):
        await ready(client)
        for name in ("running", "too"):
            await anext(client.submit(make_request(name, [1], max_tokens=ENDLESS, owner="a")))
        client.submit(make_request("first", [1], owner="a"))
        second = client.submit(make_request("second", [1], owner="a"))
        with pytest.raises(EngineBusy, match="2 of your requests wait") as refused:
            client.submit(make_request("third", [1], owner="a"))
        assert refused.value.retry_after >= 1
        await within(30, collect(client.submit(make_request("other", [1], max_tokens=2, owner="b"))))
        second.abort()
        client.submit(make_request("third", [1], owner="a"))


async def test_who_would_wait_too_long_is_told_so_at_once() -> None:
    async with running_client(max_wait_seconds=0.001, max_num_seqs=2) as (client, _):
        await ready(client)
        for name in ("running", "too"):
            await anext(client.submit(make_request(name, [1], max_tokens=ENDLESS)))
        client.submit(make_request("waits", [1], max_tokens=ENDLESS))
        await until(lambda: client.stats.queue_seconds > 0)  # The speed is known.
        with pytest.raises(EngineBusy, match=r"engine\.max_wait_seconds") as refused:
            client.submit(make_request("late", [1]))
        assert refused.value.retry_after >= 1
        await within(30, collect(client.submit(make_request("other", [1], max_tokens=2, owner="b"))))


async def test_refused_request_leaves_the_others_alone() -> None:
    async with running_client() as (client, launcher):
        await ready(client)
        good = make_request("good", [1], max_tokens=50)
        generation = client.submit(good)
        with pytest.raises(InvalidRequest, match="token id 99"):
            await collect(client.submit(make_request("bad", [99])))
        assert await collect(generation) == {0: expected_choice(good, 0).token_ids}
        with pytest.raises(InvalidRequest, match="running already"):
            [client.submit(make_request("twice", [1], max_tokens=ENDLESS)) for _ in range(2)]
        assert len(launcher.processes) == 1


async def test_request_whose_numbers_break_down_is_told_so_and_ends_alone() -> None:
    async with running_client() as (client, launcher):
        await ready(client)
        good = make_request("good", [1], max_tokens=50)
        generation = client.submit(good)
        with pytest.raises(ModelFault, match="not finite"):
            await collect(client.submit(make_request("broken", [1, NAN_TOKEN], n=2)))
        assert await collect(generation) == {0: expected_choice(good, 0).token_ids}
        assert client.num_open_requests == 0
        assert len(launcher.processes) == 1


async def test_killed_worker_fails_its_streams_and_is_started_again() -> None:
    async with running_client() as (client, launcher):
        await ready(client)
        streams = [client.submit(make_request(f"r{i}", [i], max_tokens=ENDLESS)) for i in range(3)]
        await anext(streams[0])
        os.kill(launcher.processes[0].pid, signal.SIGKILL)
        for stream in streams:
            with pytest.raises(EngineFailed, match="send the request again") as lost:
                await within(30, collect(stream))
            assert lost.value.retry_after is not None
            stream.abort()
        assert client.num_open_requests == 0
        await until(lambda: client.state == "ready")
        assert (client.num_restarts, len(launcher.processes)) == (1, 2)
        assert not Path(launcher.configs[0].commands_endpoint.removeprefix("ipc://")).exists()
        assert launcher.configs[1].epoch > launcher.configs[0].epoch
        request = make_request("again", [1, 2])
        assert await collect(client.submit(request)) == {0: expected_choice(request, 0).token_ids}


async def test_step_that_raises_ends_the_worker_without_showing_the_prompt(
    capfd: pytest.CaptureFixture[str],
) -> None:
    async with running_client() as (client, launcher):
        await ready(client)
        with pytest.raises(EngineFailed, match="exit status 1"):
            await within(30, collect(client.submit(make_request("a", [11, 12, 13, CRASH_TOKEN]))))
        await until(lambda: client.state == "ready")
        assert len(launcher.processes) == 2
    errors = capfd.readouterr().err
    assert "scripted crash" in errors
    assert "11, 12, 13" not in errors


async def test_the_worker_logs_as_the_server_does(capfd: pytest.CaptureFixture[str]) -> None:
    async with running_client(log=LogSettings(level="error", format="json")) as (client, _):
        await ready(client)
        with pytest.raises(EngineFailed):
            await within(30, collect(client.submit(make_request("a", [CRASH_TOKEN]))))
    told = [json.loads(line) for line in capfd.readouterr().err.splitlines() if line.startswith("{")]
    assert [(line["level"], line["logger"]) for line in told] == [("error", "llmos.worker")]
    assert "scripted crash" in told[0]["exception"]


async def test_silent_worker_is_replaced() -> None:
    async with running_client(heartbeat_timeout_seconds=2.0) as (client, launcher):
        await ready(client)
        generation = client.submit(make_request("a", [1], max_tokens=ENDLESS))
        await anext(generation)
        os.kill(launcher.processes[0].pid, signal.SIGSTOP)
        with pytest.raises(EngineFailed, match="no heartbeat"):
            await within(30, collect(generation))
        await until(lambda: client.state == "ready")


async def test_a_worker_that_hangs_in_a_step_while_it_beats_is_replaced(caplog: pytest.LogCaptureFixture) -> None:
    async with running_client(heartbeat_timeout_seconds=5.0, step_timeout_seconds=0.4) as (client, launcher):
        await ready(client)
        generation = client.submit(make_request("a", [1, HANG_TOKEN]))
        told = r"it hung for \d s in one step \(engine.step_timeout_seconds\)"
        with pytest.raises(EngineFailed, match=told) as lost:
            await within(30, collect(generation))
        assert lost.value.retry_after is not None
        await until(lambda: client.state == "ready")
        assert len(launcher.processes) == 2
        request = make_request("again", [1, 2])
        assert await collect(client.submit(request)) == {0: expected_choice(request, 0).token_ids}
    assert "in one step (engine.step_timeout_seconds)); starting again in 0.0 s" in caplog.text


async def test_failed_load_is_told_and_not_repeated() -> None:
    async with running_client("unsupported") as (client, launcher):
        with pytest.raises(EngineFailed, match="choose another"):
            await client.wait_ready(30)
        assert client.state == "failed"
        with pytest.raises(EngineFailed, match="choose another"):
            client.submit(make_request("a", [1]))
        assert await within(30, launcher.processes[0].wait()) is not None
        assert len(launcher.processes) == 1


async def test_crash_during_the_first_load_is_busy_then_ready() -> None:
    async with running_client("crash once") as (client, launcher):
        with pytest.raises(EngineBusy, match="restarting"):
            await client.wait_ready(30)
        await until(lambda: client.state == "ready")
        assert len(launcher.processes) == 2


async def test_worker_that_cannot_be_started_is_tried_again() -> None:
    async with running_client(launcher=RecordingLauncher(("/nonexistent/python",))) as (client, _):
        with pytest.raises(EngineBusy, match="restarting"):
            await client.wait_ready(30)
        await until(lambda: client.num_restarts >= 2)
        with pytest.raises(EngineBusy):
            client.submit(make_request("a", [1]))
        await until(lambda: client.state == "failed")


async def test_worker_that_crashes_at_every_first_start_is_given_up() -> None:
    launcher = RecordingLauncher((sys.executable, "-c", "raise SystemExit(7)"))
    async with running_client(launcher=launcher) as (client, _):
        await until(lambda: client.state == "failed")
        assert len(launcher.processes) == MAX_FIRST_STARTS
        told = r"ended 5 times before it was ready \(exit status 7\).*log"
        with pytest.raises(EngineFailed, match=told) as failed:
            await client.wait_ready(30)
        with pytest.raises(EngineFailed, match=told):
            client.submit(make_request("a", [1]))
        assert failed.value.retry_after is None


async def test_worker_that_was_ready_once_is_never_given_up() -> None:
    async with running_client() as (client, launcher):
        for num_kills in range(1, MAX_FIRST_STARTS + 2):
            await until(lambda: client.state == "ready")
            os.kill(launcher.processes[-1].pid, signal.SIGKILL)
            await until(lambda num=num_kills: client.num_restarts == num)
        await until(lambda: client.state == "ready")


async def test_messages_of_another_epoch_are_dropped() -> None:
    async with running_client("late") as (client, _):
        info = await client.wait_ready(30)
        assert info.architecture == "Scripted"
        await collect(client.submit(make_request("a", [1])))
        assert client.stats.num_preemptions == 0


async def test_stop_lets_streams_finish_within_the_grace() -> None:
    async with running_client() as (client, launcher):
        await ready(client)
        request = make_request("a", [1, 2], max_tokens=100)
        stream = asyncio.create_task(collect(client.submit(request)))
        stopping = asyncio.create_task(client.stop(grace=30))
        await until(lambda: client.state == "stopped")
        with pytest.raises(EngineBusy, match="shutting down"):
            client.submit(make_request("late", [1]))
        assert await stream == {0: expected_choice(request, 0).token_ids}
        await stopping
        assert await launcher.processes[0].wait() == 0


async def test_stop_ends_streams_after_the_grace_and_cleans_up() -> None:
    async with running_client() as (client, launcher):
        await ready(client)
        folder = Path(launcher.configs[0].commands_endpoint.removeprefix("ipc://")).parent
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        generation = client.submit(make_request("a", [1], max_tokens=ENDLESS))
        await client.stop(grace=0)
        with pytest.raises(EngineFailed, match="shutting down"):
            await collect(generation)
        assert not folder.exists()
        await client.stop()
        with pytest.raises(ProcessLookupError):
            os.kill(launcher.processes[0].pid, 0)


async def test_stop_while_loading_and_without_start() -> None:
    async with running_client() as (client, _):
        await client.stop()
        assert client.state == "stopped"
        with pytest.raises(EngineBusy, match="shutting down"):
            await client.wait_ready()


async def test_terminal_signals_are_left_to_the_api_process() -> None:
    async with running_client() as (client, launcher):
        await ready(client)
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(launcher.processes[0].pid, number)
        request = make_request("a", [1], max_tokens=20)
        assert await collect(client.submit(request)) == {0: expected_choice(request, 0).token_ids}
        assert len(launcher.processes) == 1


async def test_a_restarting_engine_says_when_to_come_back() -> None:
    async with running_client() as (client, launcher):
        await ready(client)
        os.kill(launcher.processes[0].pid, signal.SIGKILL)
        await until(lambda: client.state == "restarting")
        with pytest.raises(EngineBusy, match="restarting") as refused:
            client.submit(make_request("a", [1]))
        assert 1.0 <= refused.value.retry_after < 30.0


def test_backoff_before_a_worker_was_ever_ready_doubles() -> None:
    backoff = Backoff()
    assert [backoff.delay_after(None) for _ in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]


def test_a_worker_that_was_ready_is_started_again_at_once() -> None:
    backoff = Backoff()
    assert [backoff.delay_after(3600.0) for _ in range(3)] == [0, 0, 0]
    assert [backoff.delay_after(1.0) for _ in range(5)] == [0.5, 1, 2, 2, 2]
    assert backoff.delay_after(3600.0) == 0

"""Worker processes that die, hang, fall silent or never start: what is told, and what is started again."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import pytest
from client_fakes import ENDLESS, RecordingLauncher, collect, ready, running_client, until, within
from engine_fakes import CRASH_TOKEN, HANG_TOKEN, expected_choice, make_request

from llmos_server.engine.supervisor import MAX_FIRST_STARTS
from llmos_server.errors import EngineBusy, EngineFailed
from llmos_server.settings import LogSettings


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


async def test_a_restarting_engine_says_when_to_come_back() -> None:
    async with running_client() as (client, launcher):
        await ready(client)
        os.kill(launcher.processes[0].pid, signal.SIGKILL)
        await until(lambda: client.state == "restarting")
        with pytest.raises(EngineBusy, match="restarting") as refused:
            client.submit(make_request("a", [1]))
        assert 1.0 <= refused.value.retry_after < 30.0

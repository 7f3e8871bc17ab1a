"""The client against real worker processes that run the scripted model: requests, aborts, queues and the end."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from client_fakes import ENDLESS, NUM_PAGES, collect, ready, running_client, until, within
from engine_fakes import HANG_TOKEN, NAN_TOKEN, expected_choice, make_request

from llmos_server.contracts import Generator, ScoreRequest
from llmos_server.engine import client as client_module
from llmos_server.errors import EngineBusy, EngineFailed, InvalidRequest, ModelFault


async def test_requests_are_answered() -> None:
    async with running_client() as (client, _):
        face: Generator = client
        info = await face.wait_ready(30)
        assert (face.state, info.num_pages) == ("ready", NUM_PAGES)
        assert (face.stats.num_pages, face.stats.num_free_pages) == (
            NUM_PAGES,
            NUM_PAGES,
        )  # Without a step, too.
        requests = [make_request(f"r{i}", [i, 2, 3], max_tokens=30, n=1 + i % 3) for i in range(8)]
        outputs = await asyncio.gather(*[collect(face.submit(request)) for request in requests])
        for request, output in zip(requests, outputs, strict=True):
            assert output == {i: expected_choice(request, i).token_ids for i in range(request.n)}
        assert client.num_open_requests == 0
        await until(lambda: client.stats.num_free_pages == NUM_PAGES)


async def test_continuations_are_scored() -> None:
    async with running_client() as (client, _):
        face: Generator = client
        await face.wait_ready(30)
        texts = [[1], [2, 3, 4], [2, 5]]
        requests = [ScoreRequest(request_id=f"s{i}", prompt_ids=[i, 2, 3], continuations=texts) for i in range(6)]
        found = await asyncio.gather(*map(face.score, requests))
        for request, scores in zip(requests, found, strict=True):
            expected = [expected_choice(request.to_generate(), i) for i in range(len(texts))]
            assert scores.logprobs == [[entry.logprob for entry in choice.logprobs] for choice in expected]
            assert scores.totals == pytest.approx([choice.cumulative_logprob for choice in expected])
            assert scores.queue_seconds is not None
        assert client.num_open_requests == 0
        with pytest.raises(InvalidRequest, match="is empty"):
            await face.score(ScoreRequest(request_id="e", prompt_ids=[1], continuations=[[1], []]))
        with pytest.raises(ModelFault):
            await face.score(ScoreRequest(request_id="n", prompt_ids=[NAN_TOKEN], continuations=[[1], [2]]))


async def test_a_pool_that_became_smaller_stays_so_with_the_next_worker() -> None:
    async with running_client("half") as (client, launcher):
        await ready(client)
        requests = [make_request(f"r{i}", [i] * 100, max_tokens=400) for i in range(8)]
        answers = [asyncio.create_task(collect(client.submit(request))) for request in requests]
        await until(lambda: client.stats.num_running == 8)
        await client.resize_pool(NUM_PAGES - 100)
        assert client.stats.num_pages == NUM_PAGES - 100
        assert (await client.map_pages()).pages[-101:] == "." + "-" * 100
        await client.resize_pool(1)
        assert client.stats.num_pages == NUM_PAGES // 2  # As many as the longest sequence needs.
        for request, answer in zip(requests, answers, strict=True):
            assert await answer == {0: expected_choice(request, 0).token_ids}
        os.kill(client.pid or 0, signal.SIGKILL)
        await until(lambda: client.num_restarts == 1 and client.stats.num_pages == NUM_PAGES // 2)
        assert launcher.configs[-1].num_pages == 1
        await client.resize_pool(NUM_PAGES)
        assert client.stats.num_free_pages == NUM_PAGES


async def test_a_score_that_is_given_up_frees_its_pages() -> None:
    async with running_client(max_num_seqs=1) as (client, _):
        await ready(client)
        blocker = client.submit(make_request("busy", [1], max_tokens=ENDLESS))
        request = ScoreRequest(request_id="s", prompt_ids=[2], continuations=[[1], [2]])
        task = asyncio.create_task(client.score(request))
        await until(lambda: client.stats.num_waiting == 1)
        task.cancel()
        blocker.abort()
        await until(lambda: client.num_open_requests == 0 and client.stats.num_free_pages == NUM_PAGES)


async def test_pages_are_mapped_when_asked_for() -> None:
    async with running_client(max_num_seqs=3) as (client, _):
        face: Generator = client
        with pytest.raises(EngineBusy, match="loading"):
            await face.map_pages()
        await face.wait_ready(30)
        assert (await face.map_pages()).pages == "." * NUM_PAGES
        running = [client.submit(make_request(f"r{i}", [1, 2], max_tokens=ENDLESS)) for i in range(3)]
        await until(lambda: client.stats.num_running == 3)
        layouts = await asyncio.gather(*[face.map_pages() for _ in range(5)])
        assert all(layout is layouts[0] for layout in layouts)  # One answer for all who ask at a time.
        assert layouts[0].pages.count("u") > 0
        assert layouts[0].pages.count(".") == NUM_PAGES - layouts[0].pages.count("u") - layouts[0].pages.count("c")
        for generation in running:
            generation.abort()
        await until(lambda: client.stats.num_free_pages == NUM_PAGES)
        layout = await face.map_pages()
        assert set(layout.pages) <= set(".c")
        assert layout.stats.num_cached_pages == layout.pages.count("c")


async def test_what_an_idle_engine_reports_is_no_measure_of_its_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a newcomer would be refused for hours of waiting, after pages were looked at for a while."""
    clock = [0.0]
    monkeypatch.setattr(client_module, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + clock[0]))
    async with running_client(max_num_seqs=1, max_wait_seconds=1000.0) as (client, _):
        await ready(client)
        for _ in range(3):
            clock[0] += 50_000.0
            await client.map_pages()
        await collect(client.submit(make_request("first", [1], max_tokens=5)))
        running = [client.submit(make_request(f"r{i}", [1, 2], max_tokens=ENDLESS)) for i in range(3)]
        for generation in running:
            generation.abort()
        await until(lambda: client.num_open_requests == 0)


async def test_a_request_tells_when_it_has_begun() -> None:
    async with running_client(max_num_seqs=1) as (client, _):
        await ready(client)
        first = client.submit(make_request("a", [1], max_tokens=ENDLESS))
        second = client.submit(make_request("b", [2], max_tokens=5))
        await until(lambda: first.has_begun and client.stats.num_waiting == 1)
        assert not second.has_begun
        first.abort()
        await until(lambda: second.has_begun)
        assert await collect(second) == {0: expected_choice(make_request("b", [2], max_tokens=5), 0).token_ids}


async def test_a_map_that_the_worker_owes_when_it_dies_is_an_error() -> None:
    async with running_client() as (client, launcher):
        await ready(client)
        running = client.submit(make_request("r", [HANG_TOKEN], max_tokens=5))
        await until(lambda: client.num_open_requests == 1)
        await asyncio.sleep(0.05)  # Into the step that never ends.
        asked = asyncio.create_task(client.map_pages())
        given_up = asyncio.create_task(client.map_pages())
        await asyncio.sleep(0.05)
        given_up.cancel()
        os.kill(launcher.processes[0].pid, signal.SIGKILL)
        with pytest.raises(EngineFailed):
            await within(30, asked)
        with pytest.raises(EngineFailed):
            await collect(running)
        await until(lambda: client.state == "ready")
        assert (await client.map_pages()).pages == "." * NUM_PAGES


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

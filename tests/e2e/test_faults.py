"""What happens when clients leave, workers die and the operator stops the server."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import openai
import pytest
from fault_load import (
    MODEL,
    STORY,
    ask,
    ask_at_once,
    holdings,
    kill_under_load,
    open_files,
    open_stream,
    resident_bytes,
    wait_until_back_to,
    wait_until_booked,
)

MAX_GROWTH_BYTES = 48 * 2**20
"""Of a server's memory over all the kills: caches fill; a leak of one request or connection a kill would show later."""

pytestmark = pytest.mark.real_model


def test_a_client_that_leaves_frees_its_pages(server):
    server.wait_for(lambda: server.metric("llmos:num_requests_running") == 0, "idle")
    stream = open_stream(server, max_tokens=4000)
    for _ in range(3):
        next(stream)
    assert server.metric("llmos:num_requests_running") == 1
    stream.response.close()
    server.wait_for(lambda: server.metric("llmos:num_requests_running") == 0, "idle")


def test_an_unstreamed_client_that_leaves_frees_its_pages(server):
    client = openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0, timeout=2)
    with pytest.raises(openai.APITimeoutError):
        client.chat.completions.create(model=MODEL, messages=STORY, max_tokens=4000, extra_body={"ignore_eos": True})
    server.wait_for(lambda: server.metric("llmos:num_requests_running") == 0, "idle")


@pytest.mark.parametrize("num_kills", [2, pytest.param(100, marks=pytest.mark.proof)])
def test_a_worker_is_killed_again_and_again(
    own_server, num_kills: int, record_property: Callable[[str, object], None]
) -> None:
    """Everybody is told, it comes back each time, and nothing is left over."""
    seconds: list[float] = []
    before: dict[str, int] = {}
    memory = 0
    for number in range(num_kills):
        kill_under_load(own_server, lambda pid: os.kill(pid, signal.SIGKILL))
        began = time.monotonic()
        own_server.wait_until_ready()
        seconds.append(time.monotonic() - began)
        if number == 0:
            wait_until_booked(own_server, 2)
            before, memory = holdings(own_server), resident_bytes(own_server.process.pid)
    assert ask(own_server, 4).status_code == 200
    wait_until_back_to(own_server, before)
    growth = resident_bytes(own_server.process.pid) - memory
    record_property(f"{num_kills} kills, seconds to the next ready worker", f"{min(seconds):.1f} to {max(seconds):.1f}")
    record_property(f"{num_kills} kills, files, threads, children, sockets, connections", before)
    record_property(f"{num_kills} kills, growth of the server's memory", f"{growth / 2**20:.1f} MiB")
    assert growth < MAX_GROWTH_BYTES
    assert own_server.metric("llmos:kv_cache_usage_perc") == 0


@pytest.mark.parametrize("count", [64, pytest.param(600, marks=pytest.mark.proof)])
def test_many_at_once_are_all_answered(server, count: int, record_property: Callable[[str, object], None]) -> None:
    began = time.monotonic()
    assert ask_at_once(server, count, 1) == [200] * count
    record_property(f"{count} requests at once, all 200 after", f"{time.monotonic() - began:.0f} s")


def test_sigterm_keeps_what_was_promised_to_queued_and_unstreamed_requests(smollm2, tmp_path, start_server):
    server = start_server(tmp_path, smollm2.name, env={"LLMOS_ENGINE__MAX_NUM_SEQS": "1"})
    server.wait_until_ready()
    stream = open_stream(server, max_tokens=20)
    next(stream)
    with ThreadPoolExecutor(2) as pool:
        queued = [pool.submit(ask, server, 4) for _ in range(2)]
        server.wait_for(lambda: server.metric("llmos:num_requests_waiting") == 2, "queueing")
        server.process.send_signal(signal.SIGTERM)
        assert list(stream)[-1].choices[0].finish_reason == "length"
        answers = [answer.result() for answer in queued]
    assert [answer.json()["usage"]["completion_tokens"] for answer in answers] == [4, 4]
    assert server.process.wait(timeout=60) == 0


@pytest.mark.parametrize("second", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.proof)])
def test_a_second_signal_ends_at_once(own_server, second: signal.Signals) -> None:
    """The grace time is 30 s; the stream would take minutes."""
    stream = open_stream(own_server, max_tokens=4000)
    next(stream)
    worker = own_server.worker_pid()
    own_server.process.send_signal(signal.SIGTERM)
    own_server.wait_for(lambda: "Shutting down" in own_server.log.read_text(), "shutting down")  # Signals don't queue.
    own_server.process.send_signal(second)
    own_server.process.wait(timeout=25)
    wait_until_gone(worker)


def test_a_killed_server_leaves_no_worker_and_its_sockets_to_the_next_one_that_serves(
    own_server, smollm2, tmp_path, start_server
) -> None:
    worker = own_server.worker_pid()
    folders = [Path(link).parent for link in open_files(own_server.process.pid) if link.endswith("/lock")]
    folders = [folder for folder in folders if folder.name.startswith("llmos-")]
    own_server.process.kill()
    own_server.process.wait()
    assert folders
    assert all(folder.exists() for folder in folders)
    wait_until_gone(worker)
    again = start_server(tmp_path, smollm2.name)
    again.wait_until_ready()
    assert not any(folder.exists() for folder in folders)
    assert ask(again, 2).status_code == 200
    assert again.stop() == 0


def wait_until_gone(pid: int) -> None:
    for _ in range(200):
        if not is_alive(pid):
            return
        time.sleep(0.05)
    raise AssertionError("the worker outlived its server")


def is_alive(pid: int) -> bool:
    """A zombie that waits for a parent isn't."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False

"""One key queues hundreds of requests; another one's time to first token, over HTTP on the real model."""

from __future__ import annotations

import contextlib
import json
import os
import random
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest

NUM_QUEUED = 500
NUM_MEASURED = 7
PROMPT_WORDS = 120
MAX_RATIO = 2.0
SYLLABLES = ("ka", "lo", "mi", "ren", "sa", "tu", "vor", "wen", "zi", "bel")

pytestmark = [pytest.mark.real_model, pytest.mark.proof]


@pytest.fixture
def served(smollm2: Any, tmp_path: Path, start_server: Any, make_home: Any) -> Iterator[tuple[Any, str, str]]:
    """A server with two keys."""
    env = {**os.environ, "LLMOS_HOME": str(make_home(tmp_path))}

    def create(name: str) -> str:
        command = [sys.executable, "-m", "llmos_server", "keys", "create", name, "--json"]
        done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, check=True)
        return str(json.loads(done.stdout)["key"])

    keys = create("busy"), create("other")
    server = start_server(tmp_path, smollm2.name)
    server.key = keys[1]  # For the metrics.
    server.wait_until_ready()
    yield server, *keys
    server.stop()


def words(rng: random.Random) -> str:
    return " ".join("".join(rng.choices(SYLLABLES, k=2)) for _ in range(PROMPT_WORDS))


def body(rng: random.Random, max_tokens: int, **fields: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": words(rng)}]
    return {"messages": messages, "max_tokens": max_tokens, "ignore_eos": True, "temperature": 0, **fields}


@contextlib.contextmanager
def stream(url: str, key: str, request: dict[str, Any]) -> Iterator[httpx2.Response]:
    """Over a connection of its own."""
    headers = {"Authorization": f"Bearer {key}"}
    client = httpx2.Client(timeout=600, trust_env=False, headers=headers)
    with client, client.stream("POST", f"{url}/v1/chat/completions", json=request) as reply:
        assert reply.status_code == 200
        yield reply


def seconds_to_first_text(url: str, key: str, rng: random.Random) -> float:
    began = time.perf_counter()
    with stream(url, key, body(rng, 4, stream=True)) as reply:
        lines = (line for line in reply.iter_lines() if '"content":"' in line and '"content":""' not in line)
        next(lines)
        seconds = time.perf_counter() - began
        for _ in lines:
            pass
    return seconds


def test_a_queue_of_one_key_does_not_double_anothers_time_to_first_token(
    served: tuple[Any, str, str], record_property: Callable[[str, object], None]
) -> None:
    server, busy, other = served
    rng = random.Random(1)
    for _ in range(3):
        seconds_to_first_text(server.url, other, rng)
    alone = [seconds_to_first_text(server.url, other, rng) for _ in range(NUM_MEASURED)]
    over = threading.Event()

    def queue(number: int) -> None:
        request = body(random.Random(number + 100), 64, stream=True)
        with stream(server.url, busy, request):
            over.wait()

    with ThreadPoolExecutor(NUM_QUEUED) as pool:
        try:
            futures = [pool.submit(queue, number) for number in range(NUM_QUEUED)]
            server.wait_for(lambda: server.metric("llmos:num_requests_running") >= 8, "busy")
            beside = [seconds_to_first_text(server.url, other, rng) for _ in range(NUM_MEASURED)]
            waiting = server.metric("llmos:num_requests_waiting")
        finally:
            over.set()
    for future in futures:
        future.result()
    medians = statistics.median(alone), statistics.median(beside)
    record_property(
        f"TTFT alone, and with {NUM_QUEUED} requests of another key, medians", "{:.2f} s, {:.2f} s".format(*medians)
    )
    record_property("their ratio; requests that waited still", f"{medians[1] / medians[0]:.2f}; {waiting:.0f}")
    assert waiting > NUM_QUEUED / 2
    assert medians[1] / medians[0] < MAX_RATIO

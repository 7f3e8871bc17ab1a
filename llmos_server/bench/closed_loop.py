"""`llmos bench`: a closed-loop measurement of a running server, over HTTP as its clients use it.

`concurrency` clients each hold a conversation, read every answer's whole stream before they say more, and begin the
next. Every answer has exactly max_tokens tokens (ignore_eos), so that runs compare. Token counts are the server's own
usage figures, never guesses. Each request has a connection of its own: some servers close them after an answer.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import Any

import httpx2

from llmos_server.bench.client import BenchClient, Timing
from llmos_server.bench.conversations import conversations
from llmos_server.bench.figures import Report, Run, summarise
from llmos_server.bench.options import BenchOptions
from llmos_server.errors import LLMOSError
from llmos_server.http_client import create_client, errors_in_words, first_model, get_json

MAX_WARM_UP = 2


def run_bench(options: BenchOptions) -> Report:
    """Measure each concurrency in turn. Raises LLMOSError when the server can't be reached at all."""
    return asyncio.run(_bench(options))


async def _bench(options: BenchOptions) -> Report:
    with errors_in_words(options.url):
        async with create_client(options.url, max(options.concurrency), reuse=False) as http:
            model = options.model or await first_model(http, options.url)
            server = await _server_version(http, options.url)
            client = BenchClient(http, options.url, model, options.max_tokens)
            runs = [await _measure(client, options, concurrency) for concurrency in options.concurrency]
    return Report(model=model, server=server, options=options, runs=runs)


async def _server_version(http: httpx2.AsyncClient, url: str) -> Any:
    """LLMOS and vLLM serve it beside /v1; other servers may not."""
    try:
        return await get_json(http, url.removesuffix("/v1") + "/version")
    except (LLMOSError, ValueError):
        return None


async def _measure(client: BenchClient, options: BenchOptions, concurrency: int) -> Run:
    warm_up = conversations(options, f"{concurrency}/warm-up")
    firsts = [next(warm_up) for _ in range(min(concurrency, MAX_WARM_UP))]
    await asyncio.gather(*(client.talk(first._replace(questions=first.questions[:1])) for first in firsts))
    queue = itertools.islice(conversations(options, str(concurrency)), options.conversations_for(concurrency))
    timings: list[Timing] = []

    async def one_client() -> None:
        for conversation in queue:
            timings.extend(await client.talk(conversation))

    start = time.perf_counter()
    await asyncio.gather(*(one_client() for _ in range(concurrency)))
    return summarise(concurrency, time.perf_counter() - start, timings, options.max_ttft_ms)

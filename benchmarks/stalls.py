"""Does a long prompt that arrives stall the answers that are being written?

usage: python benchmarks/stalls.py [URL] [--streams 8] [--words 4000] [--rounds 3] [--json FILE]

Some streams run for as long as the measurement takes. The time between two chunks of one stream is counted for a while
without anything else, then from when a prompt of so many words is sent to its first token. Prints medians and 99th
percentiles, the ratio of the second p99 to the first median, and the time to the long prompt's first token among the
streams and, at last, alone.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import math
import statistics
import time
import uuid
from pathlib import Path
from typing import Any

import httpx2

from llmos_server.bench.client import BenchClient
from llmos_server.bench.words import random_words
from llmos_server.errors import LLMOSError
from llmos_server.http_client import check_status, create_client, first_model, sse_chunks

ALONE_SECONDS = 6.0
STREAM_TOKENS = 6000


async def stream(http: httpx2.AsyncClient, url: str, model: str, times: list[float]) -> None:
    """Notes when each text comes, until it is cancelled."""
    body = {
        "model": model,
        "messages": [{"role": "user", "content": " ".join(random_words(uuid.uuid4().hex, 30))}],
        "max_tokens": STREAM_TOKENS,
        "ignore_eos": True,
        "stream": True,
    }
    async with http.stream("POST", f"{url}/chat/completions", json=body) as response:
        await check_status(response)
        async for chunk in sse_chunks(response):
            text = any(choice["delta"].get("content") for choice in chunk["choices"])
            times += [time.perf_counter()] if text else []
    raise LLMOSError(f"A stream came to its end of {STREAM_TOKENS} tokens: it was too short for this measurement.")


def gaps(all_times: list[list[float]], start: float, end: float) -> list[float]:
    """Seconds between two texts of a stream, of those gaps that end or begin within."""
    pairs = [pair for times in all_times for pair in itertools.pairwise(times)]
    return [after - before for before, after in pairs if after > start and before < end]


def percentile(values: list[float], share: float) -> float:
    """Nearest rank."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


async def one_round(client: BenchClient, num_streams: int, num_words: int) -> dict[str, Any]:
    all_times: list[list[float]] = [[] for _ in range(num_streams)]
    tasks = [asyncio.create_task(stream(client.http, client.url, client.model, times)) for times in all_times]
    try:
        while not all(len(times) > 8 for times in all_times):
            await asyncio.sleep(0.05)
            _raise_failures(tasks)
        begun = time.perf_counter()
        await asyncio.sleep(ALONE_SECONDS)
        sent = time.perf_counter()
        long = await client.send(_long_prompt(num_words))
        if long.error is not None:
            raise LLMOSError(long.error)
        await asyncio.sleep(0.5)
        _raise_failures(tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    alone = await client.send(_long_prompt(num_words))
    return {
        "without": gaps(all_times, begun, sent),
        "with": gaps(all_times, sent, long.texts[0]),
        "ttft": long.texts[0] - long.sent,
        "ttft_alone": alone.texts[0] - alone.sent,
        "prompt_tokens": long.usage["prompt_tokens"],
    }


def _long_prompt(num_words: int) -> list[dict[str, str]]:
    return [{"role": "user", "content": " ".join(random_words(uuid.uuid4().hex, num_words))}]


def _raise_failures(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        if task.done():
            task.result()


async def measure(url: str, num_streams: int, num_words: int, num_rounds: int) -> dict[str, Any]:
    async with create_client(url, num_streams + 1) as http:
        client = BenchClient(http, url, await first_model(http, url), 2)
        rounds = [await one_round(client, num_streams, num_words) for _ in range(num_rounds)]
    without, during = ([gap for each in rounds for gap in each[name]] for name in ("without", "with"))
    median = statistics.median(without)
    return {
        "prompt_tokens": rounds[0]["prompt_tokens"],
        "without": {"median": median, "p99": percentile(without, 0.99)},
        "with": {"median": statistics.median(during), "p99": percentile(during, 0.99), "largest": max(during)},
        "ratio": percentile(during, 0.99) / median,
        "ttft": statistics.median(each["ttft"] for each in rounds),
        "ttft_alone": statistics.median(each["ttft_alone"] for each in rounds),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", nargs="?", default="http://127.0.0.1:8000/v1")
    parser.add_argument("--streams", type=int, default=8)
    parser.add_argument("--words", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = asyncio.run(measure(options.url.rstrip("/"), options.streams, options.words, options.rounds))
    without, during = found["without"], found["with"]
    print(f"{options.streams} streams, a prompt of {found['prompt_tokens']} tokens")
    print(f"between tokens, without it: median {without['median'] * 1e3:.0f} ms, p99 {without['p99'] * 1e3:.0f} ms")
    print(
        f"while it is computed: median {during['median'] * 1e3:.0f} ms, p99 {during['p99'] * 1e3:.0f} ms "
        f"({found['ratio']:.1f} times the median without it), largest {during['largest'] * 1e3:.0f} ms"
    )
    print(f"its first token: {found['ttft']:.1f} s among them, {found['ttft_alone']:.1f} s alone")
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

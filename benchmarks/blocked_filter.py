"""Do other streams notice a request that a plugin's filter holds for half a minute?

usage: python benchmarks/blocked_filter.py --start COMMAND [URL] [--streams 8] [--seconds 30] [--rounds 2] [--json FILE]

COMMAND (`llmos serve`) is started with the plugin in benchmarks/sleepy, whose filters see every request and answer, and
sleep where a message says so. In a round some streams run throughout; the time between two texts of one is counted for
half of the seconds with nothing beside them, for all of them while a request is held, and for half of them again, so
that both parts lie equally far into the answers. Rounds take turns: the filter of requests sleeps in one, the filter of
answers in the next. Prints medians and 99th percentiles before, while and after it is held: before and after differ by
what else the machine does.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import time
from pathlib import Path
from typing import Any

import httpx2
from servers import Server, end_in_order_on_sigterm
from stalls import gaps, percentile, stream

from llmos_server.errors import LLMOSError
from llmos_server.http_client import check_status, create_client, first_model

KINDS = ("request", "answer")
PARTS = ("before", "held", "after")
BEGIN_TEXTS = 16
"""Of each stream, before anything is counted."""


async def hold(http: httpx2.AsyncClient, url: str, model: str, kind: str) -> None:
    body = {
        "model": model,
        "messages": [{"role": "user", "content": f"Sleep in the {kind}."}],
        "max_tokens": 1,
    }
    await check_status(await http.post(f"{url}/chat/completions", json=body))


async def one_round(
    http: httpx2.AsyncClient, url: str, model: str, kind: str, num_streams: int, seconds: float
) -> tuple[list[float], list[float], list[float]]:
    """Seconds between texts before, while and after a request is held."""
    all_times: list[list[float]] = [[] for _ in range(num_streams)]
    tasks = [asyncio.create_task(stream(http, url, model, times)) for times in all_times]
    try:
        while not all(len(times) > BEGIN_TEXTS for times in all_times):
            await asyncio.sleep(0.05)
            _raise_failures(tasks)
        begun = time.perf_counter()
        await asyncio.sleep(seconds / 2)
        sent = time.perf_counter()
        await hold(http, url, model, kind)
        released = time.perf_counter()
        if released - sent < seconds:
            raise LLMOSError(f"The request was held for {released - sent:.1f} s: the server has no such filters.")
        await asyncio.sleep(seconds / 2)
        ended = time.perf_counter()
        _raise_failures(tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return gaps(all_times, begun, sent), gaps(all_times, sent, released), gaps(all_times, released, ended)


def _raise_failures(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        if task.done():
            task.result()


async def measure(url: str, num_streams: int, seconds: float, num_rounds: int) -> list[dict[str, Any]]:
    found: dict[str, list[list[float]]] = {kind: [[], [], []] for kind in KINDS}
    async with create_client(url, num_streams + 1) as http:
        model = await first_model(http, url)
        for _ in range(num_rounds):
            for kind in KINDS:
                new = await one_round(http, url, model, kind, num_streams, seconds)
                for part, values in zip(found[kind], new, strict=True):
                    part += values
    return [
        {"kind": kind, **{name: _figures(part) for name, part in zip(PARTS, parts, strict=True)}}
        for kind, parts in found.items()
    ]


def _figures(values: list[float]) -> dict[str, float]:
    return {
        "count": len(values),
        "median_ms": statistics.median(values) * 1e3,
        "p99_ms": percentile(values, 0.99) * 1e3,
        "largest_ms": max(values) * 1e3,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", nargs="?", default="http://127.0.0.1:8000/v1")
    parser.add_argument("--start", metavar="COMMAND", required=True)
    parser.add_argument("--streams", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    url = options.url.rstrip("/")
    end_in_order_on_sigterm()
    os.environ["LLMOS_PLUGINS__FOLDERS"] = str(Path(__file__).parent / "sleepy")
    os.environ["LLMOS_PLUGINS__SLEEPY__SECONDS"] = str(options.seconds)
    with Server("llmos", url, options.start):
        found = asyncio.run(measure(url, options.streams, options.seconds, options.rounds))
    print("| held by the filter of | texts | median, ms | p99, ms | largest, ms |\n| --- | --- | --- | --- | --- |")
    for row in found:
        counts = " / ".join(str(row[part]["count"]) for part in PARTS)
        times = [
            " / ".join(f"{row[part][name]:.1f}" for part in PARTS) for name in ("median_ms", "p99_ms", "largest_ms")
        ]
        print(f"| {row['kind']}s | {counts} | {' | '.join(times)} |")
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

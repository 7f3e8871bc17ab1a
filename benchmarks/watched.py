"""What does it cost a server that somebody looks on?

usage: python benchmarks/watched.py [--url URL] [--pairs 10] [--clients 500] [--seconds 20] [--json FILE]

So many clients have answers streamed, one after the other, for as long as it takes. Within that load the tokens that
the server sends in a second, by its own counter, are measured in pairs: once while a watcher follows the overview, the
requests in flight and the map of pages, each every `interval` seconds, and once while nobody does; which comes first
alternates. Prints each pair, and the mean ratio (watched / unwatched) with its 95 % confidence interval; and the same
of tokens for each second of processor time that the server's processes take, where they are on this machine: other
programs that run beside it change that less. At last, what watching takes of a processor by itself: on a machine that
others keep busy the server gets less of it, of which watching, at its fixed pace, is a greater part.

The key has to be an administrator's: LLMOS_API_KEY, or the server's admin.token on this machine.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import math
import os
import random
import statistics
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import httpx2

from llmos_server.bench.words import random_words
from llmos_server.errors import LLMOSError
from llmos_server.http_client import check_status, create_client, first_model, get_json

ANSWER_TOKENS = (16, 112)
"""At least and at most: of different lengths, so that not all begin at once, again and again."""
PROMPT_WORDS = 20
SETTLE_SHARE = 0.15
"""Of a sample's seconds: after the watcher has come or gone, before tokens are counted."""
QUANTILES = (
    12.71,
    4.30,
    3.18,
    2.78,
    2.57,
    2.45,
    2.36,
    2.31,
    2.26,
    2.23,
    2.20,
    2.18,
    2.16,
    2.14,
    2.13,
    2.12,
    2.11,
    2.10,
)
"""Of Student's t, 97.5 %, by degrees of freedom from 1 on; what comes behind is nearly the last."""


class Count(NamedTuple):
    """Since the server's start."""

    tokens: int
    at: float
    cpu: float
    """Seconds of the API process and the workers; without those, where there is no /proc that knows them."""


class Sample(NamedTuple):
    per_second: float
    per_cpu_second: float


class Pair(NamedTuple):
    watched: Sample
    unwatched: Sample
    num_events: int
    """That the watcher was sent."""
    num_requests: int
    """In flight, as the overview tells it."""

    @property
    def cost(self) -> float:
        """Processor seconds a second, beyond what as many tokens took unwatched."""
        tokens = self.watched.per_second
        return tokens / self.watched.per_cpu_second - tokens / self.unwatched.per_cpu_second


class Estimate(NamedTuple):
    """Of an expectation, with its 95 % confidence interval."""

    mean: float
    low: float
    high: float


def estimate(values: Sequence[float]) -> Estimate:
    """Of at least two."""
    quantile = QUANTILES[min(len(values) - 1, len(QUANTILES)) - 1]
    spread = quantile * statistics.stdev(values) / math.sqrt(len(values))
    mean = statistics.fmean(values)
    return Estimate(mean, mean - spread, mean + spread)


def estimate_ratio(ratios: Sequence[float]) -> Estimate:
    """The geometric mean."""
    return Estimate(*map(math.exp, estimate([math.log(ratio) for ratio in ratios])))


class Load:
    """Clients that ask again and again, as an async context."""

    def __init__(self, root: str, model: str, num_clients: int) -> None:
        self._root = root
        self._model = model
        self._num_clients = num_clients
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Load:
        self._http = create_client(self._root, self._num_clients)
        self._tasks = [asyncio.create_task(self._ask_on()) for _ in range(self._num_clients)]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._http.aclose()

    def check(self) -> None:
        """Raises what any of them was told instead of an answer."""
        for task in self._tasks:
            if task.done():
                task.result()

    async def _ask_on(self) -> None:
        while True:
            body = {
                "model": self._model,
                "messages": [{"role": "user", "content": " ".join(random_words(uuid.uuid4().hex, PROMPT_WORDS))}],
                "max_tokens": random.randint(*ANSWER_TOKENS),
                "ignore_eos": True,
                "stream": True,
            }
            url = f"{self._root}/v1/chat/completions"
            async with self._http.stream("POST", url, json=body) as response:
                await check_status(response)
                async for _ in response.aiter_raw():
                    pass


class Watcher:
    """Follows all that is live."""

    def __init__(self, http: httpx2.AsyncClient, root: str, model: str, interval: float) -> None:
        self.num_events = 0
        self._http = http
        self._urls = [
            f"{root}/admin/v1/{what}interval={interval:g}"
            for what in ("live?", "requests?follow=true&", f"models/pages?model={model}&follow=true&")
        ]

    @contextlib.asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self._follow(url)) for url in self._urls]
        try:
            yield
            for task in tasks:
                if task.done():
                    task.result()
                    raise LLMOSError("A live stream ended by itself.")
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow(self, url: str) -> None:
        async with self._http.stream("GET", url) as response:
            await check_status(response)
            async for data in response.aiter_raw():
                self.num_events += data.count(b"\n\n")


async def count(http: httpx2.AsyncClient, root: str) -> Count:
    response = await http.get(f"{root}/metrics")
    await check_status(response)
    now = time.perf_counter()
    lines = [line for line in response.text.splitlines() if line.startswith("llmos:generation_tokens_total")]
    overview = await get_json(http, f"{root}/admin/v1/overview")
    cpu = overview["cpu_seconds"] + sum(cpu_of(model["pid"]) for model in overview["models"] if model["pid"])
    return Count(int(sum(float(line.rsplit(" ", 1)[1]) for line in lines)), now, cpu)


def cpu_of(pid: int) -> float:
    """Seconds; 0 where the process isn't known here."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def sample(http: httpx2.AsyncClient, root: str, seconds: float) -> Sample:
    """Over so many seconds."""
    await asyncio.sleep(seconds * SETTLE_SHARE)
    before = await count(http, root)
    await asyncio.sleep(seconds)
    after = await count(http, root)
    tokens = after.tokens - before.tokens
    return Sample(tokens / (after.at - before.at), tokens / (after.cpu - before.cpu))


async def one_pair(
    http: httpx2.AsyncClient, root: str, watcher: Watcher, seconds: float, *, watched_first: bool
) -> Pair:
    samples: dict[bool, Sample] = {}
    num_before = watcher.num_events
    for is_watched in (watched_first, not watched_first):
        if is_watched:
            async with watcher.watching():
                samples[True] = await sample(http, root, seconds)
        else:
            samples[False] = await sample(http, root, seconds)
    num_requests = (await get_json(http, f"{root}/admin/v1/overview"))["num_requests"]
    return Pair(samples[True], samples[False], watcher.num_events - num_before, num_requests)


async def measure(root: str, num_pairs: int, num_clients: int, seconds: float, interval: float) -> list[Pair]:
    """Raises LLMOSError where the server refuses, or answers nothing."""
    pairs = []
    async with create_client(root, 5) as http:
        model = await first_model(http, f"{root}/v1")
        watcher = Watcher(http, root, model, interval)
        async with Load(root, model, num_clients) as load:
            while (await get_json(http, f"{root}/admin/v1/overview"))["num_requests"] < num_clients:
                await asyncio.sleep(0.2)
                load.check()
            await asyncio.sleep(seconds / 2)
            for number in range(num_pairs):
                pair = await one_pair(http, root, watcher, seconds, watched_first=number % 2 == 0)
                load.check()
                pairs.append(pair)
                print(f"pair {number + 1}: {describe(pair)}", flush=True)
    return pairs


def describe(pair: Pair) -> str:
    watched, unwatched = pair.watched, pair.unwatched
    return (
        f"{watched.per_second:.1f} tokens/s watched, {unwatched.per_second:.1f} unwatched; for a second of processor "
        f"time {watched.per_cpu_second:.1f} and {unwatched.per_cpu_second:.1f} "
        f"({pair.num_events} events, {pair.num_requests} in flight)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="without /v1")
    parser.add_argument("--pairs", type=int, default=10, help="at least 2")
    parser.add_argument("--clients", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--interval", type=float, default=0.1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    root = options.url.rstrip("/").removesuffix("/v1")
    pairs = asyncio.run(measure(root, options.pairs, options.clients, options.seconds, options.interval))
    report: dict[str, Any] = {"pairs": pairs}
    for name, what in (("per_second", "tokens a second"), ("per_cpu_second", "tokens for a second of processor time")):
        found = estimate_ratio([getattr(pair.watched, name) / getattr(pair.unwatched, name) for pair in pairs])
        print(f"{what}, watched / unwatched: {found.mean:.3f}, 95 % interval {found.low:.3f} to {found.high:.3f}")
        report[name] = found._asdict()
    cost = estimate([100 * pair.cost for pair in pairs])
    print(f"watching takes {cost.mean:.1f} % of one processor, 95 % interval {cost.low:.1f} to {cost.high:.1f}")
    report["cost_percent"] = cost._asdict()
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

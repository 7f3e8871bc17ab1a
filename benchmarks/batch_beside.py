"""What does a live client wait while a batch runs in the background?

usage: python benchmarks/batch_beside.py [URL] [--requests 8] [--tokens 48] [--words 60] [--rounds 3] [--json FILE]

In each round one client asks one request after the other, first alone, then beside a batch that has begun to be
answered and is cancelled afterwards. Prints medians and 95th percentiles of the time to the first token and of the time
between two tokens, of all rounds together, and what the batch had answered meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2

from llmos_server.bench.client import BenchClient, Timing
from llmos_server.bench.words import random_words
from llmos_server.errors import LLMOSError
from llmos_server.http_client import check_status, create_client, first_model

BATCH_REQUESTS = 4000
"""More than are answered while it is measured."""
POLL_SECONDS = 0.2
WARM_SECONDS = 2.0
"""That a batch has all its places taken."""


def messages(num_words: int) -> list[dict[str, str]]:
    """Like no others, so that no prompt is cached."""
    return [{"role": "user", "content": " ".join(random_words(uuid.uuid4().hex, num_words))}]


async def ask(http: httpx2.AsyncClient, method: str, url: str, **options: Any) -> dict[str, Any]:
    async with http.stream(method, url, **options) as response:
        await check_status(response)
        answer: dict[str, Any] = json.loads(await response.aread())
        return answer


@asynccontextmanager
async def running_batch(client: BenchClient, num_words: int) -> AsyncIterator[dict[str, float]]:
    """What it has answered, and how long it took, when the context ends."""
    http, url = client.http, client.url
    lines = [
        {
            "custom_id": str(place),
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {"model": client.model, "messages": messages(num_words), "max_tokens": client.max_tokens},
        }
        for place in range(BATCH_REQUESTS)
    ]
    content = "\n".join(map(json.dumps, lines)).encode()
    form = {"files": {"file": ("batch.jsonl", content)}, "data": {"purpose": "batch"}}
    file = await ask(http, "POST", f"{url}/files", **form)
    wanted = {"input_file_id": file["id"], "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    batch = await ask(http, "POST", f"{url}/batches", json=wanted)
    here = f"{url}/batches/{batch['id']}"
    while not batch["request_counts"]["completed"]:
        if batch["status"] not in ("validating", "in_progress"):
            raise LLMOSError(f"The batch is {batch['status']}: {batch['errors']}")
        await asyncio.sleep(POLL_SECONDS)
        batch = await ask(http, "GET", here)
    await asyncio.sleep(WARM_SECONDS)
    before, begun = batch["request_counts"]["completed"], time.perf_counter()
    told: dict[str, float] = {}
    yield told
    batch = await ask(http, "POST", f"{here}/cancel")
    told |= {"answered": batch["request_counts"]["completed"] - before, "seconds": time.perf_counter() - begun}
    while (await ask(http, "GET", here))["status"] != "cancelled":
        await asyncio.sleep(POLL_SECONDS)


async def live(client: BenchClient, num_requests: int, num_words: int) -> list[Timing]:
    found = [await client.send(messages(num_words)) for _ in range(num_requests)]
    if error := next((timing.error for timing in found if timing.error is not None), None):
        raise LLMOSError(error)
    return found


def percentile(values: list[float], share: float) -> float:
    """Nearest rank."""
    return sorted(values)[round(share * (len(values) - 1))]


def figures(timings: list[Timing]) -> dict[str, float]:
    """Milliseconds."""
    first = [(timing.texts[0] - timing.sent) * 1e3 for timing in timings]
    between = [(after - before) * 1e3 for timing in timings for before, after in itertools.pairwise(timing.texts)]
    return {
        f"{name}_p{share:.0%}".rstrip("%"): percentile(values, share)
        for name, values in (("ttft", first), ("itl", between))
        for share in (0.5, 0.95)
    }


async def measure(url: str, num_requests: int, num_tokens: int, num_words: int, num_rounds: int) -> dict[str, Any]:
    async with create_client(url, 2) as http:
        client = BenchClient(http, url, await first_model(http, url), num_tokens)
        await live(client, 2, num_words)
        alone: list[Timing] = []
        beside: list[Timing] = []
        batches = []
        for _ in range(num_rounds):
            alone += await live(client, num_requests, num_words)
            async with running_batch(client, num_words) as told:
                beside += await live(client, num_requests, num_words)
            batches.append(told)
    answered, seconds = (sum(told[name] for told in batches) for name in ("answered", "seconds"))
    return {"alone": figures(alone), "beside": figures(beside), "batch_requests_a_second": answered / seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", nargs="?", default="http://127.0.0.1:8000/v1")
    parser.add_argument("--requests", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--words", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = asyncio.run(
        measure(options.url.rstrip("/"), options.requests, options.tokens, options.words, options.rounds)
    )
    for name in ("alone", "beside"):
        told = ", ".join(f"{key} {value:.1f} ms" for key, value in found[name].items())
        print(f"{name}: {told}")
    print(f"the batch meanwhile: {found['batch_requests_a_second']:.2f} requests a second")
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""How much sooner does a request begin that shares the beginning of an earlier one?

usage: python benchmarks/prefix_cache.py [URL] [--words 1000] [--rounds 5] [--json FILE]

Each round asks twice after one new text: the first request computes it, the second finds it in the prefix cache. Prints
the time to the first token of both, and of a short question alone, as medians, and the ratio. The server should have
nothing else to do.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import uuid
from pathlib import Path
from typing import Any

from llmos_server.bench.client import BenchClient
from llmos_server.bench.words import random_words
from llmos_server.errors import LLMOSError
from llmos_server.http_client import create_client, first_model

MAX_TOKENS = 8


async def ask(client: BenchClient, text: str, question: str) -> tuple[float, dict[str, Any]]:
    """Seconds to the first text, and the server's usage."""
    timing = await client.send([{"role": "system", "content": text}, {"role": "user", "content": question}])
    if timing.error is not None:
        raise LLMOSError(timing.error)
    return timing.texts[0] - timing.sent, timing.usage


async def measure(url: str, num_words: int, num_rounds: int) -> dict[str, Any]:
    first, second, short = [], [], []
    usage: dict[str, Any] = {}
    async with create_client(url) as http:
        client = BenchClient(http, url, await first_model(http, url), MAX_TOKENS)
        for number in range(num_rounds + 1):
            seed = uuid.uuid4().hex
            text = " ".join(random_words(seed, num_words))
            begun, _ = await ask(client, text, "What is this?")
            again, usage = await ask(client, text, "Which word comes first?")
            alone, _ = await ask(client, seed, "Hello?")
            if number:  # The first round warms up.
                first.append(begun)
                second.append(again)
                short.append(alone)
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens")
    medians = [statistics.median(times) for times in (first, second, short)]
    return {
        "prompt_tokens": usage["prompt_tokens"],
        "cached_tokens": cached,
        "first_seconds": medians[0],
        "second_seconds": medians[1],
        "short_seconds": medians[2],
        "ratio": medians[0] / medians[1],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", nargs="?", default="http://127.0.0.1:8000/v1")
    parser.add_argument("--words", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = asyncio.run(measure(options.url.rstrip("/"), options.words, options.rounds))
    print(f"{found['prompt_tokens']} prompt tokens, {found['cached_tokens']} of the second request's from the cache")
    print(
        f"time to the first token: {found['first_seconds'] * 1e3:.0f} ms, then {found['second_seconds'] * 1e3:.0f} ms "
        f"({found['ratio']:.1f} times sooner); a short question alone {found['short_seconds'] * 1e3:.0f} ms"
    )
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

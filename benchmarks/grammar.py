"""What does a JSON schema cost a token?

usage: python benchmarks/grammar.py [URL] [--start COMMAND] [--clients 1 8] [--rounds 5] [--max-tokens 128]

In every round, for each number of clients: all ask for plain text, and all ask for JSON of a schema, the one first and
the other first in turns. An answer has so many tokens in both cases. Prints the time between two tokens of an answer
(from the first text to the last, over the tokens between), as medians over all answers, and the ratio. --start: the
server's command line; it is started before and ended after.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
import time
import uuid
from pathlib import Path
from typing import Any

import httpx2
from servers import Server, end_in_order_on_sigterm

from llmos_server.bench.words import random_words
from llmos_server.errors import LLMOSError
from llmos_server.http_client import check_status, create_client, first_model, sse_chunks

SCHEMA = {
    "type": "array",
    "minItems": 1000,
    "items": {
        "type": "object",
        "properties": {
            "name": {"type": "string", "pattern": "^[A-Z][a-z]+( [A-Z][a-z]+)?$", "maxLength": 24},
            "age": {"type": "integer", "minimum": 0, "maximum": 120},
            "kind": {"enum": ["person", "company", "place", "none of these"]},
            "mail": {"anyOf": [{"type": "string", "format": "email", "maxLength": 30}, {"type": "null"}]},
            "notes": {"type": "array", "items": {"type": "string", "maxLength": 60}, "maxItems": 3},
            "score": {"type": "number", "minimum": 0, "maximum": 1},
        },
        "required": ["name", "age", "kind", "mail", "notes", "score"],
        "additionalProperties": False,
    },
}
"""What programs ask for, and never at its end."""
FORM = {"type": "json_schema", "json_schema": {"name": "people", "strict": True, "schema": SCHEMA}}
KINDS = ("plain", "schema")


async def ask(http: httpx2.AsyncClient, url: str, model: str, kind: str, max_tokens: int) -> float:
    """Seconds between two tokens."""
    words = " ".join(random_words(uuid.uuid4().hex, 30))
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": "user", "content": f"List people as JSON. They like: {words}"}],
        "max_tokens": max_tokens,
        "temperature": 0.7,
        "stream": True,
        "stream_options": {"include_usage": True, "continuous_usage_stats": True},
        **({"response_format": FORM} if kind == "schema" else {"ignore_eos": True}),
    }
    seen: list[tuple[float, int]] = []
    async with http.stream("POST", f"{url}/chat/completions", json=body) as response:
        await check_status(response)
        async for chunk in sse_chunks(response):
            text = any(choice["delta"].get("content") for choice in chunk["choices"])
            seen += [(time.perf_counter(), chunk["usage"]["completion_tokens"])] if text else []
    if not seen or seen[-1][1] < max_tokens - 8:
        raise LLMOSError(f"An answer ({kind}) ended after {seen[-1][1] if seen else 0} of {max_tokens} tokens.")
    (begun, first), (ended, last) = seen[0], seen[-1]
    return (ended - begun) / (last - first)


async def measure(url: str, clients: list[int], num_rounds: int, max_tokens: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    async with create_client(url, max(clients)) as http:
        model = await first_model(http, url)
        for num_clients in clients:
            times: dict[str, list[float]] = {kind: [] for kind in KINDS}
            for number in range(num_rounds + 1):
                for kind in KINDS if number % 2 else KINDS[::-1]:
                    asked = [ask(http, url, model, kind, max_tokens) for _ in range(num_clients)]
                    answered = await asyncio.gather(*asked)
                    times[kind] += answered if number else []  # The first round warms up.
            plain, schema = (statistics.median(times[kind]) * 1e3 for kind in KINDS)
            found.append({"clients": num_clients, "plain_ms": plain, "schema_ms": schema, "ratio": schema / plain})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", nargs="?", default="http://127.0.0.1:8000/v1")
    parser.add_argument("--start", metavar="COMMAND")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--max-tokens", type=int, default=128)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    url = options.url.rstrip("/")
    end_in_order_on_sigterm()
    with Server("llmos", url, options.start) if options.start else contextlib.nullcontext():
        found = asyncio.run(measure(url, options.clients, options.rounds, options.max_tokens))
    print("| clients | between tokens, ms | with a schema, ms | ratio |\n| --- | --- | --- | --- |")
    for row in found:
        print(f"| {row['clients']} | {row['plain_ms']:.2f} | {row['schema_ms']:.2f} | {row['ratio']:.2f} |")
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""How a server's cost grows: with clients, with the length of prompts, with tokens held, with tokens streamed.

usage: python benchmarks/growth.py [--only start,clients,prompts,stream] [--url URL --start COMMAND] [--json FILE]

Without --start it is `llmos serve` with the default model. The server is started for each part and ended after it; all
parts together take about ten minutes on two cores. benchmarks/plots.py draws what --json has kept. Linux only.
"""

from __future__ import annotations

import argparse
import functools
import os
import platform
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from servers import Memory, Server, cpu_seconds, end_in_order_on_sigterm

from llmos_server.bench.closed_loop import MAX_WARM_UP, run_bench
from llmos_server.bench.figures import Quantiles, Run
from llmos_server.bench.options import BenchOptions
from llmos_server.errors import LLMOSError

NUM_STARTS = 3
CLIENTS = (1, 2, 4, 8, 16, 32, 64, 128)
PROMPT_WORDS = (32, 128, 512, 1024, 2048, 4096, 6144, 8000)
"""The longest fills a context of 8,192 tokens but for the template and the answer."""
STREAMS = 32
STREAM_TOKENS = (16, 144)


class Start(msgspec.Struct):
    seconds: float
    """From the command to the first answer."""
    idle: Memory | None


class Length(msgspec.Struct):
    """Prompts of one length, one at a time."""

    prompt_tokens: float
    ttft_ms: Quantiles
    itl_ms: Quantiles
    tokens_held: float
    """Computed since the server's start, and in its cache if it keeps what it has computed."""
    memory: Memory | None


class Stream(msgspec.Struct):
    """Processor time of the process that was started, which is LLMOS's API process."""

    microseconds_per_token: float
    milliseconds_per_request: float
    output_tokens_per_second: float


class Growth(msgspec.Struct):
    """All that --json writes; parts that weren't asked for are empty."""

    command: str
    machine: str
    date: str
    start: list[Start] = []
    clients: list[Run] = []
    clients_memory: Memory | None = None
    """After the last of them."""
    prompts: list[Length] = []
    stream: Stream | None = None


def main(arguments: Sequence[str]) -> int:
    end_in_order_on_sigterm()
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default=",".join(PARTS), help="parts, with commas")
    parser.add_argument("--url", default="http://127.0.0.1:8165/v1")
    parser.add_argument("--start", default=f"{sys.executable} -m llmos_server serve --port 8165 --log-level warning")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(arguments)
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    growth = Growth(args.start, machine, f"{datetime.now(UTC):%Y-%m-%d}")
    try:
        for name in args.only.split(","):
            if name not in PARTS:
                raise LLMOSError(f"--only {name!r}: the parts are {', '.join(PARTS)}.")
            PARTS[name](functools.partial(Server, name, args.url, args.start), growth)
            if args.json:  # Parts that are done are kept whatever happens to the next.
                args.json.write_bytes(msgspec.json.format(msgspec.json.encode(growth)) + b"\n")
    except LLMOSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def measure_start(create: Callable[[], Server], growth: Growth) -> None:
    for _ in range(NUM_STARTS):
        with create() as server:
            growth.start.append(Start(server.start_seconds, server.memory()))
        print(f"start: {growth.start[-1]}")


def measure_clients(create: Callable[[], Server], growth: Growth) -> None:
    with create() as server:
        for number in CLIENTS:
            options = BenchOptions(url=server.url, concurrency=(number,), num_requests=max(8, 2 * number))
            growth.clients.append(run := measured(options))
            rates = f"{run.output_tokens_per_second} tok/s, good {run.goodput_tokens_per_second}"
            print(f"{number} clients: {rates}, TTFT {run.ttft_ms.median} ms, ITL {run.itl_ms.median} ms")
        growth.clients_memory = server.memory()
        print(f"memory: {growth.clients_memory}")


def measure_prompts(create: Callable[[], Server], growth: Growth) -> None:
    with create() as server:
        held = 0.0
        for words in PROMPT_WORDS:
            options = BenchOptions(url=server.url, concurrency=(1,), prompt_words=words, num_requests=3, max_tokens=8)
            run = measured(options)
            length = run.prompt_tokens / run.num_requests
            held += (run.num_requests + 1) * (length + options.max_tokens)  # One has warmed up.
            growth.prompts.append(Length(length, run.ttft_ms, run.itl_ms, held, server.memory()))
            print(f"prompts: {growth.prompts[-1]}")


def measure_stream(create: Callable[[], Server], growth: Growth) -> None:
    """Two lengths of answers tell apart what a request and what a token costs."""
    with create() as server:
        used: list[float] = []
        for num_tokens in STREAM_TOKENS:
            before = cpu_seconds(server.pid)
            options = BenchOptions(
                url=server.url, concurrency=(STREAMS,), prompt_words=20, num_requests=2 * STREAMS, max_tokens=num_tokens
            )
            run = measured(options)
            used.append(cpu_seconds(server.pid) - before)
        num_requests = run.num_requests + MAX_WARM_UP
        few, many = (num_requests * num_tokens for num_tokens in STREAM_TOKENS)
        per_token = (used[1] - used[0]) / (many - few)
        per_request = (used[0] - few * per_token) / num_requests
        growth.stream = Stream(round(per_token * 1e6, 1), round(per_request * 1e3, 2), run.output_tokens_per_second)
        print(f"stream: {growth.stream}")


def measured(options: BenchOptions) -> Run:
    [run] = run_bench(options).runs
    if run.num_errors:
        raise LLMOSError(f"{run.num_errors} of {run.num_requests} requests failed: {run.first_error}")
    return run


PARTS: dict[str, Callable[[Callable[[], Server], Growth], None]] = {
    "start": measure_start,
    "clients": measure_clients,
    "prompts": measure_prompts,
    "stream": measure_stream,
}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

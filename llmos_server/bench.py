"""`llmos bench`: a closed-loop measurement of a running server, over HTTP as its clients use it.

`concurrency` clients each send a request, read its whole stream, and send the next. Every answer has exactly max_tokens
tokens (ignore_eos), so that runs compare. Token counts are the server's own usage figures, never guesses.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import random
import secrets
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx2
import msgspec

from llmos_server.errors import InvalidRequest, LLMOSError
from llmos_server.http_client import check_status, create_client, errors_in_words, first_model, get_json, sse_chunks

REQUESTS_PER_CLIENT = 4
MIN_REQUESTS = 8
MAX_WARM_UP = 2
SYLLABLES = ("ka", "lo", "mi", "ren", "sa", "tu", "vor", "wen", "zi", "bel", "dra", "fi", "gon", "hu", "pel", "nor")


@dataclass(frozen=True, kw_only=True)
class BenchOptions:
    """What to measure. `model` None takes the server's first; `num_requests` None takes 4 a client, at least 8."""

    url: str
    model: str | None = None
    concurrency: tuple[int, ...] = (1, 8, 32)
    num_requests: int | None = None
    prompt_words: int = 100
    shared_prefix_words: int = 0
    max_tokens: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        if self.prompt_words < 1 or self.max_tokens < 1 or (self.num_requests is not None and self.num_requests < 1):
            raise InvalidRequest("--requests, --prompt-words and --max-tokens have to be at least 1.")
        if not 0 <= self.shared_prefix_words <= self.prompt_words:
            raise InvalidRequest("--shared-prefix-words has to be between 0 and --prompt-words.")


class Quantiles(msgspec.Struct, frozen=True):
    """Milliseconds; None when nothing was measured."""

    median: float | None
    p99: float | None


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One concurrency. Rates count finished requests over the wall time of the run."""

    concurrency: int
    num_requests: int
    num_errors: int
    seconds: float
    prompt_tokens: int
    cached_tokens: int
    output_tokens: int
    output_tokens_per_second: float
    total_tokens_per_second: float
    ttft_ms: Quantiles
    """Request sent to first text."""
    itl_ms: Quantiles
    """Between two chunks of text of one answer."""
    e2e_ms: Quantiles
    """Request sent to [DONE]."""
    first_error: str | None = None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All that `--json` writes."""

    model: str
    server: Any
    """What GET /version says, or null."""
    options: BenchOptions
    runs: list[Run]


@dataclass
class Timing:
    """One request. Times are seconds of time.perf_counter()."""

    sent: float
    texts: list[float] = field(default_factory=list)
    done: float = 0.0
    usage: dict[str, Any] = field(default_factory=dict)
    error: str | None = None


def parse_concurrency(text: str) -> tuple[int, ...]:
    """ "1,8,32" as numbers."""
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if not numbers or min(numbers) < 1:
        raise InvalidRequest(f"--concurrency {text!r}: write numbers of at least 1 with commas, for example 1,8,32.")
    return numbers


def prompts(options: BenchOptions, run: str) -> Iterator[str]:
    """Endless random prompts. Equal options and run give equal ones; two runs share the shared prefix only."""
    prefix = random_words(f"{options.seed}/prefix", options.shared_prefix_words)
    for index in itertools.count():
        rest = random_words(f"{options.seed}/{run}/{index}", options.prompt_words - options.shared_prefix_words)
        yield " ".join(prefix + rest)


def random_words(seed: str, count: int) -> list[str]:
    """Made-up words, the same for the same seed on every machine."""
    rng = random.Random(seed)
    return ["".join(rng.choices(SYLLABLES, k=rng.randint(1, 3))) for _ in range(count)]


def run_bench(options: BenchOptions) -> Report:
    """Measure each concurrency in turn. Raises LLMOSError when the server can't be reached at all."""
    return asyncio.run(_bench(options))


async def _bench(options: BenchOptions) -> Report:
    with errors_in_words(options.url):
        async with create_client(options.url, max(options.concurrency)) as client:
            model = options.model or await first_model(client, options.url)
            server = await _server_version(client, options.url)
            salt = secrets.token_hex(8)  # So that no earlier bench has left our prompts in the prefix cache.
            target = _Target(client, options, model, salt)
            runs = [await _measure(target, concurrency) for concurrency in options.concurrency]
    return Report(model=model, server=server, options=options, runs=runs)


async def _server_version(client: httpx2.AsyncClient, url: str) -> Any:
    """LLMOS and vLLM serve it beside /v1; other servers may not."""
    try:
        return await get_json(client, url.removesuffix("/v1") + "/version")
    except (LLMOSError, ValueError):
        return None


@dataclass(frozen=True)
class _Target:
    client: httpx2.AsyncClient
    options: BenchOptions
    model: str
    salt: str

    async def send(self, prompt: str) -> Timing:
        """One streamed request, timed; a failure is in its `error`."""
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": prompt}],
            "max_tokens": self.options.max_tokens,
            "temperature": 0,
            "ignore_eos": True,
            "cache_salt": self.salt,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        url = self.options.url
        timing = Timing(time.perf_counter())
        try:
            with errors_in_words(url):
                async with self.client.stream("POST", f"{url}/chat/completions", json=body) as response:
                    await check_status(response)
                    async for chunk in sse_chunks(response):
                        _note(timing, chunk)
            if not timing.usage:
                timing.error = "The stream had no usage chunk, so its tokens can't be counted."
        except LLMOSError as error:
            timing.error = str(error)
        timing.done = time.perf_counter()
        return timing


def _note(timing: Timing, chunk: dict[str, Any]) -> None:
    if any((choice.get("delta") or {}).get("content") for choice in chunk.get("choices", ())):
        timing.texts.append(time.perf_counter())
    timing.usage = chunk.get("usage") or timing.usage


async def _measure(target: _Target, concurrency: int) -> Run:
    options = target.options
    warm_up = prompts(options, f"{concurrency}/warm-up")
    await asyncio.gather(*(target.send(next(warm_up)) for _ in range(min(concurrency, MAX_WARM_UP))))
    wanted = options.num_requests or max(REQUESTS_PER_CLIENT * concurrency, MIN_REQUESTS)
    queue = itertools.islice(prompts(options, str(concurrency)), max(wanted, concurrency))
    timings: list[Timing] = []

    async def one_client() -> None:
        timings.extend([await target.send(prompt) for prompt in queue])

    start = time.perf_counter()
    await asyncio.gather(*(one_client() for _ in range(concurrency)))
    return summarise(concurrency, time.perf_counter() - start, timings)


def summarise(concurrency: int, seconds: float, timings: Sequence[Timing]) -> Run:
    """Figures of one run; requests that failed count as errors and nowhere else."""
    good = [timing for timing in timings if timing.error is None]
    prompt_tokens = sum(timing.usage["prompt_tokens"] for timing in good)
    output_tokens = sum(timing.usage["completion_tokens"] for timing in good)
    details = [timing.usage.get("prompt_tokens_details") or {} for timing in good]
    gaps = [later - earlier for timing in good for earlier, later in itertools.pairwise(timing.texts)]
    return Run(
        concurrency=concurrency,
        num_requests=len(timings),
        num_errors=len(timings) - len(good),
        seconds=round(seconds, 3),
        prompt_tokens=prompt_tokens,
        cached_tokens=sum(detail.get("cached_tokens") or 0 for detail in details),
        output_tokens=output_tokens,
        output_tokens_per_second=round(output_tokens / seconds, 2),
        total_tokens_per_second=round((prompt_tokens + output_tokens) / seconds, 2),
        ttft_ms=quantiles([timing.texts[0] - timing.sent for timing in good if timing.texts]),
        itl_ms=quantiles(gaps),
        e2e_ms=quantiles([timing.done - timing.sent for timing in good]),
        first_error=next((timing.error for timing in timings if timing.error is not None), None),
    )


def quantiles(seconds: Sequence[float]) -> Quantiles:
    """Median, and the smallest value that 99 % don't exceed (nearest rank), in milliseconds."""
    if not seconds:
        return Quantiles(None, None)
    ordered = sorted(seconds)
    p99 = ordered[math.ceil(0.99 * len(ordered)) - 1]
    return Quantiles(round(statistics.median(ordered) * 1000, 2), round(p99 * 1000, 2))


def print_report(report: Report) -> None:
    """A table on stdout, and below it the first error of each run that had one."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    title = f"{report.model} at {report.options.url}"
    table = Table(title=title, caption="ms: median/p99", box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 0, 0, 1))
    counts = ("in\nflight", "\nsent", "\nfailed", "output\ntok/s", "total\ntok/s", "\ncached")
    for name in (*counts, "TTFT\nms", "ITL\nms", "end to end\nms"):
        table.add_column(name, justify="right", no_wrap=True)
    for run in report.runs:
        cached = f"{100 * run.cached_tokens / run.prompt_tokens:.0f} %" if run.prompt_tokens else "-"
        rates = (_rate(run.output_tokens_per_second), _rate(run.total_tokens_per_second), cached)
        times = (_cell(run.ttft_ms), _cell(run.itl_ms), _cell(run.e2e_ms))
        table.add_row(str(run.concurrency), str(run.num_requests), str(run.num_errors), *rates, *times)
    console = Console()
    console.print(table)
    for run in report.runs:
        if run.first_error is not None:
            console.print(f"{run.concurrency} in flight: {run.first_error}", markup=False, highlight=False)


def _cell(value: Quantiles) -> str:
    if value.median is None or value.p99 is None:
        return "-"
    return f"{value.median:.0f}/{value.p99:.0f}"


def _rate(value: float) -> str:
    return f"{value:.1f}" if value < 1000 else f"{value:.0f}"

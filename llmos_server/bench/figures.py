"""From timings to figures."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence
from typing import Any

import msgspec

from llmos_server.bench.client import Timing
from llmos_server.bench.options import BenchOptions


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
    num_good: int
    """Requests that began to answer within max_ttft_ms."""
    goodput_tokens_per_second: float
    """Output tokens of these."""
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


def summarise(concurrency: int, seconds: float, timings: Sequence[Timing], max_ttft_ms: float) -> Run:
    """Figures of one run; requests that failed count as errors and nowhere else."""
    whole = [timing for timing in timings if timing.error is None]
    prompt_tokens = sum(timing.usage["prompt_tokens"] for timing in whole)
    output_tokens = sum(timing.usage["completion_tokens"] for timing in whole)
    details = [timing.usage.get("prompt_tokens_details") or {} for timing in whole]
    gaps = [later - earlier for timing in whole for earlier, later in itertools.pairwise(timing.texts)]
    good = [timing for timing in whole if timing.texts and (timing.texts[0] - timing.sent) * 1000 <= max_ttft_ms]
    return Run(
        concurrency=concurrency,
        num_requests=len(timings),
        num_errors=len(timings) - len(whole),
        seconds=round(seconds, 3),
        prompt_tokens=prompt_tokens,
        cached_tokens=sum(detail.get("cached_tokens") or 0 for detail in details),
        output_tokens=output_tokens,
        output_tokens_per_second=round(output_tokens / seconds, 2),
        total_tokens_per_second=round((prompt_tokens + output_tokens) / seconds, 2),
        num_good=len(good),
        goodput_tokens_per_second=round(sum(timing.usage["completion_tokens"] for timing in good) / seconds, 2),
        ttft_ms=quantiles([timing.texts[0] - timing.sent for timing in whole if timing.texts]),
        itl_ms=quantiles(gaps),
        e2e_ms=quantiles([timing.done - timing.sent for timing in whole]),
        first_error=next((timing.error for timing in timings if timing.error is not None), None),
    )


def quantiles(seconds: Sequence[float]) -> Quantiles:
    """Median, and the smallest value that 99 % don't exceed (nearest rank), in milliseconds."""
    if not seconds:
        return Quantiles(None, None)
    ordered = sorted(seconds)
    p99 = ordered[math.ceil(0.99 * len(ordered)) - 1]
    return Quantiles(round(statistics.median(ordered) * 1000, 2), round(p99 * 1000, 2))

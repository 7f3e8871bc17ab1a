"""What peers.py has measured, as Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

import msgspec
from servers import Memory

from llmos_server.bench.figures import Run


class Figure(msgspec.Struct, frozen=True):
    """One server in one round at one concurrency."""

    peer: str
    round: int
    workload: str
    run: Run


class Start(msgspec.Struct, frozen=True):
    """One life of one server."""

    peer: str
    seconds: float
    """From the command to the first answer."""
    idle: Memory | None
    """After the first answer."""
    loaded: Memory | None
    """After all runs."""


def speed_table(names: Sequence[str], figures: Sequence[Figure]) -> str:
    """Of one workload: medians over the rounds, and how many times the other server's rate the first one's is."""
    lines = [
        "| in flight | server | output tok/s (lowest to highest) | good tok/s | TTFT median / p99, ms "
        "| ITL median / p99, ms | cached | errors | first over it |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for level in dict.fromkeys(figure.run.concurrency for figure in figures):
        rates: list[float] = []
        for name in names:
            runs = [f.run for f in figures if f.peer == name and f.run.concurrency == level]
            rates.append(statistics.median(run.output_tokens_per_second for run in runs))
            ratio = f"{rates[0] / rates[-1]:.2f}" if rates[-1] else "-"
            lines.append(f"| {level} | {name} | {' | '.join(cells(runs))} | {ratio} |")
    return "\n".join(lines)


def cells(runs: Sequence[Run]) -> Iterable[str]:
    speeds = [run.output_tokens_per_second for run in runs]
    yield f"{statistics.median(speeds):.1f} ({min(speeds):.1f} to {max(speeds):.1f})"
    yield f"{statistics.median(run.goodput_tokens_per_second for run in runs):.1f}"
    yield f"{middle(run.ttft_ms.median for run in runs)} / {middle(run.ttft_ms.p99 for run in runs)}"
    yield f"{middle(run.itl_ms.median for run in runs)} / {middle(run.itl_ms.p99 for run in runs)}"
    prompt_tokens = sum(run.prompt_tokens for run in runs)
    yield f"{100 * sum(run.cached_tokens for run in runs) / prompt_tokens:.0f} %" if prompt_tokens else "-"
    yield str(sum(run.num_errors for run in runs))


def middle(values: Iterable[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{statistics.median(known):.0f}" if known else "-"


def memory_table(names: Sequence[str], starts: Sequence[Start]) -> str:
    """Medians over the lives of each server that was started here. MB of all its processes."""
    lines = [
        "| server | first answer after, s | idle, MB (PSS) | after the runs, MB (PSS) | peak, MB (sum of peak RSS) |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name in names:
        lives = [start for start in starts if start.peer == name]
        if lives:
            seconds = statistics.median(life.seconds for life in lives)
            idle = middle(life.idle.pss for life in lives if life.idle)
            loaded = middle(life.loaded.pss for life in lives if life.loaded)
            peak = middle(life.loaded.peak_rss for life in lives if life.loaded)
            lines.append(f"| {name} | {seconds:.1f} | {idle} | {loaded} | {peak} |")
    return "\n".join(lines)

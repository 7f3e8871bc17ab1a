"""Figures that /metrics tells, read for other views of the server: both come from the same counters."""

from __future__ import annotations

from typing import NamedTuple

from prometheus_client import Counter, Histogram

from llmos_server.contracts import EngineStats

MODEL = "model_name"


class Distribution(NamedTuple):
    """Of a histogram, since the server's start."""

    bounds: list[float]
    counts: list[int]
    """At most each bound and above the one before; the last one, above all bounds."""
    sum: float

    @property
    def num_values(self) -> int:
        return sum(self.counts)


def read_counter(counter: Counter) -> dict[str, int]:
    """By model, over all other labels."""
    totals: dict[str, int] = {}
    for metric in counter.collect():
        for sample in metric.samples:
            if sample.name.endswith("_total"):
                totals[sample.labels[MODEL]] = totals.get(sample.labels[MODEL], 0) + int(sample.value)
    return totals


def read_histogram(histogram: Histogram) -> dict[str, Distribution]:
    """By model."""
    rising: dict[str, list[tuple[float, int]]] = {}
    sums: dict[str, float] = {}
    for metric in histogram.collect():
        for sample in metric.samples:
            model = sample.labels[MODEL]
            if sample.name.endswith("_bucket"):
                rising.setdefault(model, []).append((float(sample.labels["le"]), int(sample.value)))
            elif sample.name.endswith("_sum"):
                sums[model] = sample.value
    return {model: _distribution(buckets, sums[model]) for model, buckets in rising.items()}


def _distribution(buckets: list[tuple[float, int]], total: float) -> Distribution:
    """buckets: by bound, the last one infinite, with how many values are at most so large."""
    before = [0, *(count for _, count in buckets)]
    counts = [count - below for (_, count), below in zip(buckets, before, strict=False)]
    return Distribution([bound for bound, _ in buckets[:-1]], counts, total)


def count_pages(stats: EngineStats) -> dict[str, int]:
    """By what they are: free holds nothing, cached is found by its content, used is held by one sequence, shared by
    more."""
    return {
        "free": stats.num_free_pages - stats.num_cached_pages,
        "cached": stats.num_cached_pages,
        "used": stats.num_pages - stats.num_free_pages - stats.num_shared_pages,
        "shared": stats.num_shared_pages,
    }

"""What the live figures were before: rates and distributions are differences of counters."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from dataclasses import dataclass

from llmos_tui.wire.live import Histogram, LiveModel, Overview

WINDOW_SECONDS = 60.0
KEPT_SECONDS = 400.0
RATE_SECONDS = 1.0
"""Rates are over at least this long: in shorter times counters move in steps."""


@dataclass(frozen=True)
class Window:
    """What happened between two samples."""

    histogram: Histogram
    seconds: float


class ModelHistory:
    """Of one model: samples of its totals, oldest first."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, LiveModel]] = deque()
        self.rates_in: deque[tuple[float, float]] = deque()
        """(time, tokens a second): prompts."""
        self.rates_out: deque[tuple[float, float]] = deque()
        """Answers."""

    def add(self, time: float, model: LiveModel) -> None:
        if self._samples and (time <= self._samples[-1][0] or _has_restarted(self._samples[-1][1], model)):
            if time <= self._samples[-1][0]:
                return
            self._samples.clear()
        self._samples.append((time, model))
        self._add_rates(time, model)
        for kept in (self._samples, self.rates_in, self.rates_out):
            while kept and kept[0][0] < time - KEPT_SECONDS:
                kept.popleft()

    def _add_rates(self, time: float, model: LiveModel) -> None:
        place = bisect_left(self._samples, time - RATE_SECONDS + 1e-6, key=lambda sample: sample[0]) - 1
        then, before = self._samples[max(0, place)]
        if time > then:
            seconds = time - then
            self.rates_in.append((time, (model.prompt_tokens_total - before.prompt_tokens_total) / seconds))
            self.rates_out.append((time, (model.generation_tokens_total - before.generation_tokens_total) / seconds))

    def before(self, seconds: float = WINDOW_SECONDS) -> tuple[float, LiveModel] | None:
        """The newest sample that is at least so old, else the oldest one."""
        if not self._samples:
            return None
        place = bisect_left(self._samples, self._samples[-1][0] - seconds + 1e-6, key=lambda sample: sample[0]) - 1
        return self._samples[max(0, place)]

    def window(self, name: str) -> Window | None:
        """Of the histogram "ttft" or "itl", over the last minute, or as long as it has been watched."""
        first = self.before()
        if first is None:
            return None
        time, model = self._samples[-1]
        later: Histogram = getattr(model, name)
        earlier: Histogram = getattr(first[1], name)
        return Window(subtract(later, earlier), time - first[0])


def _has_restarted(before: LiveModel, now: LiveModel) -> bool:
    """A counter went back: the server was started anew."""
    return (
        now.prompt_tokens_total < before.prompt_tokens_total
        or now.generation_tokens_total < before.generation_tokens_total
        or sum(now.ttft.counts) < sum(before.ttft.counts)
    )


class History:
    """Of all models."""

    def __init__(self) -> None:
        self._models: dict[str, ModelHistory] = {}
        self._cpu: tuple[float, float] | None = None
        self.cpu_share: float | None = None
        """Of one core, by the API process, between the last two samples."""

    def add(self, overview: Overview) -> None:
        for model in overview.models:
            self.of(model.name).add(overview.time, model)
        for name in set(self._models) - {model.name for model in overview.models}:
            del self._models[name]
        if self._cpu is not None and overview.time > self._cpu[0]:
            self.cpu_share = max(0.0, overview.cpu_seconds - self._cpu[1]) / (overview.time - self._cpu[0])
        self._cpu = (overview.time, overview.cpu_seconds)

    def of(self, name: str) -> ModelHistory:
        return self._models.setdefault(name, ModelHistory())


def subtract(later: Histogram, earlier: Histogram) -> Histogram:
    """Later itself, if the two don't fit: the server was started anew, with other bounds maybe."""
    if later.bounds != earlier.bounds:
        return later
    counts = [a - b for a, b in zip(later.counts, earlier.counts, strict=True)]
    if any(count < 0 for count in counts):
        return later
    return Histogram(bounds=later.bounds, counts=counts, sum=max(0.0, later.sum - earlier.sum))


def quantile(histogram: Histogram, share: float) -> float | None:
    """In seconds, linear within its bucket; infinity above the last bound; None of nothing."""
    total = sum(histogram.counts)
    if not total:
        return None
    rest = share * total
    lower = 0.0
    for bound, count in zip(histogram.bounds, histogram.counts, strict=False):
        if count and rest <= count:
            return lower + (bound - lower) * rest / count
        rest -= count
        lower = bound
    return float("inf")

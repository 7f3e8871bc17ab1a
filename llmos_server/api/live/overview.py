"""The server at one moment, from the figures that it keeps anyway."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import NamedTuple

from llmos_server.api.flights import Flights
from llmos_server.api.metrics.reading import Distribution, count_pages, read_counter, read_histogram
from llmos_server.api.metrics.server_metrics import Metrics
from llmos_server.api.schemas.admin_live import Histogram, LiveModel, Overview, Pages
from llmos_server.api.served import Directory, ListedModel
from llmos_server.contracts import EngineInfo, EngineStats
from llmos_server.errors import ModelNotFound
from llmos_server.fleet_contracts import EngineFleet, ModelStatus
from llmos_server.process_memory import rss_of

LIST_SECONDS = 2.0
"""For how long a list of models is good: reading the registry takes time, and models seldom come or go."""
EMPTY = Distribution([], [0], 0.0)


class OverviewMaker:
    """One per app."""

    def __init__(
        self, directory: Directory, metrics: Metrics, fleet: EngineFleet | None, flights: Flights, version: str
    ) -> None:
        self._directory = directory
        self._metrics = metrics
        self._fleet = fleet
        self._flights = flights
        self._version = version
        self._started = time.time()
        self._listed: Sequence[ListedModel] = ()
        self._default: str | None = None
        self._listed_at = -LIST_SECONDS

    def make(self) -> Overview:
        """Some tenths of a millisecond, and more where the models have to be listed again."""
        self._list()
        fleet = self._fleet.status() if self._fleet is not None else None
        figures = _Figures.read(self._metrics)
        known = {status.name: status for status in fleet.models} if fleet is not None else {}
        models = [self._describe(model, figures, known.get(model.id)) for model in self._listed]
        return Overview(
            time=time.time(),
            started=self._started,
            version=self._version,
            budget_bytes=fleet.budget_bytes if fleet is not None else 0,
            used_bytes=fleet.used_bytes if fleet is not None else 0,
            lent_bytes=fleet.lent_bytes if fleet is not None else 0,
            rss_bytes=rss_of(os.getpid()),
            cpu_seconds=time.process_time(),
            num_requests=len(self._flights),
            models=sorted(models, key=lambda model: model.state == "unloaded"),
        )

    def _list(self) -> None:
        now = time.monotonic()
        if now - self._listed_at < LIST_SECONDS:
            return
        self._listed, self._listed_at = self._directory.list(), now
        try:
            self._default = self._directory.default().id
        except ModelNotFound:
            self._default = None

    def _describe(self, model: ListedModel, figures: _Figures, status: ModelStatus | None) -> LiveModel:
        described = LiveModel(
            name=model.id,
            kind=model.kind,
            state=model.engine.state,
            is_default=model.id == self._default,
            context_length=model.max_model_len,
            prompt_tokens_total=figures.prompt_tokens.get(model.id, 0),
            generation_tokens_total=figures.generation_tokens.get(model.id, 0),
            requests_total=figures.latency.get(model.id, EMPTY).num_values,
            ttft=_to_wire(figures.first_token.get(model.id, EMPTY)),
            itl=_to_wire(figures.next_token.get(model.id, EMPTY)),
        )
        if status is not None:
            _add_status(described, status)
        if model.kind == "decoder":
            _add_stats(described, model.generator.stats, model.generator.info)
        return described


class _Figures(NamedTuple):
    """By model."""

    prompt_tokens: dict[str, int]
    generation_tokens: dict[str, int]
    latency: dict[str, Distribution]
    first_token: dict[str, Distribution]
    next_token: dict[str, Distribution]

    @classmethod
    def read(cls, metrics: Metrics) -> _Figures:
        return cls(
            read_counter(metrics.prompt_tokens),
            read_counter(metrics.generation_tokens),
            read_histogram(metrics.e2e_latency),
            read_histogram(metrics.time_to_first_token),
            read_histogram(metrics.inter_token_latency),
        )


def _to_wire(found: Distribution) -> Histogram:
    return Histogram(bounds=found.bounds, counts=found.counts, sum=found.sum)


def _add_status(model: LiveModel, status: ModelStatus) -> None:
    model.is_pinned = status.is_pinned
    model.num_bytes = status.num_bytes
    model.pid = status.pid
    model.rss_bytes = rss_of(status.pid) if status.pid is not None else None
    model.num_loading_waiters = status.num_waiting
    model.num_restarts = status.num_restarts
    model.num_loads = status.num_loads
    model.num_evictions = status.num_evictions
    model.load_seconds = status.load_seconds
    model.last_used = status.last_used
    model.failure = status.failure


def _add_stats(model: LiveModel, stats: EngineStats, info: EngineInfo | None) -> None:
    model.num_running = stats.num_running
    model.num_waiting = stats.num_waiting
    model.prefix_queries = stats.prefix_queries
    model.prefix_hits = stats.prefix_hits
    model.num_preemptions = stats.num_preemptions
    model.num_drafts = stats.num_drafts
    model.num_draft_tokens = stats.num_draft_tokens
    model.num_accepted_tokens = stats.num_accepted_tokens
    if info is not None and stats.num_pages:
        counts = {f"num_{name}": count for name, count in count_pages(stats).items()}
        model.pages = Pages(page_size=info.page_size, num_pages=stats.num_pages, **counts)

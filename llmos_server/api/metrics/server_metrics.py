"""Prometheus metrics under vLLM's names, in a registry of their own."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Literal

from litestar.types import ASGIApp
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from llmos_server.api.metrics.adapter_metrics import AdapterCollector, AdapterRequests
from llmos_server.api.metrics.operating_metrics import EngineStateCollector, RequestCounter
from llmos_server.api.metrics.reading import count_pages
from llmos_server.api.served import Directory
from llmos_server.contracts import EngineStats
from llmos_server.key_contracts import UsageBook

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
MAX_IGNORED_LABELS = 100

PREFIX = "llmos:"
_LINE_START = re.compile(r"^(# (?:HELP|TYPE) )?llmos:", re.MULTILINE)
_CREATED = re.compile(r"^(?:# (?:HELP|TYPE) )?llmos:\w+_created.*\n", re.MULTILINE)
_INDEX = re.compile(r"\[\d+\]")
_FIRST = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
_TOKEN = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.5, 5.0, 10.0)
_REQUEST = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)


class ModelMetrics:
    """The metrics of one model: label look-ups are paid once, not once a token."""

    def __init__(self, metrics: Metrics, model: str) -> None:
        self.prompt_tokens = metrics.prompt_tokens.labels(model)
        self.generation_tokens = metrics.generation_tokens.labels(model)
        self.time_to_first_token = metrics.time_to_first_token.labels(model)
        self.inter_token_latency = metrics.inter_token_latency.labels(model)
        self.e2e_latency = metrics.e2e_latency.labels(model)
        self.queue_time = metrics.queue_time.labels(model)
        self.prefill_time = metrics.prefill_time.labels(model)
        self.decode_time = metrics.decode_time.labels(model)
        self._success = metrics.request_success
        self._model = model

    def count_finished(self, reason: str) -> None:
        """reason: stop, length, abort (the client left) or error; once a choice."""
        self._success.labels(self._model, reason).inc()


class Metrics:
    """One per app. Counters and histograms of requests, and the engines' own figures read when asked for."""

    def __init__(
        self,
        directory: Directory,
        prefix: Literal["llmos", "vllm", "both"] = "llmos",
        usage: UsageBook | None = None,
    ) -> None:
        self._prefix = prefix
        self.registry = CollectorRegistry()
        self._models: dict[str, ModelMetrics] = {}
        self._ignored_labels: set[str] = set()
        self.prompt_tokens = self._counter("prompt_tokens", "Prompt tokens of admitted requests.")
        self.generation_tokens = self._counter("generation_tokens", "Tokens sent to clients.")
        self.request_success = self._counter("request_success", "Finished choices.", "finished_reason")
        self.grammar_requests = self._counter("grammar_requests", "Requests for answers of a given form.", "kind")
        self.ignored_fields = Counter(
            f"{PREFIX}ignored_request_fields", "Unknown request fields.", ["field"], registry=self.registry
        )
        self.tool_calls = Counter(
            f"{PREFIX}tool_calls", "Calls of the server's own tools.", ["source", "result"], registry=self.registry
        )
        self.http_requests = Counter(
            f"{PREFIX}http_requests", "Answers, by HTTP status.", ["method", "status"], registry=self.registry
        )
        self.time_to_first_token = self._histogram("time_to_first_token_seconds", "Arrival to first token.", _FIRST)
        self.inter_token_latency = self._histogram("inter_token_latency_seconds", "Between steps of a choice.", _TOKEN)
        self.e2e_latency = self._histogram("e2e_request_latency_seconds", "Arrival to end.", _REQUEST)
        self.queue_time = self._histogram("request_queue_time_seconds", "Arrival in engine to first step.", _REQUEST)
        self.prefill_time = self._histogram("request_prefill_time_seconds", "First step to first token.", _REQUEST)
        self.decode_time = self._histogram("request_decode_time_seconds", "First token to last.", _REQUEST)
        self.registry.register(_EngineCollector(directory))
        self.registry.register(EngineStateCollector(directory, PREFIX))
        self.registry.register(AdapterCollector(directory, PREFIX))
        self.adapter_requests = AdapterRequests(self.registry, PREFIX)
        if usage is not None:
            self.registry.register(_LedgerCollector(usage))

    def of(self, model: str) -> ModelMetrics:
        if model not in self._models:
            self._models[model] = ModelMetrics(self, model)
        return self._models[model]

    def count_ignored(self, paths: Iterable[str]) -> None:
        """Clients choose these names, so their number and length are bounded; what goes beyond is "other"."""
        for path in paths:
            name = _INDEX.sub("[]", path)[:64]
            if not name.isascii() or not name.isprintable():
                name = "other"
            elif name not in self._ignored_labels:
                if len(self._ignored_labels) < MAX_IGNORED_LABELS:
                    self._ignored_labels.add(name)
                else:
                    name = "other"
            self.ignored_fields.labels(name).inc()

    def count_grammar(self, model: str, kind: str) -> None:
        """kind: json_schema, json_object, regex, choice or grammar."""
        self.grammar_requests.labels(model, kind).inc()

    def count_tool_call(self, source: str, *, is_error: bool) -> None:
        """source: skill, plugin or mcp."""
        self.tool_calls.labels(source, "failed" if is_error else "completed").inc()

    def count_requests(self, app: ASGIApp) -> ASGIApp:
        """The app, with each of its answers counted."""
        return RequestCounter(app, self.http_requests)

    def expose(self) -> bytes:
        text = _CREATED.sub("", generate_latest(self.registry).decode())
        renamed = _LINE_START.sub(lambda match: f"{match[1] or ''}vllm:", text)
        return {"llmos": text, "vllm": renamed, "both": text + renamed}[self._prefix].encode()

    def _counter(self, name: str, help: str, *labels: str) -> Counter:
        return Counter(PREFIX + name, help, ["model_name", *labels], registry=self.registry)

    def _histogram(self, name: str, help: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(PREFIX + name, help, ["model_name"], buckets=buckets, registry=self.registry)


def _cache_usage(stats: EngineStats) -> float:
    return 1.0 - stats.num_free_pages / stats.num_pages if stats.num_pages else 0.0


_GAUGES: dict[str, tuple[str, Callable[[EngineStats], float]]] = {
    "num_requests_running": ("Sequences in the last step.", lambda stats: stats.num_running),
    "num_requests_waiting": ("Sequences that wait for pages or a place in the step.", lambda stats: stats.num_waiting),
    "estimated_queue_seconds": ("Until all that waits now has begun.", lambda stats: stats.queue_seconds),
    "kv_cache_usage_perc": ("Share of the pages in use, 0 to 1.", _cache_usage),
}
_COUNTERS: dict[str, tuple[str, Callable[[EngineStats], float]]] = {
    "prefix_cache_queries": ("Prompt tokens looked up in the prefix cache.", lambda stats: stats.prefix_queries),
    "prefix_cache_hits": ("Prompt tokens found in the prefix cache.", lambda stats: stats.prefix_hits),
    "spec_decode_num_drafts": ("Steps of a sequence with guessed tokens.", lambda stats: stats.num_drafts),
    "spec_decode_num_draft_tokens": ("Guessed tokens that were computed.", lambda stats: stats.num_draft_tokens),
    "spec_decode_num_accepted_tokens": ("Guessed tokens that were right.", lambda stats: stats.num_accepted_tokens),
    "grammar_compilations": ("Grammars that were not known and were compiled.", lambda stats: stats.num_grammars),
    "grammar_compile_seconds": ("What that took.", lambda stats: stats.grammar_seconds),
    "num_preemptions": ("Sequences sent back for want of pages.", lambda stats: stats.num_preemptions),
}


class _EngineCollector(Collector):
    """Reads the engines when Prometheus asks. Counters begin again at 0 with a restarted worker."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def collect(self) -> Iterator[Metric]:
        models = [(m.id, m.generator.stats) for m in self._directory.list() if m.kind == "decoder"]
        for name, (help, read) in _GAUGES.items():
            gauge = GaugeMetricFamily(PREFIX + name, help, labels=["model_name"])
            for model, stats in models:
                gauge.add_metric([model], read(stats))
            yield gauge
        for name, (help, read) in _COUNTERS.items():
            counter = CounterMetricFamily(PREFIX + name, help, labels=["model_name"])
            for model, stats in models:
                counter.add_metric([model], read(stats))
            yield counter
        pages = GaugeMetricFamily(PREFIX + "kv_cache_pages", "By what they are.", labels=["model_name", "state"])
        for model, stats in models:
            for state, count in count_pages(stats).items():
                pages.add_metric([model, state], count)
        yield pages


class _LedgerCollector(Collector):
    """How far the usage ledger is behind, and what it lost."""

    def __init__(self, usage: UsageBook) -> None:
        self._usage = usage

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(PREFIX + "usage_rows_pending", "Not yet in the database.", self._usage.num_pending)
        failing = "1 while the database refuses to be written."
        yield GaugeMetricFamily(PREFIX + "usage_ledger_failing", failing, float(self._usage.is_failing))
        yield CounterMetricFamily(PREFIX + "usage_rows_written", "In the database.", self._usage.num_written)
        yield CounterMetricFamily(PREFIX + "usage_rows_dropped", "Lost.", self._usage.num_dropped)

"""Adapters for Prometheus: what each engine has loaded, what that took, and which of them are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from llmos_server.adapter_contracts import TEMPORARY, AdapterStats
from llmos_server.api.served import Directory, ListedModel

MAX_NAMES = 100
"""Clients choose adapters' names, so only so many are labels; requests for any other one count as "other"."""

_GAUGES: dict[str, tuple[str, Callable[[AdapterStats], float]]] = {
    "adapters_loaded": ("Adapters that are loaded beside the model.", lambda stats: stats.num_loaded),
    "adapter_bytes": ("Memory that those take.", lambda stats: stats.num_bytes),
}
_COUNTERS: dict[str, tuple[str, Callable[[AdapterStats], float]]] = {
    "adapter_loads": ("Times that an adapter was loaded.", lambda stats: stats.num_loads),
    "adapter_load_seconds": ("What that took.", lambda stats: stats.load_seconds),
    "adapter_evictions": ("Times that one made room for another.", lambda stats: stats.num_evictions),
}


class AdapterRequests:
    """A counter by base and adapter."""

    def __init__(self, registry: CollectorRegistry, prefix: str) -> None:
        labels = ["model_name", "adapter"]
        self._counter = Counter(f"{prefix}adapter_requests", "Requests for adapters.", labels, registry=registry)
        self._names: set[str] = set()

    def count(self, served: ListedModel) -> None:
        """One that isn't for an adapter counts nowhere."""
        if served.adapter is None:
            return
        name = served.adapter.name
        is_temporary = name.rpartition(":")[2].startswith(TEMPORARY)
        if is_temporary or (name not in self._names and len(self._names) >= MAX_NAMES):
            name = "other"
        else:
            self._names.add(name)
        self._counter.labels(served.adapter.base, name).inc()


class AdapterCollector(Collector):
    """Reads the engines when Prometheus asks. Counters begin again at 0 with a restarted worker."""

    def __init__(self, directory: Directory, prefix: str) -> None:
        self._directory = directory
        self._prefix = prefix

    def describe(self) -> Iterator[Metric]:
        """Nothing: without this, collect() would be called at registration."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Of every decoder, loaded or not."""
        decoders = [model for model in self._directory.list() if model.kind == "decoder"]
        stats = [(model.id, model.generator.stats.adapters) for model in decoders]
        for name, (help, read) in _GAUGES.items():
            gauge = GaugeMetricFamily(self._prefix + name, help, labels=["model_name"])
            for model, adapters in stats:
                gauge.add_metric([model], read(adapters))
            yield gauge
        for name, (help, read) in _COUNTERS.items():
            counter = CounterMetricFamily(self._prefix + name, help, labels=["model_name"])
            for model, adapters in stats:
                counter.add_metric([model], read(adapters))
            yield counter

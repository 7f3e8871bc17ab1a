"""The fleet's own figures for Prometheus: what is loaded, what loading took, what had to go."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from llmos_server.fleet_contracts import EngineFleet, ModelStatus

_GAUGES: dict[str, tuple[str, Callable[[ModelStatus], float]]] = {
    "models_loaded": ("1 while the model has a worker that is ready.", lambda model: model.state == "ready"),
    "model_open_requests": ("Requests that use the model now.", lambda model: model.num_open_requests),
    "model_waiting_requests": ("Requests that wait for the model to be loaded.", lambda model: model.num_waiting),
    "model_memory_bytes": ("What its worker takes, or would take, of the budget.", lambda model: model.num_bytes),
}
_COUNTERS: dict[str, tuple[str, Callable[[ModelStatus], float]]] = {
    "model_loads": ("Times that the model was loaded.", lambda model: model.num_loads),
    "model_load_seconds": ("Seconds that those loads took.", lambda model: model.load_seconds),
    "model_evictions": ("Times that its worker was ended, unloads included.", lambda model: model.num_evictions),
    "engine_restarts": ("Times that its worker died and was started again.", lambda model: model.num_restarts),
}


class FleetCollector(Collector):
    """Reads the fleet when Prometheus asks."""

    def __init__(self, fleet: EngineFleet, prefix: str) -> None:
        self._fleet = fleet
        self._prefix = prefix

    def describe(self) -> Iterator[Metric]:
        """Nothing: without this, collect() would be called at registration."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """All of it."""
        status = self._fleet.status()
        yield GaugeMetricFamily(self._prefix + "memory_budget_bytes", "For all workers.", status.budget_bytes)
        yield GaugeMetricFamily(self._prefix + "memory_used_bytes", "Of the budget.", status.used_bytes)
        yield GaugeMetricFamily(self._prefix + "memory_lent_bytes", "Of the budget, to jobs.", status.lent_bytes)
        for name, (help, read) in _GAUGES.items():
            gauge = GaugeMetricFamily(self._prefix + name, help, labels=["model_name"])
            for model in status.models:
                gauge.add_metric([model.name], read(model))
            yield gauge
        for name, (help, read) in _COUNTERS.items():
            counter = CounterMetricFamily(self._prefix + name, help, labels=["model_name"])
            for model in status.models:
                counter.add_metric([model.name], read(model))
            yield counter

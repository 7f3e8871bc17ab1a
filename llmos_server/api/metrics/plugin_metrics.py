"""Failures of plugins for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from llmos_server.plugins.host import PluginHost


class PluginCollector(Collector):
    """Reads the host when Prometheus asks."""

    def __init__(self, host: PluginHost, prefix: str) -> None:
        self._host = host
        self._prefix = prefix

    def collect(self) -> Iterator[Metric]:
        """Names of plugins and hooks are the operator's choice, so there are few."""
        failures = CounterMetricFamily(
            self._prefix + "plugin_failures", "Of plugins, by what went wrong.", labels=["plugin", "hook", "kind"]
        )
        for labels, count in sorted(self._host.failures.counts.items()):
            failures.add_metric(labels, count)
        yield failures
        states = GaugeMetricFamily(
            self._prefix + "plugins_on", "1 for a plugin that is on, 0 for one that isn't.", labels=["plugin"]
        )
        for plugin in self._host.plugins.values():
            states.add_metric([plugin.name], float(plugin.state == "on"))
        yield states

"""MCP servers for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from llmos_server.agents.mcp.servers import McpServers


class McpCollector(Collector):
    """Reads the servers when Prometheus asks. Their names are the operator's choice, so there are few."""

    def __init__(self, servers: McpServers, prefix: str) -> None:
        self._servers = servers
        self._prefix = prefix

    def collect(self) -> Iterator[Metric]:
        calls = self._counter("mcp_calls", "Calls of tools of MCP servers.")
        errors = self._counter("mcp_call_errors", "Calls that came to nothing, or whose tool said so.")
        seconds = self._counter("mcp_call_seconds", "Seconds that calls took.")
        restarts = self._counter("mcp_restarts", "Connections made anew.")
        up = GaugeMetricFamily(self._prefix + "mcp_servers_ready", "1 for one that is ready.", labels=["server"])
        for name, server in self._servers.by_name.items():
            calls.add_metric([name], server.counts.num_calls)
            errors.add_metric([name], server.counts.num_errors)
            seconds.add_metric([name], server.counts.seconds)
            restarts.add_metric([name], server.num_restarts)
            up.add_metric([name], float(server.state == "ready"))
        yield from (calls, errors, seconds, restarts, up)

    def _counter(self, name: str, help: str) -> CounterMetricFamily:
        return CounterMetricFamily(self._prefix + name, help, labels=["server"])

"""What alerts ask for beside the figures of tokens and pages: answers by status, and how the engines are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from prometheus_client import Counter
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from llmos_server.api.served import Directory
from llmos_server.contracts import EngineState

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class RequestCounter:
    """ASGI middleware around everything: one count an answer, when its head is sent. Clients choose neither label."""

    def __init__(self, app: ASGIApp, requests: Counter) -> None:
        self._app = app
        self._requests = requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        method = scope["method"] if scope["method"] in METHODS else "other"

        async def send_and_count(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._requests.labels(method, str(message["status"])).inc()
            await send(message)

        await self._app(scope, receive, send_and_count)


class EngineStateCollector(Collector):
    """Reads the engines when Prometheus asks: one series a state, 1 for the one that the engine is in."""

    def __init__(self, directory: Directory, prefix: str) -> None:
        self._directory = directory
        self._prefix = prefix

    def describe(self) -> Iterator[Metric]:
        """Nothing: without this, collect() would be called at registration."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Of every model, loaded or not."""
        states = GaugeMetricFamily(
            f"{self._prefix}engine_state", "1 for the state the model is in.", labels=["model_name", "state"]
        )
        for model in self._directory.list():
            for state in get_args(EngineState):
                states.add_metric([model.id, state], model.engine.state == state)
        yield states

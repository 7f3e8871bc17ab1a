"""A request that is computed as a whole: charged before, booked once, taken back when the engine didn't admit it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from llmos_server.api.accounting.visits import Visit
from llmos_server.api.errors import QueueFull
from llmos_server.api.metrics.server_metrics import ModelMetrics
from llmos_server.contracts import Engine
from llmos_server.errors import EngineBusy
from llmos_server.key_contracts import UsageStatus


@dataclass(slots=True)
class Charge:
    """What is known of it by its end."""

    num_cached_tokens: int = 0
    queue_seconds: float | None = None


@contextmanager
def charged(visit: Visit, engine: Engine, metrics: ModelMetrics, num_tokens: int, arrival: float) -> Iterator[Charge]:
    """Around the engine's work. arrival: time.perf_counter() when the request came in.

    Raises RateLimited, and QueueFull where a ready engine has too many requests waiting.
    """
    visit.charge_prompt(num_tokens)
    charge = Charge()
    reason: UsageStatus | None = "error"
    try:
        yield charge
        reason = "stop"
    except asyncio.CancelledError:
        reason = "abort"
        raise
    except EngineBusy as error:
        reason = None
        visit.take_back(num_tokens)
        if engine.state == "ready" and not isinstance(error, QueueFull):
            raise QueueFull(str(error), retry_after=error.retry_after) from error
        raise
    finally:
        if reason is not None:  # Admitted.
            visit.book(
                reason,
                prompt_tokens=num_tokens,
                cached_tokens=charge.num_cached_tokens,
                queue_seconds=charge.queue_seconds,
            )
            metrics.prompt_tokens.inc(num_tokens)
            metrics.count_finished(reason)
            metrics.e2e_latency.observe(time.perf_counter() - arrival)
            if charge.queue_seconds is not None:
                metrics.queue_time.observe(charge.queue_seconds)

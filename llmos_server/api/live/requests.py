"""The requests in flight, as administrators see them."""

from __future__ import annotations

import time
from itertools import islice
from typing import Any

from llmos_server.api.flights import Flight, Flights, Progress
from llmos_server.api.schemas.admin_requests import InFlight, InFlightDetails, InFlightList

MAX_SHOWN = 1000


def list_flights(flights: Flights) -> InFlightList:
    data = [InFlight(**_row(flight)) for flight in islice(flights, MAX_SHOWN)]
    return InFlightList(data=data, num_more=len(flights) - len(data))


def describe_flight(flight: Flight) -> InFlightDetails:
    answers = [use.answer for use in flight.uses if use.answer is not None]
    details = answers[-1].details() if answers else None
    return InFlightDetails(
        **_row(flight),
        sampling=details.sampling if details is not None else None,
        grammar=details is not None and details.has_grammar,
        tools=details.tools if details is not None else [],
    )


def _row(flight: Flight) -> dict[str, Any]:
    """What is over, and what goes on."""
    open_ones = [use.answer.progress() for use in flight.uses if use.answer is not None]
    last = open_ones[-1] if open_ones else None
    prompt_tokens = flight.prompt_tokens + sum(progress.prompt_tokens for progress in open_ones)
    cached = [progress.cached_tokens for progress in open_ones if progress.cached_tokens is not None]
    is_cached_known = bool(cached) or (flight.prompt_tokens > 0 and last is None)
    return {
        "id": flight.id,
        "endpoint": flight.endpoint,
        "model": flight.uses[-1].model if flight.uses else flight.model,
        "key": flight.key,
        "client": flight.client,
        "state": flight.state,
        "started": flight.started,
        "age_seconds": max(time.time() - flight.started, 0.0),
        "prompt_tokens": prompt_tokens or None,
        "cached_tokens": flight.cached_tokens + sum(cached) if is_cached_known else None,
        "completion_tokens": flight.completion_tokens + sum(progress.completion_tokens for progress in open_ones),
        "num_choices": last.num_choices if last is not None else 1,
        "ttft_seconds": last.ttft_seconds if last is not None else None,
        "tokens_per_second": _speed(last),
        "is_stream": flight.is_stream,
    }


def _speed(progress: Progress | None) -> float | None:
    """The first token of each choice came before the clock began."""
    if progress is None or progress.completion_tokens <= progress.num_choices or progress.decode_seconds <= 0:
        return None
    return (progress.completion_tokens - progress.num_choices) / progress.decode_seconds

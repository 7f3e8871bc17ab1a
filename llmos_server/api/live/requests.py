"""The requests in flight, as administrators see them."""

from __future__ import annotations

import time
from itertools import islice

import msgspec

from llmos_server.api.flights import Flight, Flights, Progress
from llmos_server.api.schemas.admin_requests import InFlight, InFlightDetails, InFlightList, State

MAX_SHOWN = 1000
SECONDS_A_ROW = 0.001
"""From one list to the next, for those who follow it: a row takes some microseconds to write, and as many to read."""


def list_flights(flights: Flights) -> InFlightList:
    """Some microseconds each: it may be asked for ten times a second."""
    now = time.time()
    data = [_describe(flight, now) for flight in islice(flights, MAX_SHOWN)]
    return InFlightList(data=data, num_more=len(flights) - len(data))


def seconds_between(flights: Flights, wanted: float) -> float:
    """Two lists of a stream."""
    return max(wanted, min(len(flights), MAX_SHOWN) * SECONDS_A_ROW)


def describe_flight(flight: Flight) -> InFlightDetails:
    answers = [use.answer for use in flight.uses if use.answer is not None]
    details = answers[-1].details() if answers else None
    return InFlightDetails(
        **msgspec.structs.asdict(_describe(flight, time.time())),
        sampling=details.sampling if details is not None else None,
        grammar=details is not None and details.has_grammar,
        tools=details.tools if details is not None else [],
    )


def _describe(flight: Flight, now: float) -> InFlight:
    """What is over, and what goes on."""
    prompt_tokens, completion_tokens = flight.prompt_tokens, flight.completion_tokens
    cached_tokens = flight.cached_tokens if prompt_tokens else None
    model, last = flight.model, None
    state: State = "running" if flight.has_place else "filtering"
    for use in flight.uses:
        progress = use.answer.progress() if use.answer is not None else None
        model, state = use.model, use.state(progress)
        if progress is not None:
            last = progress
            prompt_tokens += progress.prompt_tokens
            completion_tokens += progress.completion_tokens
            cached_tokens = _sum(cached_tokens, progress.cached_tokens)
    return InFlight(
        id=flight.id,
        endpoint=flight.endpoint,
        model=model,
        key=flight.key,
        client=flight.client,
        state=state,
        started=flight.started,
        age_seconds=max(now - flight.started, 0.0),
        prompt_tokens=prompt_tokens or None,
        cached_tokens=cached_tokens,
        completion_tokens=completion_tokens,
        num_choices=last.num_choices if last is not None else 1,
        ttft_seconds=last.ttft_seconds if last is not None else None,
        tokens_per_second=_speed(last),
        is_stream=flight.is_stream,
    )


def _sum(before: int | None, more: int | None) -> int | None:
    """Known when the last one is."""
    return None if more is None else (before or 0) + more


def _speed(progress: Progress | None) -> float | None:
    """The first token of each choice came before the clock began."""
    if progress is None or progress.completion_tokens <= progress.num_choices or progress.decode_seconds <= 0:
        return None
    return (progress.completion_tokens - progress.num_choices) / progress.decode_seconds

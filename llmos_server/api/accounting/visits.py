"""What a request costs its key: its place among those in flight, its tokens, its row in the ledger."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from llmos_server.access.limits import Lease
from llmos_server.api.flights import Use, flight_of
from llmos_server.api.http.access import principal_of
from llmos_server.api.http.context import request_id_of, response_headers
from llmos_server.api.services import services_of
from llmos_server.key_contracts import Principal, UsageRow, UsageStatus

_LEASE_KEY = "llmos_lease"


class Visit:
    """Opened before anything is computed, closed when nothing is any more: `with Visit(request, model_id) as visit:`.

    Then charge_prompt() before the engine is asked (take_back() when it refuses), charge() for what it generates, and
    book() once, however it ends.
    """

    def __init__(self, request: Any, model_id: str, lease: Lease | None = None) -> None:
        """lease: the place of a request that asks models several times; None takes one. Raises RateLimited."""
        services = services_of(request)
        self.principal: Principal = principal_of(request)
        self._request_id = request_id_of(request)
        self._endpoint = request.url.path.rstrip("/")
        self._model_id = model_id
        self._book = services.usage
        self._headers = response_headers(request)
        self._arrival = time.perf_counter()
        self._flight = flight_of(request)
        self._flight.board(services.flights)
        self._has_own_lease = lease is None
        self._lease = services.limiter.enter(self.principal) if lease is None else lease
        self._headers.update(self._lease.headers())
        self._flight.has_place = True
        self.use = Use(model_id)

    def __enter__(self) -> Visit:
        self._flight.uses.append(self.use)
        return self

    def __exit__(self, *_: object) -> None:
        self._flight.uses.remove(self.use)
        if self._has_own_lease:
            self._lease.close()

    def charge_prompt(self, num_tokens: int) -> None:
        """Raises RateLimited when the key has no tokens left; a prompt is charged as a whole."""
        self._lease.check_tokens()
        self._lease.charge(num_tokens)
        self._headers.update(self._lease.headers())
        self.use.phase = "running"

    def take_back(self, num_tokens: int) -> None:
        """The charge of a prompt that the engine did not admit."""
        self._lease.charge(-num_tokens)
        self._headers.update(self._lease.headers())

    def charge(self, num_tokens: int) -> None:
        self._lease.charge(num_tokens)

    def book(
        self,
        status: UsageStatus,
        *,
        prompt_tokens: int,
        cached_tokens: int = 0,
        completion_tokens: int = 0,
        queue_seconds: float | None = None,
    ) -> None:
        """One row in the ledger; seconds are counted from when the visit was opened."""
        self._flight.prompt_tokens += prompt_tokens
        self._flight.cached_tokens += cached_tokens
        self._flight.completion_tokens += completion_tokens
        self._book.book(
            UsageRow(
                request_id=self._request_id,
                owner=self.principal.key_id,
                model=self._model_id,
                endpoint=self._endpoint,
                prompt_tokens=prompt_tokens,
                cached_tokens=cached_tokens,
                completion_tokens=completion_tokens,
                seconds=time.perf_counter() - self._arrival,
                queue_seconds=queue_seconds,
                status=status,
            )
        )


@contextmanager
def take_place(request: Any, *, uses_tokens: bool = False) -> Iterator[Lease]:
    """Among the key's requests in flight. uses_tokens False: for one that works on texts alone; True: for one that asks
    models by visits with this lease. Neither books a row itself. A request has one place: what it asks for within, as
    a tool that is a skill, shares it. Raises RateLimited."""
    state = request.scope["state"]
    if (taken := state.get(_LEASE_KEY)) is not None:
        yield taken
        return
    flight = flight_of(request)
    flight.board(services_of(request).flights)
    lease = services_of(request).limiter.enter(principal_of(request), uses_tokens=uses_tokens)
    state[_LEASE_KEY] = lease
    flight.has_place = True
    response_headers(request).update(lease.headers())
    try:
        yield lease
    finally:
        del state[_LEASE_KEY]
        lease.close()


def scoped_salt(principal: Principal, salt: str, isolate_keys: bool) -> str:
    """Under which requests share cached pages: with isolate_keys only with those of the same key.

    Nobody's salt stays as it is: where nobody is let in, there are no keys that it could reach into.
    """
    if not isolate_keys:
        return salt
    return f"key:{principal.key_id}:{salt}" if principal.key_id else salt

"""How much a key may use at once and in a minute. In the memory of one API process: a restart begins anew, and two
servers on one database count apart."""

from __future__ import annotations

import time
from collections.abc import Callable

from llmos_server.errors import RateLimited
from llmos_server.key_contracts import Principal

MINUTE = 60.0


class TokenBucket:
    """Holds a minute's tokens, refilled continuously. An answer's length isn't known when it begins, so a bucket may be
    overdrawn; nobody gets in before the debt is paid, and so the mean over time holds."""

    def __init__(self, tokens_per_minute: int, now: float) -> None:
        self.capacity = float(tokens_per_minute)
        self._level = self.capacity
        self._at = now

    def level(self, now: float) -> float:
        self._level = min(self.capacity, self._level + max(0.0, now - self._at) * self.capacity / MINUTE)
        self._at = max(self._at, now)
        return self._level

    def take(self, num_tokens: int, now: float) -> None:
        self._level = self.level(now) - num_tokens

    def resize(self, tokens_per_minute: int, now: float) -> None:
        """Another rate from now on. What was used stays used: a key that gets more has not more at once."""
        self._level = min(self.level(now), float(tokens_per_minute))
        self.capacity = float(tokens_per_minute)

    def seconds_until(self, level: float, now: float) -> float:
        return max(0.0, (level - self.level(now)) * MINUTE / self.capacity)


class _KeyState:
    def __init__(self) -> None:
        self.num_in_flight = 0
        self.bucket: TokenBucket | None = None


class Limiter:
    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._keys: dict[str, _KeyState] = {}

    def enter(self, principal: Principal, *, uses_tokens: bool = True) -> Lease:
        """A place among the key's requests in flight; close it. uses_tokens: the request will charge some, so it is
        refused when there are none. Raises RateLimited."""
        state = self._keys.setdefault(principal.key_id, _KeyState()) if principal.key_id else _KeyState()
        self._fit_bucket(state, principal.tokens_per_minute)
        lease = Lease(principal, state, self._clock)
        if uses_tokens:
            lease.check_tokens()
        most = principal.max_in_flight
        if most is not None and state.num_in_flight >= most:
            raise RateLimited(
                f"This key may have {most} requests in flight, and has. Wait until one of them ends.",
                retry_after=1.0,
                headers=lease.headers(),
            )
        state.num_in_flight += 1
        return lease

    def _fit_bucket(self, state: _KeyState, tokens_per_minute: int | None) -> None:
        """The key's limit may have been changed."""
        if tokens_per_minute is None:
            state.bucket = None
        elif state.bucket is None:
            state.bucket = TokenBucket(tokens_per_minute, self._clock())
        elif state.bucket.capacity != tokens_per_minute:
            state.bucket.resize(tokens_per_minute, self._clock())


class Lease:
    """One request in flight. It charges tokens until it is closed."""

    def __init__(self, principal: Principal, state: _KeyState, clock: Callable[[], float]) -> None:
        self._principal = principal
        self._state = state
        self._clock = clock
        self._closed = False

    def check_tokens(self) -> None:
        """Raises RateLimited when the key's bucket doesn't hold a single token."""
        bucket, now = self._state.bucket, self._clock()
        if bucket is not None and bucket.level(now) < 1.0:
            raise RateLimited(
                f"This key may use {self._principal.tokens_per_minute} tokens a minute, and has. "
                "Wait as long as Retry-After says.",
                retry_after=bucket.seconds_until(1.0, now),
                headers=self.headers(),
            )

    def charge(self, num_tokens: int) -> None:
        if self._state.bucket is not None:
            self._state.bucket.take(num_tokens, self._clock())

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._state.num_in_flight -= 1

    def headers(self) -> dict[str, str]:
        """OpenAI's names, for the limits that the key has."""
        found: dict[str, str] = {}
        bucket, now = self._state.bucket, self._clock()
        if bucket is not None:
            found["x-ratelimit-limit-tokens"] = str(int(bucket.capacity))
            found["x-ratelimit-remaining-tokens"] = str(max(0, int(bucket.level(now))))
            found["x-ratelimit-reset-tokens"] = format_seconds(bucket.seconds_until(bucket.capacity, now))
        most = self._principal.max_in_flight
        if most is not None:
            found["x-ratelimit-limit-requests"] = str(most)
            found["x-ratelimit-remaining-requests"] = str(max(0, most - self._state.num_in_flight))
        return found


def format_seconds(seconds: float) -> str:
    """As OpenAI writes them: 120ms, 1.5s, 6m0s."""
    if seconds < 1:
        return f"{int(seconds * 1000)}ms"
    minutes, rest = divmod(seconds, MINUTE)
    return f"{int(minutes)}m{int(rest)}s" if minutes else f"{round(rest, 1):g}s"

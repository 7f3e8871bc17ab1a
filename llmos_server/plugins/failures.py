"""What plugins did wrong: logged by name, counted, and a switch that turns off what keeps failing."""

from __future__ import annotations

import time
import traceback
from collections import Counter
from collections.abc import Callable
from typing import Literal

import structlog

log = structlog.get_logger(__name__)

FailureKind = Literal["raised", "timeout", "invalid", "blocked"]
"""raised: an exception. timeout: the deadline went by. invalid: it returned what it may not. blocked: it did not end
when it was cancelled, so its thread is lost until it does."""


class Switch:
    """Off after `max_failures` in a row; after `rest_seconds` one call is let through, whose end decides."""

    def __init__(self, max_failures: int, rest_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_failures = max_failures
        self._rest_seconds = rest_seconds
        self._clock = clock
        self._num_failures = 0
        self._try_at = 0.0

    @property
    def is_on(self) -> bool:
        return self._num_failures < self._max_failures

    @property
    def retry_after(self) -> float:
        """Seconds."""
        return max(self._try_at - self._clock(), 0.0)

    def admits(self) -> bool:
        """Whether a call may be made now; a trial is given to one caller only."""
        if self.is_on:
            return True
        if self._clock() < self._try_at:
            return False
        self._try_at = self._clock() + self._rest_seconds
        return True

    def succeeded(self) -> None:
        self._num_failures = 0

    def failed(self) -> None:
        self._num_failures += 1
        self._try_at = self._clock() + self._rest_seconds


class Failures:
    """Of all plugins: counts since the start, and one switch for each thing that a plugin offers."""

    def __init__(self, max_failures: int, rest_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.counts: Counter[tuple[str, str, FailureKind]] = Counter()
        """By plugin, hook and kind."""
        self._max_failures = max_failures
        self._rest_seconds = rest_seconds
        self._clock = clock
        self._switches: dict[tuple[str, str, str], Switch] = {}

    def switch(self, plugin: str, hook: str, name: str) -> Switch:
        key = (plugin, hook, name)
        if key not in self._switches:
            self._switches[key] = Switch(self._max_failures, self._rest_seconds, self._clock)
        return self._switches[key]

    def switched_off(self, plugin: str) -> list[str]:
        """What of a plugin is off now, as "hook name"."""
        return [
            f"{hook} {name}" for (of, hook, name), switch in self._switches.items() if of == plugin and not switch.is_on
        ]

    def note(self, plugin: str, hook: str, name: str, kind: FailureKind, error: BaseException | None = None) -> None:
        """One line that names the culprit. The exception's own words may hold a prompt: level debug has them."""
        self.counts[plugin, hook, kind] += 1
        where = place_of(error) if error is not None else {}
        log.warning("plugin failed", plugin=plugin, hook=hook, name=name, kind=kind, **where)
        if error is not None:
            log.debug("plugin failed", plugin=plugin, hook=hook, name=name, exc_info=error)


def place_of(error: BaseException) -> dict[str, str]:
    """Its type, and the file and line that raised it; not its words."""
    frames = traceback.extract_tb(error.__traceback__)
    where = {"at": f"{frames[-1].filename}:{frames[-1].lineno}"} if frames else {}
    return {"error": type(error).__name__, **where}

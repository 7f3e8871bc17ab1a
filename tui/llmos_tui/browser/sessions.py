"""Who has shown the key in a browser: cookies that mean nothing but that, and end."""

from __future__ import annotations

import hmac
import secrets
import time
from collections import deque
from collections.abc import Callable
from hashlib import sha256

SESSION_SECONDS = 12 * 3600.0
MAX_SESSIONS = 64
MAX_FAILURES = 5
FAILURE_SECONDS = 60.0


def digest(key: str) -> bytes:
    return sha256(key.encode()).digest()


class Sessions:
    """Of one key, asked for each time, as a server that is started anew may have another one."""

    def __init__(self, key: Callable[[], str | None], clock: Callable[[], float] = time.monotonic) -> None:
        self._key = key
        self._clock = clock
        self._ends: dict[str, tuple[float, bytes]] = {}
        """Cookie -> when it ends, and the key that it was given for."""
        self._failures: deque[float] = deque(maxlen=MAX_FAILURES)

    def knows_key(self, given: str) -> bool:
        """In constant time. Without a key of ours nothing is let in."""
        key = self._key()
        return bool(key) and hmac.compare_digest(digest(given), digest(key or ""))

    def log_in(self, given: str) -> str | None:
        """A new cookie for the right key. What is_locked says is for the caller to ask first."""
        if not self.knows_key(given):
            self._failures.append(self._clock())
            return None
        self._forget_old()
        while len(self._ends) >= MAX_SESSIONS:
            del self._ends[min(self._ends, key=lambda cookie: self._ends[cookie][0])]
        cookie = secrets.token_urlsafe(32)
        self._ends[cookie] = (self._clock() + SESSION_SECONDS, digest(given))
        return cookie

    def is_good(self, cookie: str) -> bool:
        self._forget_old()
        key = self._key()
        kept = self._ends.get(cookie)
        return kept is not None and bool(key) and kept[1] == digest(key or "")

    @property
    def is_locked(self) -> bool:
        """After several wrong keys within a minute nobody's key is looked at for a while."""
        full = len(self._failures) == MAX_FAILURES
        return full and self._clock() - self._failures[0] < FAILURE_SECONDS

    def _forget_old(self) -> None:
        now = self._clock()
        for cookie in [cookie for cookie, (end, _) in self._ends.items() if end <= now]:
            del self._ends[cookie]

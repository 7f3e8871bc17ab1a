"""Stop strings in a growing text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class StopMatch(NamedTuple):
    start: int
    """Characters of the whole text before the match."""
    stop: str


class StopMatcher:
    """Finds the stop string that is complete first; of several that end at the same character, the longest.

    So the outcome doesn't depend on how the text is cut into pieces. One automaton a stop string (Knuth, Morris,
    Pratt): constant amortised work per character.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = sorted(set(stops), key=len, reverse=True)
        self._fallbacks = [_fallbacks(stop) for stop in self._stops]
        self._matched = [0] * len(self._stops)
        self._num_chars = 0

    @property
    def num_held(self) -> int:
        """Characters at the end of the text that may be the begin of a stop string."""
        return max(self._matched, default=0)

    def feed(self, text: str, *, can_stop: bool = True) -> StopMatch | None:
        """Read on. With can_stop false, a match that ends in this text doesn't count. Ends at the first match."""
        if not self._stops:
            return None
        for character in text:
            self._num_chars += 1
            match = self._step(character)
            if match is not None and can_stop:
                return match
        return None

    def _step(self, character: str) -> StopMatch | None:
        found: StopMatch | None = None
        for i, stop in enumerate(self._stops):
            fallbacks = self._fallbacks[i]
            matched = self._matched[i]
            while matched and stop[matched] != character:
                matched = fallbacks[matched]
            matched += stop[matched] == character
            if matched == len(stop):
                found = found or StopMatch(self._num_chars - matched, stop)
                matched = fallbacks[matched]
            self._matched[i] = matched
        return found


def _fallbacks(stop: str) -> list[int]:
    """Entry n: how long the longest proper prefix of stop is that is also the end of stop[:n]."""
    table = [0, 0]
    for character in stop[1:]:
        length = table[-1]
        while length and stop[length] != character:
            length = table[length]
        table.append(length + (stop[length] == character))
    return table

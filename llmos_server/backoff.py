"""How long a process that has ended stays away before it is started again."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Backoff:
    """Seconds before the next start, doubling from `first` with every death in a row.

    A process that was ready is wanted back: its first death costs no wait, and the next ones at most
    `maximum_after_ready`, for an engine's load takes longer than that anyway. `reset_after` healthy seconds end a row.
    """

    first: float = 0.5
    maximum: float = 30.0
    maximum_after_ready: float = 2.0
    reset_after: float = 10.0
    num_deaths: int = 0

    def delay_after(self, healthy_seconds: float | None) -> float:
        """healthy_seconds: for how long it was ready; None when it never was."""
        was_ready = healthy_seconds is not None
        if healthy_seconds is not None and healthy_seconds >= self.reset_after:
            self.num_deaths = 0
        num_doublings = min(self.num_deaths - was_ready, 16)
        self.num_deaths += 1
        if num_doublings < 0:
            return 0.0
        return float(min(self.first * 2**num_doublings, self.maximum_after_ready if was_ready else self.maximum))

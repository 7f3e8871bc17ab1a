"""Judges whether a worker whose process runs still works: does it beat, how long is it at one step, at its load?"""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass

from llmos_server.engine.connection import Message
from llmos_server.engine.messages import Heartbeat, Ready

NUM_TICKS = 4
"""The shortest limit is watched in so many parts, so that a pause of this process counts as one of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Seconds; 0 is none, which silence can't be."""

    silence: float
    """Without any report, once the model is loaded: a load may keep the heartbeat's thread from running."""
    step: float
    load: float

    @property
    def tick(self) -> float:
        return min(limit for limit in (self.silence, self.step, self.load) if limit) / NUM_TICKS


class LifeSigns:
    """Of one life of a worker. Give it every report."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._has_loaded = False
        self._was_heard = False
        self._step_seconds = 0.0

    def note(self, report: Message) -> None:
        self._was_heard = True
        self._step_seconds = report.step_seconds if isinstance(report, Heartbeat) else 0.0
        self._has_loaded |= isinstance(report, Ready)

    async def wait_for_fault(self) -> str:
        """Returns when the worker should be ended, and why. Call it when its process has been started."""
        limits = self._limits
        num_loading = num_silent = 0
        while True:
            self._was_heard = False
            await asyncio.sleep(limits.tick)
            if not self._has_loaded:
                num_loading += 1
                if limits.load and num_loading >= self._num_ticks(limits.load):
                    return f"its load took longer than {limits.load:g} s (engine.load_timeout_seconds)"
                continue
            if limits.step and self._step_seconds > limits.step:
                return f"it hung for {self._step_seconds:.0f} s in one step (engine.step_timeout_seconds)"
            num_silent = 0 if self._was_heard else num_silent + 1
            if num_silent >= self._num_ticks(limits.silence):
                return f"no heartbeat for {limits.silence:g} s"

    def _num_ticks(self, limit: float) -> int:
        return math.ceil(limit / self._limits.tick - 1e-6)

"""How near hidden states are, a measure of what an engine computes that sees more than some tokens' log-probabilities.

In fast numerics the log-probability of an unlikely token moves far by rounding alone, and that of a likely one moves
little when a whole projection's update is missing: with smollm2:135m and adapters of rank 16, weighted as verify.py
does, by 0.049 without down_proj's. Hidden states are hundreds of numbers a token, and rounding moves them every way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from llmos_server.engine.step import StepPlan, StepResult

BASE_FACTOR = 2.0
"""How many times as far as its base's an adapter's states may be from the exact ones, or more where it moves them by
more than their length: what is added is rounded, too. There, right ones were at 1.1 to 1.5; without one projection's
updates at 2.8 and more, without one of 30 layers' at 1.8 to 3.6: the least of those can't be told from rounding."""
ADAPTER_ROUNDING = 2e-3
"""Of what an adapter adds: it is kept in float16, also where its base isn't rounded at all."""


class StateRecorder:
    """An engine.step.Runner that notes its hidden states."""

    def __init__(self, runner: Any) -> None:
        self._runner = runner
        self._rows: list[torch.Tensor] = []

    def forward(self, plan: StepPlan) -> torch.Tensor:
        hidden: torch.Tensor = self._runner.forward(plan)
        self._rows.append(hidden[: plan.num_tokens].float().clone())
        return hidden

    def sample(self, plan: StepPlan, hidden: torch.Tensor) -> StepResult:
        result: StepResult = self._runner.sample(plan, hidden)
        return result

    @property
    def states(self) -> torch.Tensor:
        """[all rows, hidden]."""
        return torch.cat(self._rows)


@dataclass(frozen=True)
class Nearness:
    """Mean distances of states from the exact ones, as shares of these."""

    adapted: float
    base: float
    """Without the adapter, over the same tokens."""
    effect: float
    """Of the exact ones with the adapter from those without."""

    @property
    def allowed(self) -> float:
        return self.base * max(BASE_FACTOR, 1.0 + self.effect) + ADAPTER_ROUNDING * self.effect


def distance(states: torch.Tensor, exact: torch.Tensor) -> float:
    """Each [rows, hidden]."""
    return float(((states - exact).norm(dim=1) / exact.norm(dim=1).clamp_min(1e-12)).mean())

"""What long prompts may have of a step while answers are being written: so much that those barely notice."""

from __future__ import annotations

from collections.abc import Sequence as Many

from llmos_server.engine.cost_model import MIN_CHUNK_TOKENS, CostModel, StepBudget
from llmos_server.engine.sequence import Sequence
from llmos_server.engine.step import StepPlan

FORGETTING = 0.9
"""As cost_model.py's, for steps of nothing but decodes: the last ten or so count."""
PROBE_STEPS = 16
"""After so many steps with some of a long prompt comes one without, so that what decodes take is known anew."""
CORRECTION = 0.2
"""How far the price follows what a token has cost in one step, on a scale of logarithms."""
MAX_SURPRISE = 2.0
"""A step that cost so many times more, or less, than was thought tells no more than that."""


class LongPrompts:
    """A step with some of a long prompt lasts at most max_stall times as long as its decodes alone would, on average.

    How long those take is learned from steps of nothing else, and what a token of the prompt adds from the steps with
    it: one long prompt makes all steps alike for a while, and a fit of everything at once (cost_model.py) can't tell
    there what belongs to whom.
    """

    def __init__(self, max_stall: float, long_from: int) -> None:
        """max_stall: 0 for no bound. long_from: a prompt with more tokens than that to compute is long."""
        self._max_stall = max_stall
        self._long_from = long_from
        self._decodes = CostModel(forgetting=FORGETTING, counts_pairs=False)
        self._price = 0.0
        self._num_steps = 0
        self._budget: StepBudget | None = None

    def bound(self, budget: StepBudget, running: Many[Sequence]) -> None:
        """Before anything is taken from the budget of a step."""
        self._budget = None
        num_decodes = sum(sequence.num_uncomputed_tokens == 1 for sequence in running)
        if not self._max_stall or not num_decodes or not self._decodes.is_known:
            return
        alone = self._decode_seconds(num_decodes)
        self._price = self._price or alone / MIN_CHUNK_TOKENS
        is_probe = self._num_steps >= PROBE_STEPS
        budget.long_tokens = 0 if is_probe else max(1, int((self._max_stall - 1) * alone / self._price))
        budget.long_from = self._long_from
        self._num_steps = 0 if is_probe else self._num_steps
        self._budget = budget

    def observe(self, plan: StepPlan, seconds: float) -> None:
        """Learn from a step, if it has nothing but decodes and long prompts."""
        num_long = self._budget.num_long_tokens if self._budget else 0
        self._num_steps += num_long > 0
        num_decodes = sum(chunk.num_tokens == 1 and chunk.sequence.num_output_tokens > 0 for chunk in plan.chunks)
        if seconds <= 0 or num_decodes + num_long != plan.num_tokens:
            return
        if not num_long:
            self._decodes.observe(plan, seconds)
            return
        paid = max(seconds - self._decode_seconds(num_decodes), 0.0) / num_long
        surprise = min(max(paid / self._price, 1 / MAX_SURPRISE), MAX_SURPRISE)
        self._price *= surprise**CORRECTION

    def _decode_seconds(self, num_decodes: int) -> float:
        """A step of nothing but so many."""
        return self._decodes.fixed + num_decodes * (self._decodes.per_chunk + self._decodes.per_token)

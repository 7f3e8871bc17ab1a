"""What a step costs: seconds as a function of its shape, learned while serving, and a budget counted with it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from operator import mul

from llmos_server.engine.step import StepPlan

FORGETTING = 0.98
"""Weight of an observation against the one after it: the last 50 or so steps count."""
NUM_SWEEPS = 50
STILL = 1e-3
"""Of a coefficient: what may be left out of a sweep's change."""
MIN_CHUNK_TOKENS = 16
"""What the first chunk of a step may have in any case, so that a wrong estimate stops nobody."""
FIRST_STEP_TOKENS = 128
"""The bound before anything is known."""
WORTHWHILE = 4
"""How many times its fixed cost a step may spend on tokens, however short it should be: with fewer, tokens cost much
more than they need to, since most of such a step reads weights. A large model's fixed cost is above any bound in
milliseconds that suits a small one."""
NO_LIMIT = 1e9
"""Seconds. Finite, so that it can be divided."""
NO_LIMIT_TOKENS = 2**31
SCALES = (256.0, 16.0, 65536.0, 1.0, 16.0)
"""Typical sizes of the features, so that one step of the descent suits all."""


class CostModel:
    """seconds = per_token * tokens + per_chunk * chunks + per_pair * (query, key) pairs + fixed + per_draft * drafts.

    Drafts are guessed tokens: tokens, too, but each has a row of the output head. Before any were computed they are
    thought to cost no more than other tokens.

    Least squares of the relative error over the steps so far, older ones weighing less, no coefficient below 0; by
    coordinate descent from the last solution, so that what the recent steps say nothing about stays as it was.
    """

    def __init__(self, *, forgetting: float = FORGETTING, counts_pairs: bool = True) -> None:
        """counts_pairs: False for steps of much the same shape, in which pairs only grow with time."""
        self.is_known = False
        self._forgetting = forgetting
        self._counts_pairs = counts_pairs
        self._products = [[0.0] * len(SCALES) for _ in SCALES]
        self._targets = [0.0] * len(SCALES)
        self._scaled = [0.0] * len(SCALES)

    @property
    def per_token(self) -> float:
        return self._scaled[0] / SCALES[0]

    @property
    def per_chunk(self) -> float:
        return self._scaled[1] / SCALES[1]

    @property
    def per_pair(self) -> float:
        return self._scaled[2] / SCALES[2]

    @property
    def fixed(self) -> float:
        return self._scaled[3] / SCALES[3]

    @property
    def per_draft(self) -> float:
        return self._scaled[4] / SCALES[4]

    def decode_seconds(self, num_sequences: int) -> float:
        """Of a step of so many decodes, their attention aside; 0 before anything is known."""
        return self.fixed + (self.per_token + self.per_chunk) * num_sequences

    def estimate(self, plan: StepPlan) -> float:
        """Seconds; 0 before anything is known."""
        return sum(size * value / scale for size, value, scale in zip(_shape(plan), self._scaled, SCALES, strict=True))

    def observe(self, plan: StepPlan, seconds: float) -> None:
        """seconds: what the step took; without a clock that moves there is nothing to learn."""
        if seconds <= 0:
            return
        self.is_known = True
        tokens, chunks, pairs, *others = _shape(plan)
        shape = (tokens, chunks, pairs if self._counts_pairs else 0.0, *others)
        row = [size / scale / seconds for size, scale in zip(shape, SCALES, strict=True)]
        for i, value in enumerate(row):
            self._targets[i] = self._forgetting * self._targets[i] + value
            self._products[i] = [
                self._forgetting * old + value * other for old, other in zip(self._products[i], row, strict=True)
            ]
        for _ in range(NUM_SWEEPS):
            if not self._sweep():
                return

    def _sweep(self) -> bool:
        """The best value of each coefficient in turn; False when that changed next to nothing."""
        is_moving = False
        scaled = self._scaled
        for i, products in enumerate(self._products):
            if not products[i]:
                continue
            old = scaled[i]
            explained = sum(map(mul, products, scaled)) - products[i] * old
            scaled[i] = max(0.0, (self._targets[i] - explained) / products[i])
            is_moving = is_moving or abs(scaled[i] - old) > STILL * old
        return is_moving

    def budget(self, max_tokens: int, max_seconds: float) -> StepBudget:
        """max_seconds: 0 for no bound in time. A step may always spend WORTHWHILE times its fixed cost on tokens."""
        if not max_seconds:
            return StepBudget(self, max_tokens, NO_LIMIT)
        if not self.is_known:
            return StepBudget(self, min(max_tokens, FIRST_STEP_TOKENS), NO_LIMIT)
        return StepBudget(self, max_tokens, max(max_seconds - self.fixed, WORTHWHILE * self.fixed))


@dataclass(slots=True)
class StepBudget:
    """What is left of a step, in tokens and in seconds. The last grant may overdraw the seconds by one token."""

    costs: CostModel
    num_tokens: int
    seconds: float
    is_untouched: bool = True
    long_tokens: int = NO_LIMIT_TOKENS
    """What long prompts may have of the tokens."""
    long_from: int = NO_LIMIT_TOKENS
    """A prompt with more tokens to compute is long."""
    num_long_tokens: int = 0
    """What long prompts have got."""

    @property
    def is_left(self) -> bool:
        return self.num_tokens > 0 and (self.seconds > 0 or self.is_untouched)

    def take(self, wanted: int, start: int, *, opens_chunk: bool, is_long: bool = False) -> int:
        """How many of the next `wanted` tokens of a sequence, from position `start` on, this step computes.

        is_long: they are part of a long prompt.
        """
        if not self.is_left or (is_long and not self.long_tokens):
            return 0
        costs = self.costs
        most = min(wanted, self.num_tokens, self.long_tokens if is_long else wanted)
        overhead = costs.per_chunk if opens_chunk else 0.0
        per_token = costs.per_token + costs.per_pair * (start + most / 2)
        fitting = (self.seconds - overhead) / per_token if per_token else math.inf
        least = MIN_CHUNK_TOKENS if self.is_untouched else 1
        granted = int(min(most, max(fitting, least)))
        self.num_tokens -= granted
        if is_long:
            self.long_tokens -= granted
            self.num_long_tokens += granted
        self.seconds -= overhead + costs.per_token * granted + costs.per_pair * num_pairs(start, granted)
        self.is_untouched = False
        return granted

    def extend(self, seconds: float) -> None:
        self.seconds += seconds

    def close(self) -> None:
        """Nothing more goes into this step."""
        self.num_tokens = 0

    def split(self, parts: int) -> StepBudget:
        """Cut off one of so many equal parts, at least a token."""
        part = StepBudget(self.costs, max(1, self.num_tokens // parts), self.seconds / parts)
        part.long_tokens, part.long_from = self.long_tokens // parts, self.long_from
        self.long_tokens -= part.long_tokens
        self.num_tokens -= part.num_tokens
        self.seconds -= part.seconds
        return part

    def join(self, part: StepBudget) -> None:
        """Take back what is left of a part."""
        self.num_tokens += part.num_tokens
        self.long_tokens += part.long_tokens
        self.num_long_tokens += part.num_long_tokens
        self.seconds += part.seconds
        self.is_untouched = self.is_untouched and part.is_untouched


def _shape(plan: StepPlan) -> tuple[float, ...]:
    """What the coefficients are multiplied with."""
    pairs = sum(num_pairs(chunk.start, chunk.num_tokens) for chunk in plan.chunks)
    num_drafts = sum(len(chunk.draft_ids) for chunk in plan.chunks)
    return plan.num_tokens, len(plan.chunks), pairs, 1, num_drafts


def num_pairs(start: int, num_tokens: int) -> float:
    """(query, key) pairs that attention over a chunk weighs."""
    return num_tokens * (start + num_tokens / 2)

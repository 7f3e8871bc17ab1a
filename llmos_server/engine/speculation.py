"""Speculative decoding, lossless: guessed tokens ride along in a step, and those that the model itself draws are kept.

A guess is accepted if and only if it equals what is drawn at its position, from the same logits and with the same noise
as without it. So guesses change the speed and nothing else, which the kernels' batch invariance makes exact.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from llmos_server.engine.block_manager import BlockManager
from llmos_server.engine.cost_model import CostModel, StepBudget
from llmos_server.engine.owners import DECODE_WEIGHT
from llmos_server.engine.pool import PageStore
from llmos_server.engine.sequence import Sequence
from llmos_server.engine.step import Chunk, Runner, StepPlan

PRIOR_CHANCE, PRIOR_WEIGHT = 0.5, 1.0
"""What a sequence's guesses are trusted before any was tried, as if so many had been."""
FORGETTING = 0.9
"""Weight of a guess against the one after it."""
MIN_CHANCE = 0.2
"""Guesses that are right less often are not computed, however cheap it looks."""
MARGIN = 1.2
"""What a guess must promise over what it costs: the costs are estimates."""
PROBE_STEPS = 64
"""In one step of so many one sequence gets a guess whatever is known of it, so that a wrong estimate mends."""
DEAR_PROBE_STEPS = 512
"""The same for a proposer that is known to cost something: a draft model has to read the sequence first."""


class Proposer(Protocol):
    """Guesses what follows. Wrong guesses cost time, no more."""

    @property
    def is_free(self) -> bool:
        """Whether a guess costs next to nothing, so that it is worth making even if it won't be computed."""
        ...

    @property
    def seconds(self) -> float:
        """What the last `propose` took."""
        ...

    def seconds_per_guess(self, num_sequences: int) -> float:
        """What one more guess for each of so many sequences takes, a sequence; 0 while that isn't known."""
        ...

    def propose(self, plan: StepPlan, wanted: Mapping[Sequence, int]) -> dict[Sequence, list[int]]:
        """At most so many tokens after each sequence's token_ids. plan: what the step computes beside them. Unless
        guesses are free, it tells which pages change hands, they have pages, and this is called at every step."""
        ...

    def forget(self, sequence: Sequence) -> None:
        """It has ended. Unknown ones are no error."""
        ...


class PagedProposer(Proposer, PageStore, Protocol):
    """One with pages of its own under the model's numbers."""


class DraftingRunner(Runner, Protocol):
    """What a worker loads."""

    is_batch_invariant: bool
    """Whether a sequence's logits have the same bits in any batch and in any chunks. What isn't gets no guesses."""
    adapters: dict[str, Any]
    """By digest: what sequences may name; see engine.adapters."""
    draft: PagedProposer | None
    """A draft model, if one was loaded beside the model."""

    def load_adapter(self, folder: Path) -> Any:
        """For `adapters`; in any thread. Raises LLMOSError."""
        ...


@dataclass(slots=True)
class _Record:
    """How one sequence's guesses fared."""

    guess: list[int] = field(default_factory=list)
    num_right: float = 0.0
    num_tried: float = 0.0
    is_barred: bool = False

    @property
    def chance(self) -> float:
        """That a guess is right whose predecessors were."""
        return (self.num_right + PRIOR_CHANCE * PRIOR_WEIGHT) / (self.num_tried + PRIOR_WEIGHT)

    def learn(self, token_ids: list[int | None]) -> None:
        """token_ids: what came where `guess` was expected; those that were not computed count as well."""
        for guessed, token_id in zip(self.guess, token_ids, strict=False):
            self.num_tried = FORGETTING * self.num_tried + 1
            self.num_right = FORGETTING * self.num_right + (guessed == token_id)
            if guessed != token_id:
                return


class Speculation:
    """Adds guesses to planned decodes with what a step has left, as many as pay by their chance and their cost.

    A guess never takes budget, a place or a page from planned work: it comes last, and its pages go back if it was
    wrong.
    """

    def __init__(self, proposer: Proposer, blocks: BlockManager, costs: CostModel, max_tokens: int) -> None:
        """max_tokens: most guesses for one sequence in a step."""
        self.num_drafts = 0
        self.num_draft_tokens = 0
        self.num_accepted_tokens = 0
        self._proposer = proposer
        self._blocks = blocks
        self._costs = costs
        self._max_tokens = max_tokens
        self._records: dict[Sequence, _Record] = {}
        self._num_steps = 0

    @property
    def seconds(self) -> float:
        """What guessing took in this step."""
        return self._proposer.seconds

    def reserve(self, plan: StepPlan, budget: StepBudget) -> dict[Chunk, int]:
        """How many guesses each decode of the plan gets, with pages for them. budget: what the step has left."""
        self._num_steps += 1
        chunks = [chunk for chunk in plan.chunks if _is_decode(chunk)]
        worth = self._worth_a_second(plan)
        guessing = self._proposer.seconds_per_guess(len(chunks)) if chunks else 0.0
        limits = {chunk: self._limit(chunk, worth, guessing) for chunk in chunks}
        num_probes, is_other_step = divmod(self._num_steps, DEAR_PROBE_STEPS if guessing else PROBE_STEPS)
        if chunks and not is_other_step:
            chunk = chunks[num_probes % len(chunks)]
            limits[chunk] = max(limits[chunk], min(1, self._most(chunk)))
        if self._proposer.is_free:
            self._ask(plan, {chunk: max(limit, 1) for chunk, limit in limits.items()})
            limits = {chunk: min(limit, len(self._records[chunk.sequence].guess)) for chunk, limit in limits.items()}
        return {chunk: self._find_room(chunk, limit, budget) for chunk, limit in limits.items()}

    def extend(self, plan: StepPlan, room: Mapping[Chunk, int]) -> None:
        """Lengthen the plan's decodes by guesses. room: what `reserve` has returned."""
        if not self._proposer.is_free:
            self._ask(plan, room)
        for chunk, num_tokens in room.items():
            chunk.draft_ids = self._records[chunk.sequence].guess[:num_tokens]
            chunk.num_tokens += len(chunk.draft_ids)

    def settle(self, chunk: Chunk, token_ids: list[int | None], num_accepted: int) -> None:
        """A step has been carried out. token_ids: all that were drawn; num_accepted: guesses that became output."""
        record = self._records.get(chunk.sequence)
        if record is not None:
            record.learn(token_ids)
            record.guess = []
        if chunk.draft_ids:
            self.num_drafts += 1
            self.num_draft_tokens += len(chunk.draft_ids)
            self.num_accepted_tokens += num_accepted

    def bar(self, sequence: Sequence) -> None:
        """Compute no more guesses for it."""
        self._records[sequence].is_barred = True

    def forget(self, sequence: Sequence) -> None:
        self._records.pop(sequence, None)
        self._proposer.forget(sequence)

    def _ask(self, plan: StepPlan, wanted: Mapping[Chunk, int]) -> None:
        guesses = self._proposer.propose(plan, {chunk.sequence: num for chunk, num in wanted.items() if num})
        for chunk in wanted:
            self._records[chunk.sequence].guess = guesses.get(chunk.sequence, [])

    def _worth_a_second(self, plan: StepPlan) -> float:
        """What the step gets done in a second without guesses, in generated tokens; 0 while costs aren't known."""
        seconds = self._costs.estimate(plan)
        num_decodes = sum(1 for chunk in plan.chunks if chunk.sample_for)
        return (num_decodes + (plan.num_tokens - num_decodes) / DECODE_WEIGHT) / seconds if seconds else 0.0

    def _limit(self, chunk: Chunk, worth: float, guessing: float) -> int:
        """How many guesses pay: as long as all so far are right with a chance that is worth what the next one costs."""
        sequence = chunk.sequence
        record = self._records.setdefault(sequence, _Record())
        most = self._most(chunk)
        if not most:
            return 0
        costs = self._costs
        seconds = guessing + costs.per_token + costs.per_draft + costs.per_pair * (chunk.start + 1)
        needed = max(MIN_CHANCE, MARGIN * seconds * worth)
        if needed >= 1 or record.chance < needed:
            return 0
        return most if record.chance >= 1 else min(most, int(math.log(needed) / math.log(record.chance)))

    def _most(self, chunk: Chunk) -> int:
        """Guesses that may be computed at all: what is drawn after the last one has to be part of the answer."""
        sequence = chunk.sequence
        if self._records[sequence].is_barred:
            return 0
        return min(self._max_tokens, sequence.request.sampling.max_tokens - sequence.num_output_tokens - 1)

    def _find_room(self, chunk: Chunk, limit: int, budget: StepBudget) -> int:
        sequence, end = chunk.sequence, chunk.start + chunk.num_tokens
        num_tokens = budget.take(limit, end, opens_chunk=False) if limit else 0
        if not self._blocks.grow(sequence, end + num_tokens):
            num_tokens = min(num_tokens, len(sequence.pages) * self._blocks.page_size - end)
        return num_tokens


def _is_decode(chunk: Chunk) -> bool:
    sequence = chunk.sequence
    draws = sequence.num_output_tokens > 0 and not sequence.continuation
    return chunk.num_tokens == 1 and draws and chunk.sample_for == [sequence]

"""Continuations that are given: computed with the step in which their first token is, as far as the step has room."""

from __future__ import annotations

from llmos_server.engine.block_manager import BlockManager
from llmos_server.engine.cost_model import StepBudget
from llmos_server.engine.step import Chunk, StepPlan

MAX_AHEAD = 63
"""Tokens of one sequence beyond the next: each has a row of the output head, and the head computes 64 at once."""


def lengthen(plan: StepPlan, budget: StepBudget, blocks: BlockManager) -> None:
    """Let chunks whose own sequence alone draws from their last row go on with what it is going to draw.

    It rides along as guesses do, which are right here. budget: what the step has left. The last token needs no row of
    its own: nothing is drawn behind it.
    """
    for chunk in plan.chunks:
        sequence = chunk.sequence
        if sequence.continuation and chunk.sample_for == [sequence]:
            known = sequence.continuation[sequence.num_output_tokens : -1]
            chunk.draft_ids = known[: _find_room(chunk, min(len(known), MAX_AHEAD), budget, blocks)]
            chunk.num_tokens += len(chunk.draft_ids)


def _find_room(chunk: Chunk, limit: int, budget: StepBudget, blocks: BlockManager) -> int:
    sequence, end = chunk.sequence, chunk.start + chunk.num_tokens
    num_tokens = budget.take(limit, end, opens_chunk=False) if limit else 0
    if not blocks.grow(sequence, end + num_tokens):
        num_tokens = min(num_tokens, len(sequence.pages) * blocks.page_size - end)
    return num_tokens

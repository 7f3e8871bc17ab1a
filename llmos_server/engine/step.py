"""What one engine step is: the scheduler writes a StepPlan, the model runner carries it out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from llmos_server.contracts import TokenLogprob
from llmos_server.engine.pool import PageStore
from llmos_server.engine.sequence import Mask, Sequence


@dataclass(slots=True, eq=False)
class Chunk:
    """Compute num_tokens of sequence.token_ids + draft_ids from `start` on; keys and values go into sequence.pages.

    A decode is a chunk of one token, and of what is guessed to follow. Attention covers positions 0 .. start +
    num_tokens - 1.
    """

    sequence: Sequence
    start: int
    num_tokens: int
    sample_for: list[Sequence] = field(default_factory=list)
    """Sequences whose next token is drawn from the chunk's last row: empty inside a prompt, the sequence itself at its
    end, all n choices at the end of the prompt of a request with n > 1."""
    wants_prompt_logprobs: bool = False
    """Log-probabilities of the prompt tokens that this chunk's rows predict, start + 1 .. start + num_tokens."""
    draft_ids: list[int] = field(default_factory=list)
    """Guesses of what follows sequence.token_ids, or what is given to follow: the chunk's last rows. Only where the
    chunk's own sequence alone draws from it."""

    @property
    def num_known_tokens(self) -> int:
        """Without the guesses."""
        return self.num_tokens - len(self.draft_ids)

    @property
    def token_ids(self) -> list[int]:
        return self.sequence.token_ids[self.start : self.start + self.num_known_tokens] + self.draft_ids


class Masks(Protocol):
    """Which tokens may be drawn in a step; being filled while the forward pass computes."""

    def of(self, sequence: Sequence) -> list[Mask] | None:
        """One for the row behind its tokens, and one for that behind each guess which may be right; none at all where
        its grammar can't be followed any further. None for a sequence without one. Waits until they are filled."""
        ...


@dataclass(slots=True)
class StepPlan:
    """One batch. Before it `page_clears` are set to zero, then `page_copies` (source, destination) are carried out."""

    chunks: list[Chunk]
    page_copies: list[tuple[int, int]] = field(default_factory=list)
    page_clears: list[int] = field(default_factory=list)
    masks: Masks | None = None
    """None where no sequence that draws has a grammar."""

    @property
    def num_tokens(self) -> int:
        return sum(chunk.num_tokens for chunk in self.chunks)


class SampledToken(NamedTuple):
    """The next token of one sequence. `logprob` is None unless the request asked for log-probabilities."""

    sequence: Sequence
    token_id: int | None
    """None: its logits are not finite, or its grammar has failed, so there is nothing to draw from."""
    logprob: TokenLogprob | None


@dataclass(slots=True)
class StepResult:
    """sampled: one entry per entry of every chunk's sample_for, those of a sequence in order; a chunk with draft_ids
    has one more for each that was right, and none at all if a row of it is not finite: the guesses may have spoilt it.
    prompt_logprobs: per chunk that wants them (by its place in plan.chunks), one entry per prompt token predicted by
    its rows; a row whose next token is not part of the prompt adds none."""

    sampled: list[SampledToken]
    prompt_logprobs: dict[int, list[TokenLogprob]] = field(default_factory=dict)

    @property
    def by_sequence(self) -> dict[Sequence, list[SampledToken]]:
        entries: dict[Sequence, list[SampledToken]] = {}
        for sampled in self.sampled:
            entries.setdefault(sampled.sequence, []).append(sampled)
        return entries


class Runner(PageStore, Protocol):
    """The tensor side of the engine. Forward and sample are separate, so that masks can be built in between."""

    def forward(self, plan: StepPlan) -> Any:
        """Write keys and values of every chunk, return what `sample` needs (opaque: hidden states or logits)."""
        ...

    def sample(self, plan: StepPlan, hidden: Any) -> StepResult: ...

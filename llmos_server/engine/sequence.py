"""One choice of one request as the scheduler sees it: token ids, pages and progress. No tensors."""

from __future__ import annotations

import enum
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from llmos_server.contracts import FinishReason, GenerateRequest, TokenLogprob

Mask = NDArray[np.bool_]
"""[vocab]: which tokens may come next."""


class Constraint(Protocol):
    """What a sequence's output has to be; knows the tokens so far."""

    @property
    def is_complete(self) -> bool:
        """Nothing but an end can follow."""
        ...

    @property
    def error(self) -> str:
        """Why it can't be followed any further; "" while it can."""
        ...

    def fork(self) -> Constraint:
        """Another one at the start."""
        ...

    def accept(self, token_id: int) -> None:
        """The next token of the output."""
        ...

    def masks(self, draft_ids: list[int], stop_token_ids: Collection[int]) -> list[Mask]:
        """Behind the tokens so far, and behind each guess that may follow and leaves something to draw. Empty where it
        can't be followed any further. A stop token is allowed where the output may end."""
        ...


class Status(enum.Enum):
    WAITING = "waiting"
    RUNNING = "running"
    FINISHED = "finished"


@dataclass(slots=True, eq=False)
class Sequence:
    """`token_ids` is prompt plus output; the first `num_computed_tokens` of them have keys and values in `pages`."""

    request: GenerateRequest
    index: int
    arrival: float
    """time.monotonic() in the worker."""
    token_ids: list[int] = field(default_factory=list)
    pages: list[int] = field(default_factory=list)
    num_computed_tokens: int = 0
    num_cached_tokens: int = 0
    """Prompt tokens taken from the prefix cache at the first admission (what usage reports)."""
    status: Status = Status.WAITING
    finish_reason: FinishReason | None = None
    cumulative_logprob: float = 0.0
    prompt_logprobs: list[TokenLogprob | None] = field(default_factory=list)
    first_scheduled: float | None = None
    num_preemptions: int = 0
    rank: tuple[float, int, int] = (0.0, 0, 0)
    """The scheduler's order, lower first: (arrival shifted by priority, number of the request, index)."""
    last_turn: int = 0
    """Number of its last turn in the budget; makes decodes take turns when that is short."""
    page_digests: list[bytes] = field(default_factory=list)
    """Chained digests of its first full pages, as far as they were needed. Tokens never change, so they stay valid."""
    num_registered_pages: int = 0
    """Leading `pages` that are shared through the prefix cache."""
    followers: list[Sequence] = field(default_factory=list)
    """Other choices of the request that fork from this one as soon as the prompt has been computed."""

    constraint: Constraint | None = None
    """This choice's own, in step with its output."""

    def __post_init__(self) -> None:
        if not self.token_ids:
            self.token_ids = list(self.request.prompt_ids)

    @property
    def num_prompt_tokens(self) -> int:
        return len(self.request.prompt_ids)

    @property
    def num_output_tokens(self) -> int:
        return len(self.token_ids) - len(self.request.prompt_ids)

    @property
    def output_ids(self) -> list[int]:
        return self.token_ids[len(self.request.prompt_ids) :]

    @property
    def num_uncomputed_tokens(self) -> int:
        return len(self.token_ids) - self.num_computed_tokens

    @property
    def max_output_tokens(self) -> int:
        return len(self.continuation) or self.request.sampling.max_tokens

    @property
    def continuation(self) -> list[int]:
        """All of its output, where that is given; empty where it is drawn."""
        return self.request.continuations[self.index] if self.request.continuations else []

    @property
    def uses_cache(self) -> bool:
        """Log-probabilities of the prompt need its rows, so such a request is computed from the start at first."""
        return self.num_output_tokens > 0 or self.request.sampling.prompt_logprobs is None

    def hand_over(self, heir: Sequence) -> None:
        """What this one, the leader, has computed, to the next choice of its request."""
        heir.followers = self.followers[1:]
        heir.status = self.status
        heir.pages, self.pages = self.pages, []
        heir.num_computed_tokens, self.num_computed_tokens = self.num_computed_tokens, 0
        heir.num_registered_pages, self.num_registered_pages = self.num_registered_pages, 0
        heir.page_digests = self.page_digests


@dataclass(frozen=True, slots=True)
class Ahead:
    """A sequence as it will be if these guesses are right: what a draw behind them looks at."""

    sequence: Sequence
    draft_ids: list[int]

    @property
    def request(self) -> GenerateRequest:
        return self.sequence.request

    @property
    def index(self) -> int:
        return self.sequence.index

    @property
    def token_ids(self) -> list[int]:
        return self.sequence.token_ids + self.draft_ids

    @property
    def num_output_tokens(self) -> int:
        return self.sequence.num_output_tokens + len(self.draft_ids)

    @property
    def output_ids(self) -> list[int]:
        return self.sequence.output_ids + self.draft_ids

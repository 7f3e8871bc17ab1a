"""Guesses by a smaller model of the same vocabulary, with pages of its own under the target's page numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Sequence as Pairs
from typing import NamedTuple

from llmos_server.engine.cost_model import CostModel
from llmos_server.engine.model_runner import ModelRunner
from llmos_server.engine.sequence import Ahead, Sequence
from llmos_server.engine.step import Chunk, StepPlan

CATCH_UP_TOKENS = 256
"""Most tokens that a step computes of what the draft model hasn't seen, so that a long prompt stalls nobody."""


class _Guess(NamedTuple):
    """What was guessed behind a sequence's first `start` tokens."""

    start: int
    token_ids: list[int]
    num_preemptions: int
    """The sequence's, then: its pages are others after the next."""


class DraftModel:
    """A speculation.Proposer. Draws as the target does, with the same noise: so like probabilities give like tokens.

    Its pages mirror the target's: cleared, copied and shared with them. What a page holds for the target need not be
    there for the draft model, which computes nothing until it is asked; so it counts how much of each page it has.
    """

    is_free = False

    def __init__(
        self,
        runner: ModelRunner,
        *,
        num_pages: int,
        page_size: int,
        max_len: int,
        vocab_sizes: tuple[int, int],
        clock: Callable[[], float],
    ) -> None:
        """max_len: longest sequence that it computes, in tokens. vocab_sizes: its own, and the target's."""
        self.seconds = 0.0
        self._runner = runner
        self._page_size = page_size
        self._max_len = max_len
        self._vocab_size, self._target_vocab_size = vocab_sizes
        self._clock = clock
        self._costs = CostModel()
        self._num_valid = [0] * num_pages
        self._guesses: dict[Sequence, _Guess] = {}

    def seconds_per_guess(self, num_sequences: int) -> float:
        return self._costs.decode_seconds(num_sequences) / num_sequences

    def propose(self, plan: StepPlan, wanted: Mapping[Sequence, int]) -> dict[Sequence, list[int]]:
        started = self._clock()
        for page in plan.page_clears:
            self._num_valid[page] = 0
        for source, destination in plan.page_copies:
            self._num_valid[destination] = self._num_valid[source]
        limits = {seq: min(num, self._max_len - len(seq.token_ids)) for seq, num in wanted.items()}
        chunks = list(self._catch_up([seq for seq, limit in limits.items() if limit > 0]))
        guesses: dict[Sequence, list[int]] = {chunk.sequence: [] for chunk in chunks if chunk.sample_for}
        self._forward(StepPlan(chunks, plan.page_copies, plan.page_clears), guesses)
        for chunk in chunks:
            self._mark(chunk.sequence, chunk.start, chunk.start + chunk.num_tokens)
        for num_tokens in range(1, max(limits.values(), default=0)):
            going_on = [seq for seq, guess in guesses.items() if len(guess) == num_tokens < limits[seq]]
            if not going_on:
                break
            chunks = [
                Chunk(seq, len(seq.token_ids) + num_tokens - 1, 1, [seq], draft_ids=guesses[seq][-1:])
                for seq in going_on
            ]
            self._forward(StepPlan(chunks), guesses)
        for seq, guess in guesses.items():
            self._guesses[seq] = _Guess(len(seq.token_ids), guess, seq.num_preemptions)
        self.seconds = self._clock() - started
        return guesses

    def move_pages(self, moves: Pairs[tuple[int, int]]) -> None:
        """See engine.pool.PageStore."""
        self._runner.move_pages(moves)
        for source, destination in moves:
            self._num_valid[destination] = self._num_valid[source]

    def release_pages(self, page_ids: Iterable[int]) -> None:
        """See engine.pool.PageStore. What is handed out again is cleared first, and tells so."""
        self._runner.release_pages(page_ids)

    def forget(self, sequence: Sequence) -> None:
        self._guesses.pop(sequence, None)

    def _catch_up(self, sequences: list[Sequence]) -> Iterator[Chunk]:
        """The tokens that it lacks of these sequences, CATCH_UP_TOKENS in all: who gets all of them draws a guess."""
        left = CATCH_UP_TOKENS
        for sequence in sequences:
            self._keep_right_guesses(sequence)
            start = min(self._count_valid(sequence), len(sequence.token_ids) - 1)
            num_tokens = min(len(sequence.token_ids) - start, left)
            # A vocabulary may be padded to different sizes; what the draft model has no row for, it can't guess behind.
            named = [*sequence.token_ids[start : start + num_tokens], *sequence.request.sampling.logit_bias]
            if num_tokens and max(named) < self._vocab_size:
                left -= num_tokens
                is_whole = start + num_tokens == len(sequence.token_ids)
                yield Chunk(sequence, start, num_tokens, [sequence] if is_whole else [])

    def _keep_right_guesses(self, sequence: Sequence) -> None:
        """Guesses were computed, but for the last one: those that were right are part of the sequence now."""
        guess = self._guesses.pop(sequence, None)
        if guess is None or guess.num_preemptions != sequence.num_preemptions:
            return
        end = guess.start
        for guessed, token_id in zip(guess.token_ids[:-1], sequence.token_ids[guess.start :], strict=False):
            if guessed != token_id:
                break
            end += 1
        self._mark(sequence, guess.start, end)

    def _mark(self, sequence: Sequence, start: int, end: int) -> None:
        """Positions start .. end - 1 have been computed; those of a page count as far as there is no gap."""
        while start < end:
            page, offset = sequence.pages[start // self._page_size], start % self._page_size
            num_tokens = min(self._page_size - offset, end - start)
            if self._num_valid[page] >= offset:
                self._num_valid[page] = max(self._num_valid[page], offset + num_tokens)
            start += num_tokens

    def _count_valid(self, sequence: Sequence) -> int:
        num_tokens = 0
        for page in sequence.pages:
            num_tokens += self._num_valid[page]
            if self._num_valid[page] < self._page_size:
                break
        return num_tokens

    def _forward(self, plan: StepPlan, guesses: dict[Sequence, list[int]]) -> None:
        """Compute the chunks, and add a guess to each sequence that draws one."""
        started = self._clock()
        hidden = self._runner.forward(plan)
        drawing = [Ahead(chunk.sequence, guesses[chunk.sequence]) for chunk in plan.chunks if chunk.sample_for]
        for ahead, token_id in zip(drawing, self._runner.draw_last(plan, hidden, drawing), strict=True):
            if token_id is not None and token_id < self._target_vocab_size:
                guesses[ahead.sequence].append(token_id)
        if plan.chunks:
            self._costs.observe(plan, self._clock() - started)

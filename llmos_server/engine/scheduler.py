"""Which sequences run in the next step: continuous batching, chunked prefill, preemption by recompute, fair queues."""

from __future__ import annotations

from bisect import insort
from itertools import chain

from llmos_server.contracts import ChoiceDelta, EngineStats, GenerateRequest, TokenLogprob
from llmos_server.engine.block_manager import BlockManager
from llmos_server.engine.outputs import append_token, broken_requests, finish_without_tokens
from llmos_server.engine.sequence import Sequence, Status
from llmos_server.engine.step import Chunk, StepPlan, StepResult

AGING_SECONDS = 30.0
"""What one level of priority is worth in waiting time."""


class Scheduler:
    """Requests wait in the order of their rank, `arrival + priority * AGING_SECONDS`, and are admitted strictly in it.

    So equal priorities are first come, first served, and priorities age: every AGING_SECONDS of waiting lift a request
    by one level against those that arrive later. A request of priority p is overtaken only by requests of priority
    p - k that arrive less than k * AGING_SECONDS after it; nobody waits for ever. The same rank picks the victim when
    pages run out, so the best ranked sequence always advances, and a preempted one returns to its old place.

    A request with n > 1 is one sequence, the leader, until its prompt has been computed; the others follow, then fork.
    """

    def __init__(self, blocks: BlockManager, *, max_num_seqs: int, max_num_batched_tokens: int) -> None:
        self.blocks = blocks
        self.max_num_seqs = max_num_seqs
        self.max_num_batched_tokens = max_num_batched_tokens
        self.running: list[Sequence] = []
        self.waiting: list[Sequence] = []
        """Sorted by rank."""
        self._requests: dict[str, list[Sequence]] = {}
        self._broken: list[str] = []
        self._num_added = 0
        self._num_preemptions = 0
        self._num_steps = 0
        self._num_turns = 0
        self._prefix_queries = 0
        self._prefix_hits = 0

    @property
    def has_work(self) -> bool:
        return bool(self.running or self.waiting)

    def __contains__(self, request_id: str) -> bool:
        return request_id in self._requests

    def add(self, request: GenerateRequest, now: float) -> None:
        """Queue a request that is known to fit. now: seconds on the engine's clock."""
        self._num_added += 1
        key = now + request.priority * AGING_SECONDS
        sequences = [
            Sequence(request=request, index=index, arrival=now, rank=(key, self._num_added, index))
            for index in range(request.n)
        ]
        leader, *leader.followers = sequences
        self._requests[request.request_id] = sequences
        insort(self.waiting, leader, key=_rank)

    def abort(self, request_id: str, index: int | None = None) -> None:
        """Forget one choice or all of them; their pages are free at once. Unknown ids have finished: no error."""
        for sequence in reversed(self._requests.get(request_id, []).copy()):
            if index is None or sequence.index == index:
                self._withdraw(sequence)
                self._forget(sequence)

    def schedule(self, now: float) -> StepPlan:
        """Plan one step within the token budget: running sequences' tokens, prefill chunks, then new arrivals."""
        self._num_steps += 1
        plan = StepPlan([])
        selected = self._select_running()
        num_preemptions = self._num_preemptions
        # Best rank first: a victim is never one that this step has planned already.
        for sequence in sorted(selected, key=_rank):
            num_tokens = selected[sequence]
            if sequence.status is Status.RUNNING and self._make_room(sequence, num_tokens):
                plan.chunks.append(self._chunk(sequence, num_tokens))
        if self._num_preemptions == num_preemptions:
            self._admit(plan, self.max_num_batched_tokens - sum(selected.values()), now)
        plan.page_clears = self.blocks.page_clears
        plan.page_copies = self.blocks.page_copies
        return plan

    def postprocess(self, plan: StepPlan, result: StepResult, now: float) -> list[ChoiceDelta]:
        """Book what the step has computed and sampled; one delta for each choice that got on."""
        self.blocks.finish_step()
        for number, chunk in enumerate(plan.chunks):
            self._book(chunk, result.prompt_logprobs.get(number, []))
        for request_id in broken_requests(plan, result):
            self._broken.append(request_id)
            self.abort(request_id)
        deltas = [
            append_token(sequence, token_id, logprob, now)
            for sequence, token_id, logprob in result.sampled
            if token_id is not None and sequence.status is not Status.FINISHED
        ]
        for sequence in [chunk.sequence for chunk in plan.chunks if chunk.sequence.status is not Status.FINISHED]:
            if sequence.num_uncomputed_tokens == 0 and sequence.request.sampling.max_tokens == 0:
                deltas += [finish_without_tokens(choice, now) for choice in [sequence, *sequence.followers]]
            if sequence.num_output_tokens or sequence.finish_reason:
                self._fork(sequence)
            if sequence.finish_reason:
                self._withdraw(sequence)
                self._forget(sequence)
        return deltas

    def take_broken(self) -> list[str]:
        """Ids of the requests that ended since the last call because their logits were not finite."""
        broken, self._broken = self._broken, []
        return broken

    def stats(self) -> EngineStats:
        return EngineStats(
            num_running=len(self.running),
            num_waiting=len(self.waiting),
            num_free_pages=self.blocks.num_free_pages,
            num_pages=self.blocks.num_pages,
            num_preemptions=self._num_preemptions,
            prefix_queries=self._prefix_queries,
            prefix_hits=self._prefix_hits,
            num_steps=self._num_steps,
        )

    def check_integrity(self) -> None:
        """Raise AssertionError that names the first broken invariant."""
        self.blocks.check_integrity(chain.from_iterable(self._requests.values()))

    def _select_running(self) -> dict[Sequence, int]:
        """Tokens for each running sequence: decodes first, those that have waited longest in front, then prefills."""

        def turn(sequence: Sequence) -> tuple[bool, int, tuple[float, int, int]]:
            is_prefill = sequence.num_uncomputed_tokens > 1
            return is_prefill, 0 if is_prefill else sequence.last_turn, sequence.rank

        budget = self.max_num_batched_tokens
        selected: dict[Sequence, int] = {}
        for sequence in sorted(self.running, key=turn):
            num_tokens = min(sequence.num_uncomputed_tokens, budget)
            if num_tokens == 0:
                break
            selected[sequence] = num_tokens
            budget -= num_tokens
            self._num_turns += 1
            sequence.last_turn = self._num_turns
        return selected

    def _make_room(self, sequence: Sequence, num_tokens: int) -> bool:
        """Get the pages for its next tokens, from the worst ranked if need be; False when that is itself."""
        while not self.blocks.grow(sequence, sequence.num_computed_tokens + num_tokens):
            victim = max(self.running, key=_rank)
            self._preempt(victim)
            if victim is sequence:
                return False
        return True

    def _preempt(self, sequence: Sequence) -> None:
        """Back to its old place in the queue. Its pages stay cached, so computing them again is mostly look-up."""
        self.running.remove(sequence)
        self.blocks.free(sequence)
        if sequence.num_output_tokens == 0:
            sequence.prompt_logprobs.clear()
        sequence.num_preemptions += 1
        self._num_preemptions += 1
        self._wait(sequence)

    def _wait(self, sequence: Sequence) -> None:
        sequence.status = Status.WAITING
        insort(self.waiting, sequence, key=_rank)

    def _admit(self, plan: StepPlan, budget: int, now: float) -> None:
        """Start waiting sequences in order; the first one that finds too few pages holds back all behind it.

        Pages for all its tokens are taken at once: a prefill never waits for pages halfway.
        """
        while self.waiting and budget > 0 and len(self.running) < self.max_num_seqs:
            sequence = self.waiting[0]
            if not self._allocate(sequence, now):
                break
            self.waiting.pop(0)
            sequence.status = Status.RUNNING
            self.running.append(sequence)
            num_tokens = min(sequence.num_uncomputed_tokens, budget)
            plan.chunks.append(self._chunk(sequence, num_tokens))
            budget -= num_tokens

    def _allocate(self, sequence: Sequence, now: float) -> bool:
        use_cache = sequence.num_output_tokens > 0 or sequence.request.sampling.prompt_logprobs is None
        if not self.blocks.allocate(sequence, use_cache=use_cache):
            return False
        if sequence.first_scheduled is None:
            for choice in [sequence, *sequence.followers]:
                choice.first_scheduled = now
                choice.num_cached_tokens = sequence.num_computed_tokens
            if use_cache:
                self._prefix_queries += sequence.num_prompt_tokens
                self._prefix_hits += sequence.num_cached_tokens
        return True

    def _chunk(self, sequence: Sequence, num_tokens: int) -> Chunk:
        params = sequence.request.sampling
        is_last = num_tokens == sequence.num_uncomputed_tokens
        return Chunk(
            sequence=sequence,
            start=sequence.num_computed_tokens,
            num_tokens=num_tokens,
            sample_for=[sequence, *sequence.followers] if is_last and params.max_tokens > 0 else [],
            # Only choice 0 reports them, and recomputing the prompt after the first token reports nothing again.
            wants_prompt_logprobs=(
                params.prompt_logprobs is not None and sequence.index == 0 and sequence.num_output_tokens == 0
            ),
        )

    def _book(self, chunk: Chunk, prompt_logprobs: list[TokenLogprob]) -> None:
        sequence = chunk.sequence
        sequence.num_computed_tokens += chunk.num_tokens
        self.blocks.register(sequence)
        if chunk.wants_prompt_logprobs:
            sequence.prompt_logprobs += [None, *prompt_logprobs] if chunk.start == 0 else prompt_logprobs

    def _fork(self, leader: Sequence) -> None:
        """The prompt has been computed: its followers become sequences of their own, running where there is room."""
        for child in leader.followers:
            if child.finish_reason:
                self._forget(child)
            elif len(self.running) < self.max_num_seqs and self.blocks.fork(leader, child):
                child.status = Status.RUNNING
                child.last_turn = leader.last_turn
                self.running.append(child)
            else:
                self._wait(child)
        leader.followers = []

    def _withdraw(self, sequence: Sequence) -> None:
        """Take it out of wherever it is. A leader hands what it has computed to the next choice of its request."""
        if sequence.followers:
            self._hand_over(sequence, sequence.followers[0])
        elif sequence.status is Status.RUNNING:
            self.running.remove(sequence)
            self.blocks.free(sequence)
        elif sequence in self.waiting:
            self.waiting.remove(sequence)
        else:
            leader = next(choice for choice in self._choices(sequence) if sequence in choice.followers)
            leader.followers.remove(sequence)

    def _hand_over(self, leader: Sequence, heir: Sequence) -> None:
        heir.followers = leader.followers[1:]
        heir.status = leader.status
        heir.pages, leader.pages = leader.pages, []
        heir.num_computed_tokens, leader.num_computed_tokens = leader.num_computed_tokens, 0
        heir.num_registered_pages, leader.num_registered_pages = leader.num_registered_pages, 0
        heir.page_digests = leader.page_digests
        # Its rank differs in the index only, so that the queue stays sorted.
        queue = self.running if leader.status is Status.RUNNING else self.waiting
        queue[queue.index(leader)] = heir

    def _forget(self, sequence: Sequence) -> None:
        sequence.status = Status.FINISHED
        choices = self._choices(sequence)
        choices.remove(sequence)
        if not choices:
            del self._requests[sequence.request.request_id]

    def _choices(self, sequence: Sequence) -> list[Sequence]:
        return self._requests[sequence.request.request_id]


def _rank(sequence: Sequence) -> tuple[float, int, int]:
    return sequence.rank

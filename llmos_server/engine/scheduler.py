"""Which sequences run in the next step: continuous batching, chunked prefill, preemption by recompute, fair turns."""

from __future__ import annotations

from collections import Counter
from itertools import chain

from llmos_server.contracts import ChoiceDelta, EngineStats, GenerateRequest, TokenLogprob
from llmos_server.engine.block_manager import BlockManager
from llmos_server.engine.continuations import lengthen
from llmos_server.engine.cost_model import CostModel, StepBudget
from llmos_server.engine.long_prompts import LongPrompts
from llmos_server.engine.outputs import append_tokens, broken_requests, finish_without_tokens
from llmos_server.engine.owners import Owners
from llmos_server.engine.seats import Place, Seats, places_of
from llmos_server.engine.sequence import Constraint, Sequence, Status
from llmos_server.engine.speculation import Proposer, Speculation
from llmos_server.engine.step import Chunk, SampledToken, StepPlan, StepResult
from llmos_server.engine.turns import Turns, can_begin, grant
from llmos_server.key_contracts import is_background

AGING_SECONDS = 30.0
"""What one level of priority is worth in waiting time."""
NOBODY_STALLS = 3
"""So many times longer may a step be while no answer is being written: only who comes just then waits for its end."""


class Scheduler:
    """Owners share the engine evenly, however many requests each has; within an owner, requests follow their rank.

    **Rank** is `arrival + priority * AGING_SECONDS`. So equal priorities are first come, first served, and priorities
    age: every AGING_SECONDS of waiting lift a request by one level against those that arrive later. Priorities order an
    owner's own requests only: nobody gets ahead of another owner by a number.

    **Places** (sequences in a step) go to the owner that has fewest. An owner that has fewer than another is given its
    next one before the step is shared out, from the worst ranked sequence of the owner with most if none is free, as
    long as that one keeps at least as many. **Pages**: when they run out, the victim is the last in the order (place
    within its owner, rank). The best ranked sequence is never the last, so it always advances, and as ranks don't
    change, all requests end. A preempted sequence returns to its old place in the queue.

    **What is asked in the background** (key_contracts.BACKGROUND) comes last in each of these: it gets places that
    nobody else wants, loses them first, and runs in that part of a step in which all take turns, while anything else
    runs.

    **The step** itself, in tokens and in seconds, goes to the least served owner first, as much as it can use, except
    for a part that decodes and the best ranked prompt take turns in: so everything that runs goes on.

    A request with n > 1 is one sequence, the leader, until its prompt has been computed; the others follow, then fork.
    """

    def __init__(
        self,
        blocks: BlockManager,
        *,
        max_num_seqs: int,
        max_num_batched_tokens: int,
        max_step_seconds: float = 0.0,
        max_stall: float = 0.0,
        proposer: Proposer | None = None,
        max_draft_tokens: int = 0,
    ) -> None:
        """max_step_seconds: what a step should take while answers are being written, judged by the steps before it; 0
        for no such bound. max_stall: how many times longer a long prompt may make it; 0 for no such bound. proposer:
        guesses what follows, at most max_draft_tokens; None for no speculation."""
        self.blocks = blocks
        self.max_num_seqs = max_num_seqs
        self.max_num_batched_tokens = max_num_batched_tokens
        self.max_step_seconds = max_step_seconds
        self.running: list[Sequence] = []
        self.costs = CostModel()
        self._long_prompts = LongPrompts(max_stall, max_num_batched_tokens)
        self._speculation = Speculation(proposer, blocks, self.costs, max_draft_tokens) if proposer else None
        self._owners = Owners()
        self._turns = Turns(self._owners)
        self._seats = Seats(blocks, max_num_seqs)
        self._requests: dict[str, list[Sequence]] = {}
        self._broken: list[str] = []
        self._begun: list[str] = []
        self._step_started = 0.0
        self._num_added = 0
        self._num_preemptions = 0
        self._num_steps = 0
        self._prefix_queries = self._prefix_hits = 0

    @property
    def has_work(self) -> bool:
        return bool(self._requests)

    def __contains__(self, request_id: str) -> bool:
        return request_id in self._requests

    def add(self, request: GenerateRequest, now: float, constraint: Constraint | None = None) -> None:
        """Queue a request that is known to fit. now: when it came, in seconds on the engine's clock. constraint: at its
        start; each choice gets its own."""
        self._num_added += 1
        key = now + request.priority * AGING_SECONDS
        sequences = [
            Sequence(
                request, index, now, rank=(key, self._num_added, index), constraint=constraint and constraint.fork()
            )
            for index in range(request.n)
        ]
        leader, *leader.followers = sequences
        self._requests[request.request_id] = sequences
        self._owners.enter(request.owner)
        self._owners.wait(leader)

    def abort(self, request_id: str, index: int | None = None) -> None:
        """Forget one choice or all of them; their pages are free at once. Unknown ids have finished: no error."""
        for sequence in reversed(self._requests.get(request_id, []).copy()):
            if index is None or sequence.index == index:
                self._withdraw(sequence)
                self._forget(sequence)

    def schedule(self, now: float) -> StepPlan:
        """Plan one step: places for owners that are behind, then running sequences' tokens, then new arrivals."""
        self._num_steps += 1
        self._step_started = now
        plan = StepPlan([])
        self._seat_those_behind(now)
        is_streaming = any(sequence.num_output_tokens for sequence in self.running)
        max_seconds = self.max_step_seconds * (1 if is_streaming else NOBODY_STALLS)
        budget = self.costs.budget(self.max_num_batched_tokens, max_seconds)
        self._long_prompts.bound(budget, self.running)
        selected = self._turns.share_out(self.running, budget, self.max_step_seconds)
        places = places_of(self.running)
        num_preemptions = self._num_preemptions
        # Best place first: a victim is never one that this step has planned already.
        for sequence in sorted(selected, key=places.__getitem__):
            num_tokens = selected[sequence]
            if sequence.status is Status.RUNNING and self._make_room(sequence, num_tokens, places):
                plan.chunks.append(self._chunk(sequence, num_tokens))
        if self._num_preemptions == num_preemptions:
            self._admit(plan, budget, now)
        lengthen(plan, budget, self.blocks)
        room = self._speculation.reserve(plan, budget) if self._speculation else {}
        plan.page_clears = self.blocks.page_clears
        plan.page_copies = self.blocks.page_copies
        if self._speculation and plan.chunks:
            self._speculation.extend(plan, room)
        return plan

    def postprocess(self, plan: StepPlan, result: StepResult, now: float) -> list[ChoiceDelta]:
        """Book what the step has computed and sampled; one delta for each choice that got on."""
        self.blocks.finish_step()
        guessing = self._speculation.seconds if self._speculation else 0.0
        seconds = now - self._step_started - guessing
        self.costs.observe(plan, seconds)
        self._long_prompts.observe(plan, seconds)
        drawn = result.by_sequence
        for number, chunk in enumerate(plan.chunks):
            if chunk.draft_ids and chunk.sequence not in drawn:
                self._redo(chunk.sequence)
            else:
                self._book(chunk, result.prompt_logprobs.get(number, []))
        for request_id in broken_requests(plan, result):
            self._broken.append(request_id)
            self.abort(request_id)
        deltas = [
            append_tokens(sequence, entries, now)
            for sequence, entries in drawn.items()
            if sequence.status is not Status.FINISHED
        ]
        for chunk in plan.chunks:
            self._settle(chunk, drawn.get(chunk.sequence, []))
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

    def take_begun(self) -> list[str]:
        """Ids of the requests that got their first step since the last call."""
        begun, self._begun = self._begun, []
        return begun

    def stats(self) -> EngineStats:
        return EngineStats(
            num_running=len(self.running),
            num_waiting=self._owners.num_waiting,
            num_free_pages=self.blocks.num_free_pages,
            num_pages=self.blocks.num_pages,
            num_preemptions=self._num_preemptions,
            prefix_queries=self._prefix_queries,
            prefix_hits=self._prefix_hits,
            num_steps=self._num_steps,
            num_drafts=self._speculation.num_drafts if self._speculation else 0,
            num_draft_tokens=self._speculation.num_draft_tokens if self._speculation else 0,
            num_accepted_tokens=self._speculation.num_accepted_tokens if self._speculation else 0,
        )

    def check_integrity(self) -> None:
        """Raise AssertionError that names the first broken invariant."""
        sequences = list(chain.from_iterable(self._requests.values()))
        followers = [follower for sequence in sequences for follower in sequence.followers]
        placed = Counter(map(id, chain(self.running, self._owners, followers)))
        if placed != Counter(map(id, sequences)):
            raise AssertionError("queues: an unfinished sequence is in no place, or in two")
        self.blocks.check_integrity(sequences)

    def _count_running(self) -> Counter[str]:
        return Counter(sequence.request.owner for sequence in self.running)

    def _seat_those_behind(self, now: float) -> None:
        """One place for each owner that has fewer than another, or none although the background has some, before the
        others' sequences take the whole step.

        The first one that gets none holds back all behind it: what becomes free is for it.
        """
        num_running = self._count_running()
        in_background = any(map(is_background, num_running))
        for head in self._owners.heads(num_running):
            owner = head.request.owner
            has_fewer = num_running[owner] < max(num_running.values(), default=0)
            may_take = has_fewer or (in_background and self._seats.are_full_for(head, self.running))
            if is_background(owner) or not may_take:
                return
            victims = self._seats.victims_for(head, self.running, num_running)
            if victims is None:
                return
            for victim in victims:
                num_running[victim.request.owner] -= 1
                self._preempt(victim)
            if not self._start(head, now):
                return
            num_running[owner] += 1

    def _make_room(self, sequence: Sequence, num_tokens: int, places: dict[Sequence, Place]) -> bool:
        """Get the pages for its next tokens, from the last in order if need be; False when that is itself."""
        while not self.blocks.grow(sequence, sequence.num_computed_tokens + num_tokens):
            victim = max(self.running, key=places.__getitem__)
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
        self._owners.wait(sequence)

    def _admit(self, plan: StepPlan, budget: StepBudget, now: float) -> None:
        """Start waiting sequences in order; the first one that finds too few pages holds back all behind it.

        Pages for all its tokens are taken at once: a prefill never waits for pages halfway.
        """
        while len(self.running) < self.max_num_seqs:
            sequence = next(iter(self._owners.heads(self._count_running())), None)
            if sequence is None or not can_begin(sequence, budget) or not self._start(sequence, now):
                break
            plan.chunks.append(self._chunk(sequence, grant(sequence, budget)))

    def _start(self, sequence: Sequence, now: float) -> bool:
        """From the queue to the running ones; False when there are too few pages."""
        use_cache = sequence.uses_cache
        if not self.blocks.allocate(sequence, use_cache=use_cache):
            return False
        self._owners.remove(sequence)
        sequence.status = Status.RUNNING
        self.running.append(sequence)
        if sequence.first_scheduled is None:
            self._begun.append(sequence.request.request_id)
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
        num_tokens = chunk.num_known_tokens
        is_decode = num_tokens == 1 and sequence.num_output_tokens > 0
        self._owners.charge(sequence.request.owner, num_tokens, is_decode=is_decode)
        sequence.num_computed_tokens += num_tokens
        self.blocks.register(sequence)
        if chunk.wants_prompt_logprobs:
            sequence.prompt_logprobs += [None, *prompt_logprobs] if chunk.start == 0 else prompt_logprobs

    def _settle(self, chunk: Chunk, drawn: list[SampledToken]) -> None:
        """Keep what guesses have computed if they were right, and give back the pages behind."""
        sequence = chunk.sequence
        if sequence.status is not Status.RUNNING:
            return
        num_appended = len(sequence.token_ids) - chunk.start - chunk.num_known_tokens
        num_accepted = min(len(drawn) - 1, num_appended) if chunk.draft_ids else 0
        if self._speculation and not sequence.continuation:
            self._speculation.settle(chunk, [entry.token_id for entry in drawn], num_accepted)
        if chunk.draft_ids:
            self._owners.charge(sequence.request.owner, num_accepted, is_decode=True)
            self._owners.charge(sequence.request.owner, len(chunk.draft_ids) - num_accepted, is_decode=False)
            sequence.num_computed_tokens += num_accepted
            self.blocks.register(sequence)
        self.blocks.shrink(sequence, len(sequence.token_ids))

    def _redo(self, sequence: Sequence) -> None:
        """Its rows are not finite, which may be the fault of a guess: compute the step again, on clean pages."""
        if self._speculation:
            self._speculation.bar(sequence)
        self._preempt(sequence)

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
        elif sequence in self._owners:
            self._owners.remove(sequence)
        else:
            leader = next(choice for choice in self._choices(sequence) if sequence in choice.followers)
            leader.followers.remove(sequence)

    def _hand_over(self, leader: Sequence, heir: Sequence) -> None:
        leader.hand_over(heir)
        if leader.status is Status.RUNNING:
            self.running[self.running.index(leader)] = heir
        else:
            self._owners.replace(leader, heir)

    def _forget(self, sequence: Sequence) -> None:
        sequence.status = Status.FINISHED
        choices = self._choices(sequence)
        choices.remove(sequence)
        if self._speculation:
            self._speculation.forget(sequence)
        if not choices:
            del self._requests[sequence.request.request_id]
            self._owners.leave(sequence.request.owner)

    def _choices(self, sequence: Sequence) -> list[Sequence]:
        return self._requests[sequence.request.request_id]

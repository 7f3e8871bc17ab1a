"""Any interleaving of arrivals, aborts, preemptions and finishes: right output, true bookkeeping, nobody starves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from engine_fakes import Engine, ScriptedProposer, expected_choice, expected_prompt_logprobs, make_request
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from llmos_server.api.metrics.reading import count_pages
from llmos_server.contracts import GenerateRequest, ScoreRequest
from llmos_server.engine.ngram import NgramProposer
from llmos_server.engine.speculation import Proposer
from llmos_server.key_contracts import BACKGROUND

TOKENS = st.integers(0, 2)
ADAPTERS = st.sampled_from(["", "", "40-a", "40-b", "60-a", "10-a", "10-b"])
"""Each takes as many bytes as its name says, of 100 that there are; see ScriptedRunner.load_adapter."""


class EngineMachine(RuleBasedStateMachine):
    engine: Engine

    @initialize(
        num_pages=st.integers(3, 12),
        max_pages=st.integers(3, 12),
        page_size=st.integers(1, 4),
        max_num_seqs=st.integers(1, 5),
        budget=st.integers(1, 12),
        caching=st.booleans(),
        step_seconds=st.sampled_from([0.0, 0.15, 0.3]),
        max_stall=st.sampled_from([0.0, 1.5]),
        create_proposer=st.sampled_from([lambda: None, ScriptedProposer, NgramProposer]),
    )
    def load(
        self,
        num_pages: int,
        max_pages: int,
        page_size: int,
        max_num_seqs: int,
        budget: int,
        caching: bool,
        step_seconds: float,
        max_stall: float,
        create_proposer: Callable[[], Proposer | None],
    ) -> None:
        self.engine = Engine(
            num_pages,
            page_size,
            max_num_seqs,
            budget,
            caching,
            step_seconds=step_seconds,
            max_stall=max_stall,
            proposer=create_proposer(),
            max_len=(max_len := min(num_pages, max_pages) * page_size),
        )
        self.max_len = max_len
        self.requests: dict[str, GenerateRequest] = {}
        self.aborted: set[tuple[str, int]] = set()

    @rule(data=st.data())
    def add(self, data: st.DataObject) -> None:
        prompt = data.draw(st.lists(TOKENS, min_size=1, max_size=self.max_len), label="prompt")
        request = make_request(
            f"r{len(self.requests)}",
            prompt,
            data.draw(st.integers(0, min(12, self.max_len - len(prompt))), label="max_tokens"),
            n=data.draw(st.integers(1, 3), label="n"),
            priority=data.draw(st.integers(-2, 2), label="priority"),
            owner=data.draw(st.sampled_from(["a", "a", "b", f"{BACKGROUND}a"]), label="owner"),
            cache_salt=data.draw(st.sampled_from(["", "", "x"]), label="salt"),
            adapter=data.draw(ADAPTERS, label="adapter"),
            seed=data.draw(st.integers(0, 3), label="seed"),
            min_tokens=data.draw(st.sampled_from([0, 0, 3]), label="min_tokens"),
            stop_token_ids=data.draw(st.sampled_from([(), tuple(range(8))]), label="stop"),
            logprobs=data.draw(st.sampled_from([None, 0]), label="logprobs"),
            grammar=data.draw(st.sampled_from(["", "", "3,6", "2,99"]), label="grammar"),
            prompt_logprobs=data.draw(st.sampled_from([None, None, 0]), label="prompt_logprobs"),
        )
        self.requests[request.request_id] = request
        self.engine.core.add(request)

    @rule(data=st.data())
    def score(self, data: st.DataObject) -> None:
        """Continuations that are given, some of them begins of others."""
        prompt = data.draw(st.lists(TOKENS, min_size=1, max_size=self.max_len - 1), label="prompt")
        longest = min(9, self.max_len - len(prompt))
        texts = st.lists(TOKENS, min_size=1, max_size=longest)
        request = ScoreRequest(
            request_id=f"r{len(self.requests)}",
            prompt_ids=prompt,
            continuations=data.draw(st.lists(texts, min_size=1, max_size=6), label="continuations"),
            owner=data.draw(st.sampled_from(["a", "a", "b", f"{BACKGROUND}a"]), label="owner"),
            cache_salt=data.draw(st.sampled_from(["", "x"]), label="salt"),
            adapter=data.draw(ADAPTERS, label="adapter"),
        ).to_generate()
        self.requests[request.request_id] = request
        self.engine.core.add(request)

    @precondition(lambda self: self.requests)
    @rule(data=st.data())
    def abort(self, data: st.DataObject) -> None:
        request = self.requests[data.draw(st.sampled_from(sorted(self.requests)), label="request")]
        index = data.draw(st.sampled_from([None, *range(request.n)]), label="index")
        self.engine.core.abort(request.request_id, index)
        self.engine.scheduler.check_integrity()
        self.aborted |= {(request.request_id, i) for i in range(request.n) if index in (None, i)}

    @rule(num_steps=st.integers(1, 5))
    def step(self, num_steps: int) -> None:
        for _ in range(num_steps):
            deltas = self.engine.step()
            keys = [(delta.request_id, delta.index) for delta in deltas]
            assert len(set(keys)) == len(keys), "a choice got two deltas in one step"
            plan = self.engine.runner.plans[-1] if self.engine.runner.plans else None
            assert plan is None or plan.num_tokens <= self.engine.scheduler.max_num_batched_tokens
            assert len(self.engine.scheduler.running) <= self.engine.scheduler.max_num_seqs

    @rule(data=st.data())
    def resize(self, data: st.DataObject) -> None:
        """The longest sequence that may come has to fit, so what is to become smaller has to be smaller for all."""
        self.engine.core.resize_pool(data.draw(st.integers(1, self.engine.blocks.num_laid_out), label="pages"))
        self.engine.scheduler.check_integrity()

    @rule()
    def release(self) -> None:
        self.engine.core.release_unused()

    @invariant()
    def map_is_true(self) -> None:
        """What the sequences themselves hold, and copies that are to be made; and so are its counts."""
        if not hasattr(self, "engine"):
            return
        holders = Counter(page for sequence in self.engine.scheduler.running for page in sequence.pages)
        holders.update(source for source, _ in self.engine.blocks.page_copies)
        layout = self.engine.core.map_pages()
        for page, letter in enumerate(layout.pages):
            assert letter in {0: ".c-", 1: "u"}.get(holders[page], "s"), (page, letter, holders[page])
        counts = count_pages(layout.stats)
        letters = {"free": ".", "cached": "c", "used": "u", "shared": "s"}
        found = {state: layout.pages.count(letter) for state, letter in letters.items()}
        found["free"] = max(0, found["free"] - self.engine.blocks.num_pages_behind)  # Kept for those.
        assert counts == found
        assert len(layout.pages) == self.engine.blocks.num_laid_out
        assert layout.stats.num_pages == sum(counts.values())

    @rule(seconds=st.sampled_from([0.5, 40.0]))
    def wait(self, seconds: float) -> None:
        self.engine.clock.now += seconds

    def teardown(self) -> None:
        if not hasattr(self, "engine"):
            return
        num_tokens = sum(
            request.n * (len(request.prompt_ids) + request.sampling.max_tokens) for request in self.requests.values()
        )
        self.engine.run(max_steps=100 + 2 * num_tokens * (self.engine.scheduler.max_num_seqs + 1))
        assert self.engine.blocks.num_free_pages == self.engine.blocks.num_pages
        for request in self.requests.values():
            for index in range(request.n):
                self.check_choice(request, index)

    def check_choice(self, request: GenerateRequest, index: int) -> None:
        key = (request.request_id, index)
        deltas = self.engine.deltas.get(key, [])
        expected = expected_choice(request, index)
        output = self.engine.output(*key)
        finished = [delta.finish_reason for delta in deltas if delta.finish_reason]
        if key in self.aborted and not finished:
            assert output == expected.token_ids[: len(output)]
            return
        assert output == expected.token_ids
        assert finished == [expected.finish_reason] == [deltas[-1].finish_reason]
        assert deltas[-1].stop_token_id == expected.stop_token_id
        assert len({delta.num_cached_tokens for delta in deltas}) == 1
        assert deltas[0].num_cached_tokens < len(request.prompt_ids)
        if request.sampling.logprobs is None:
            assert all(delta.logprobs is None for delta in deltas)
        else:
            assert [entry for delta in deltas for entry in delta.logprobs or []] == expected.logprobs
            assert deltas[-1].cumulative_logprob == pytest.approx(expected.cumulative_logprob)
        if index == 0:
            wants_prompt = request.sampling.prompt_logprobs is not None
            assert deltas[0].prompt_logprobs == (expected_prompt_logprobs(request) if wants_prompt else None)
            assert deltas[0].queue_seconds is not None


def run_machine(max_examples: int) -> None:
    run_state_machine_as_test(
        EngineMachine,
        settings=settings(
            max_examples=max_examples,
            stateful_step_count=40,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_any_interleaving() -> None:
    run_machine(max_examples=75)


@pytest.mark.proof
def test_any_interleaving_at_length() -> None:
    run_machine(max_examples=5000)

from __future__ import annotations

import random

import pytest
from engine_fakes import make_request, seconds_of

from llmos_server.engine.cost_model import FIRST_STEP_TOKENS, MIN_CHUNK_TOKENS, WORTHWHILE, CostModel
from llmos_server.engine.sequence import Sequence
from llmos_server.engine.step import Chunk, StepPlan


def random_plan(rng: random.Random) -> StepPlan:
    sequence = Sequence(make_request("r", [1]), 0, 0.0)
    chunks = [Chunk(sequence, rng.randrange(1000), 1) for _ in range(rng.randrange(20))]
    return StepPlan([Chunk(sequence, rng.randrange(0, 1000), rng.randrange(1, 300)), *chunks])


def learned(noise: float = 0.0, num_steps: int = 300) -> CostModel:
    rng, costs = random.Random(3), CostModel()
    for _ in range(num_steps):
        plan = random_plan(rng)
        costs.observe(plan, seconds_of(plan) * rng.uniform(1 - noise, 1 + noise))
    return costs


def test_it_finds_the_costs_of_a_machine() -> None:
    costs = learned()
    assert costs.fixed == pytest.approx(0.1, rel=0.02)
    assert costs.per_token == pytest.approx(0.0025, rel=0.02)
    assert costs.per_chunk == pytest.approx(0.005, rel=0.02)
    assert costs.per_pair == pytest.approx(1e-6, rel=0.1)


def test_a_budget_holds_what_fits_its_time() -> None:
    costs = learned(noise=0.1)
    for start in (0, 500):
        budget = costs.budget(512, 0.5)
        num_tokens = budget.take(500, start, opens_chunk=True)
        plan = StepPlan([Chunk(Sequence(make_request("r", [1]), 0, 0.0), start, num_tokens)])
        assert seconds_of(plan) == pytest.approx(0.5, rel=0.15)


def test_a_budget_is_never_below_what_the_fixed_cost_is_worth() -> None:
    """Nor below a chunk that is worth computing, whatever the estimate."""
    budget = learned().budget(512, 0.001)
    assert budget.take(500, 0, opens_chunk=True) == pytest.approx((WORTHWHILE * 0.1 - 0.005) / 0.0025, rel=0.1)
    costs = CostModel()
    costs.observe(StepPlan([Chunk(Sequence(make_request("r", [1]), 0, 0.0), 0, 1)]), 1000.0)
    assert costs.budget(512, 0.5).take(500, 0, opens_chunk=True) >= MIN_CHUNK_TOKENS


def test_without_a_bound_or_a_clock_only_tokens_count() -> None:
    assert learned().budget(512, 0).take(1000, 0, opens_chunk=True) == 512
    costs = CostModel()
    costs.observe(random_plan(random.Random(0)), 0.0)
    assert costs.budget(512, 0.5).take(1000, 0, opens_chunk=True) == FIRST_STEP_TOKENS
    assert costs.budget(32, 0.5).take(1000, 0, opens_chunk=True) == 32


def test_a_pause_of_the_machine_is_soon_forgotten() -> None:
    costs = learned()
    plan = random_plan(random.Random(4))
    costs.observe(plan, 60.0)
    assert costs.fixed + costs.per_token * 200 < 2 * (0.1 + 0.0025 * 200)

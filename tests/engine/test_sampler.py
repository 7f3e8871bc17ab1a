"""Logits to tokens: every option against Transformers' processors or its definition, and each row on its own."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from transformers import (
    LogitsProcessor,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from llmos_server.contracts import GenerateRequest, SamplingParams, TokenLogprob
from llmos_server.engine.noise import uniform
from llmos_server.engine.sampler import adjust, draw, keep_likely, sample_rows, token_logprobs, verify_rows
from llmos_server.engine.sequence import Sequence
from llmos_server.errors import InvalidRequest

VOCAB = 300
PROMPT, OUTPUT = [3, 7, 7, 250], [9, 9, 9, 40]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def logits(rows: int, seed: int = 0, vocab: int = VOCAB) -> torch.Tensor:
    return torch.randn(rows, vocab, generator=torch.Generator().manual_seed(seed)) * 3


def params(**options: Any) -> SamplingParams:
    return SamplingParams(**({"max_tokens": 10, "seed": 1} | options))


def sequence(index: int = 0, output: list[int] | None = None, **options: Any) -> Sequence:
    request = GenerateRequest(request_id="r", prompt_ids=PROMPT, sampling=params(**options))
    return Sequence(request, index, 0.0, token_ids=PROMPT + (OUTPUT if output is None else output))


def probabilities(weights: torch.Tensor) -> torch.Tensor:
    return weights / weights.sum()


@pytest.mark.parametrize(
    ("options", "warpers"),
    [
        ({"temperature": 0.6}, [TemperatureLogitsWarper(0.6)]),
        ({"top_k": 5}, [TopKLogitsWarper(5)]),
        ({"top_k": 1}, [TopKLogitsWarper(1)]),
        ({"top_p": 0.7}, [TopPLogitsWarper(0.7)]),
        ({"top_p": 0.01}, [TopPLogitsWarper(0.01)]),
        ({"min_p": 0.1}, [MinPLogitsWarper(0.1)]),
        (
            {"temperature": 1.7, "min_p": 0.02, "top_k": 30, "top_p": 0.8},
            [TemperatureLogitsWarper(1.7), MinPLogitsWarper(0.02), TopKLogitsWarper(30), TopPLogitsWarper(0.8)],
        ),
    ],
)
def test_distributions_equal_transformers(options: dict[str, Any], warpers: list[LogitsProcessor]) -> None:
    for row in logits(20):
        expected = row[None].clone()
        for warper in warpers:
            expected = warper(torch.tensor([PROMPT]), expected)
        weights = keep_likely(row, params(**options))
        torch.testing.assert_close(probabilities(weights).float(), expected.softmax(-1)[0], rtol=1e-4, atol=1e-7)


def test_top_p_over_a_flat_distribution_orders_the_whole_vocabulary() -> None:
    row = logits(1, vocab=5000)[0] / 100
    weights = keep_likely(row, params(top_p=0.9))
    expected = TopPLogitsWarper(0.9)(torch.tensor([PROMPT]), row[None])
    assert abs(int((weights > 0).sum()) - int(expected.isfinite().sum())) <= 1


def test_ties_at_the_edge_of_top_k_stay() -> None:
    weights = keep_likely(torch.tensor([1.0, 2.0, 1.0, 0.0]), params(top_k=2))
    assert (weights > 0).tolist() == [True, True, True, False]


@pytest.mark.parametrize("options", [{"top_p": 0.0}, {"min_p": 1.0}, {"top_k": 1}, {"temperature": 1e-9}])
def test_one_token_always_stays(options: dict[str, Any]) -> None:
    row = logits(1)[0]
    assert (keep_likely(row, params(**options)) > 0).nonzero().tolist() == [[int(row.argmax())]]


def test_repetition_penalty_equals_transformers_over_prompt_and_output() -> None:
    row = logits(1)[0]
    expected = RepetitionPenaltyLogitsProcessor(1.3)(torch.tensor([PROMPT + OUTPUT]), row[None].clone())[0]
    assert torch.equal(adjust(row.clone(), sequence(repetition_penalty=1.3)), expected)


def test_presence_and_frequency_count_the_output_only() -> None:
    row = logits(1)[0]
    expected = row.clone()
    expected[9] -= 0.5 + 3 * 0.25
    expected[40] -= 0.5 + 0.25
    adjusted = adjust(row.clone(), sequence(presence_penalty=0.5, frequency_penalty=0.25))
    torch.testing.assert_close(adjusted, expected)
    assert torch.equal(adjust(row.clone(), sequence(output=[], presence_penalty=0.5)), row)


def test_bias_and_minimum() -> None:
    row = logits(1)[0]
    adjusted = adjust(row.clone(), sequence(logit_bias={5: 100.0, 6: -100.0}, min_tokens=5, stop_token_ids=(2, 999)))
    assert adjusted[5] == row[5] + 100
    assert adjusted[6] == row[6] - 100
    assert adjusted[2] == -math.inf
    assert torch.equal(adjust(row.clone(), sequence(min_tokens=4, stop_token_ids=(2,))), row)


def test_a_bias_on_no_token_is_refused_by_name() -> None:
    with pytest.raises(InvalidRequest, match="logit_bias: 300") as caught:
        adjust(logits(1)[0], sequence(logit_bias={VOCAB: 1.0}))
    assert caught.value.param == "logit_bias"


def test_greedy_takes_the_first_of_equals() -> None:
    row = torch.zeros(2, VOCAB)
    row[:, [8, 70]] = 5.0
    drawn = sample_rows(row, [[sequence(temperature=0.0)], [sequence(temperature=0.0, logit_bias={0: 1.0})]])
    assert [sampled.token_id for sampled in drawn] == [8, 8]


def test_greedy_under_penalties_and_minimum() -> None:
    row = torch.zeros(1, VOCAB)
    row[0, [9, 2, 50]] = torch.tensor([5.0, 4.9, 4.0])
    options: dict[str, Any] = {"temperature": 0.0}
    assert sample_rows(row, [[sequence(**options)]])[0].token_id == 9
    assert sample_rows(row, [[sequence(**options, presence_penalty=1.0)]])[0].token_id == 2
    stopped = sequence(**options, frequency_penalty=1.0, min_tokens=9, stop_token_ids=(2,))
    assert sample_rows(row, [[stopped]])[0].token_id == 50


MIXED: list[dict[str, Any]] = [
    {"temperature": 0.0},
    {"temperature": 1.0, "seed": 5},
    {"temperature": 0.7, "top_p": 0.9, "seed": 6, "logprobs": 3},
    {"temperature": 1.2, "top_k": 10, "min_p": 0.05, "seed": 7},
    {"temperature": 0.0, "repetition_penalty": 1.5, "logprobs": 0},
]


def test_a_row_in_company_draws_what_it_draws_alone() -> None:
    rows = logits(len(MIXED), vocab=40_000)
    members = [[sequence(**options)] for options in MIXED]
    together = sample_rows(rows, members)
    alone = [sample_rows(rows[i : i + 1], [members[i]])[0] for i in range(len(MIXED))]
    assert together == alone
    assert [sampled.sequence for sampled in together] == [seq for (seq,) in members]


def test_choices_of_one_row_draw_with_noise_of_their_own() -> None:
    row = logits(1) / 10
    choices = [sequence(index=index, output=[], seed=3) for index in range(8)]
    drawn = [sampled.token_id for sampled in sample_rows(row, [choices])]
    assert len(set(drawn)) > 4
    assert drawn[0] == sample_rows(row, [choices[:1]])[0].token_id


def test_draws_follow_the_distribution() -> None:
    weights = torch.tensor([0.0, 3.0, 0.0, 1.0, 4.0, 0.0], dtype=torch.float64)
    num_draws = 4000
    drawn = torch.tensor([draw(weights, uniform(11, 0, position)) for position in range(num_draws)])
    share = torch.bincount(drawn, minlength=6) / num_draws
    torch.testing.assert_close(share, (weights / 8).float(), rtol=0, atol=0.03)


@pytest.mark.parametrize("noise", [0.0, 0.5, 1 - 2**-52])
@pytest.mark.parametrize("scale", [1.0, 1 + 2**-52, 1e-300, 3e300])
def test_no_noise_draws_a_token_that_is_out(noise: float, scale: float) -> None:
    weights = torch.tensor([0.0, 0.0, 1.0, 0.0], dtype=torch.float64) * scale
    assert draw(weights, noise) == 2


def test_logprobs_are_the_models_own_best_first_then_by_id() -> None:
    row = torch.zeros(1, VOCAB)
    row[0, [20, 10, 30]] = 2.0
    row[0, 5] = 3.0
    expected = row.double().log_softmax(-1)[0]
    (sampled,) = sample_rows(row, [[sequence(temperature=0.0, logprobs=3, logit_bias={250: 50.0})]])
    assert sampled.token_id == 250
    assert sampled.logprob is not None
    assert sampled.logprob.logprob == pytest.approx(float(expected[250]), abs=1e-5)
    assert [token_id for token_id, _ in sampled.logprob.top] == [5, 10, 20]
    assert sampled.logprob.top[0][1] == pytest.approx(float(expected[5]), abs=1e-5)


def test_as_many_alternatives_as_each_asked_for() -> None:
    rows = logits(4)
    entries = token_logprobs(rows, [1, 2, 3, 4], [0, 20, 5, 1])
    assert [len(entry.top) for entry in entries] == [0, 20, 5, 1]
    assert entries[1].top == sorted(entries[1].top, key=lambda pair: -pair[1])
    assert token_logprobs(rows[2:3], [3], [5]) == entries[2:3]
    assert token_logprobs(rows[:1], [1], [0]) == [TokenLogprob(1, entries[0].logprob, [])]
    small = token_logprobs(logits(1, vocab=3), [0], [20])
    assert len(small[0].top) == 3


def test_logits_are_left_as_they_are() -> None:
    rows = logits(2)
    before = rows.clone()
    sample_rows(rows, [[sequence(logit_bias={1: 5.0}, repetition_penalty=2.0)], [sequence(temperature=0.0)]])
    assert torch.equal(rows, before)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("options", [{"temperature": 0.0}, {"temperature": 1.0}])
def test_no_token_is_drawn_from_a_row_that_is_not_finite(value: float, options: dict[str, Any]) -> None:
    rows = logits(3)
    rows[1, 17] = value
    drawing = [[sequence(logprobs=2, **options)] for _ in range(3)]
    sampled = sample_rows(rows, drawing)
    assert [(entry.token_id is None, entry.logprob is None) for entry in sampled] == [
        (i == 1, i == 1) for i in range(3)
    ]
    assert sampled[::2] == sample_rows(rows[::2], drawing[::2])


@pytest.mark.parametrize("options", MIXED)
@pytest.mark.parametrize("num_right", range(4))
def test_guesses_are_verified_as_if_their_rows_came_one_by_one(options: dict[str, Any], num_right: int) -> None:
    rows = logits(4)
    subject, drawn = sequence(**options), []
    for row in range(4):
        (entry,) = sample_rows(rows[row : row + 1], [[subject]])
        drawn.append(entry)
        subject.token_ids.append(entry.token_id)
    guesses = [entry.token_id for entry in drawn[:3]]
    guesses[num_right:] = [token_id + 1 for token_id in guesses[num_right:]]
    verified = verify_rows(rows, guessed := sequence(**options), guesses)
    assert [entry[1:] for entry in verified] == [entry[1:] for entry in drawn[: num_right + 1]]
    assert guessed.token_ids == sequence(**options).token_ids
    rows[3, 5] = math.nan
    assert verify_rows(rows, guessed, guesses) == []


def test_verified_tokens_are_distributed_as_the_model_says() -> None:
    """Over many seeds: the first token is drawn by its probabilities, and so is the second one after a right guess."""
    rows = logits(2, vocab=6)
    first, second = rows.softmax(-1).tolist()
    guess = rows[0].argmax().item()
    pairs = [[entry.token_id for entry in verify_rows(rows, sequence(seed=seed), [guess])] for seed in range(3000)]
    followers = [pair[1] for pair in pairs if pair[0] == guess]
    assert {len(pair) for pair in pairs if pair[0] != guess} == {1}
    for drawn, probabilities in (([pair[0] for pair in pairs], first), (followers, second)):
        expected = [len(drawn) * p for p in probabilities]
        distance = sum((drawn.count(i) - number) ** 2 / number for i, number in enumerate(expected))
        assert distance < 20.5, "chi square of 5 degrees of freedom: one in a thousand is beyond"

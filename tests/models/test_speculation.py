"""Guesses change no token and no log-probability of a real network, on the compiled kernels and on the exact ones."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import pytest
import torch
from safetensors.torch import load_file, save_file

from llmos_server.contracts import GenerateRequest, SamplingParams
from llmos_server.engine.block_manager import BlockManager
from llmos_server.engine.core import EngineCore
from llmos_server.engine.model_runner import create_runner
from llmos_server.engine.ngram import NgramProposer
from llmos_server.engine.scheduler import Scheduler
from llmos_server.engine.sequence import Sequence
from llmos_server.engine.speculation import Proposer
from llmos_server.engine.step import StepPlan

PACKABLE = {"hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4, "head_dim": 16}
PAGE_SIZE = 16
NUM_TOKENS = 40
MAX_DRAFT_TOKENS = 5
Answers = dict[tuple[str, int], list[Any]]

SAMPLINGS: dict[str, dict[str, Any]] = {
    "greedy": {"temperature": 0.0},
    "greedy with logprobs": {"temperature": 0.0, "logprobs": 3},
    "drawn": {"temperature": 1.0, "logprobs": 0},
    "drawn from few": {"temperature": 0.7, "top_p": 0.8, "top_k": 20, "min_p": 0.02},
    "penalties": {"temperature": 0.9, "presence_penalty": 0.6, "frequency_penalty": 0.4, "repetition_penalty": 1.2},
    "greedy with penalties": {"temperature": 0.0, "frequency_penalty": 0.3, "logit_bias": {5: 2.0}, "logprobs": 1},
    "stop tokens": {"temperature": 0.8, "stop_token_ids": tuple(range(30)), "min_tokens": 12, "logprobs": 0},
    "several choices": {"n": 3, "temperature": 1.1, "logprobs": 0},
}


class Replayer:
    """Guesses what was answered before, but for every fifth token, by (request, choice)."""

    is_free = True
    seconds = 0.0

    def seconds_per_guess(self, num_sequences: int) -> float:
        return 0.0

    def __init__(self, answers: Answers) -> None:
        self._answers = answers

    def propose(self, plan: StepPlan, wanted: Mapping[Sequence, int]) -> dict[Sequence, list[int]]:
        return {sequence: self._guess(sequence, num_tokens) for sequence, num_tokens in wanted.items()}

    def forget(self, sequence: Sequence) -> None:
        pass

    def _guess(self, sequence: Sequence, num_tokens: int) -> list[int]:
        key, first = (sequence.request.request_id, sequence.index), sequence.num_output_tokens
        tokens = [token for token, _ in self._answers[key]][first : first + num_tokens]
        return [token if place % 5 else (token + 1) % 90 for place, token in enumerate(tokens, first)]


@pytest.fixture(scope="module", params=["fast", "exact", "int8"])
def loaded(request: pytest.FixtureRequest, checkpoint: Callable[..., Any], make_worker_config: Any) -> Any:
    folder = checkpoint("llama", **PACKABLE).folder
    files = [str(path) for path in folder.glob("*.safetensors")]
    config = make_worker_config(folder, files, PAGE_SIZE, 2**23, "exact" if request.param == "exact" else "fast")
    if request.param == "int8":
        config = msgspec.structs.replace(config, cache_dtype="int8")
    runner, info = create_runner(config)
    assert runner.is_batch_invariant
    return runner, info


def requests() -> list[GenerateRequest]:
    rng = random.Random(5)
    start = [rng.randrange(97) for _ in range(3 * PAGE_SIZE)]  # Shared, so that there are hits in the prefix cache.
    made = []
    for number, (name, options) in enumerate(SAMPLINGS.items()):
        repeated = [rng.randrange(97) for _ in range(9)] * 4
        params = {"seed": number, "max_tokens": NUM_TOKENS} | options
        num_choices = params.pop("n", 1)
        prompt = (start if number % 2 else []) + repeated[: 20 + number]
        made.append(
            GenerateRequest(request_id=name, prompt_ids=prompt, sampling=SamplingParams(**params), n=num_choices)
        )
    return made


def answer(loaded: Any, proposer: Proposer | None, num_pages: int, requests: list[GenerateRequest]) -> Any:
    """What each choice came to: its tokens with their log-probabilities, and how it ended; and the engine's counts."""
    runner, info = loaded
    assert info.num_pages >= num_pages
    scheduler = Scheduler(
        BlockManager(num_pages, PAGE_SIZE, model_digest="tiny"),
        max_num_seqs=8,
        max_num_batched_tokens=64,
        proposer=proposer,
        max_draft_tokens=MAX_DRAFT_TOKENS,
    )
    core = EngineCore(scheduler, runner, info, clock=lambda: 0.0)  # So no costs are known: guesses are cheap.
    for request in requests:
        core.add(request)
    answers: Answers = {}
    ends: dict[tuple[str, int], Any] = {}
    while core.has_work:
        for delta in core.step():
            key = (delta.request_id, delta.index)
            entries = delta.logprobs or [None] * len(delta.token_ids)
            answers.setdefault(key, []).extend(zip(delta.token_ids, entries, strict=True))
            ends[key] = delta.finish_reason, delta.stop_token_id, delta.stop_logprob, delta.cumulative_logprob
        core.check_integrity()
    return answers, ends, core.stats()


@pytest.mark.parametrize("num_pages", [60, 14])
def test_any_guesses_give_the_same_answers(loaded: Any, num_pages: int) -> None:
    """14 pages are too few for all: sequences are preempted, and computed again in other chunks."""
    answers, ends, plain = answer(loaded, None, num_pages, requests())
    assert (plain.num_preemptions > 0) == (num_pages == 14)
    assert {reason for reason, *_ in ends.values()} == {"length", "stop"}
    for proposer in (Replayer(answers), NgramProposer()):
        guessed_answers, guessed_ends, stats = answer(loaded, proposer, num_pages, requests())
        assert guessed_answers == answers
        assert guessed_ends == ends
        assert 0 < stats.num_accepted_tokens < stats.num_draft_tokens
    assert stats.num_steps < plain.num_steps


def test_a_guess_whose_numbers_are_not_finite_harms_nobody(
    checkpoint: Callable[..., Any], make_worker_config: Any, tmp_path: Any
) -> None:
    """The model's embedding of one token is NaN. Whoever has it in the prompt fails; guessing it does nothing."""
    bad = 96
    folder = checkpoint("llama", **PACKABLE).folder
    (file,) = folder.glob("*.safetensors")
    weights = load_file(file)
    weights["model.embed_tokens.weight"][bad] = float("nan")
    save_file(weights, tmp_path / file.name, metadata={"format": "pt"})
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())

    class Spoiler(NgramProposer):
        def propose(self, plan: StepPlan, wanted: Mapping[Sequence, int]) -> dict[Sequence, list[int]]:
            return {sequence: [bad, 8][:num_tokens] for sequence, num_tokens in wanted.items()}

    for numerics in ("fast", "exact"):
        config = make_worker_config(tmp_path, [str(tmp_path / file.name)], PAGE_SIZE, 2**22, numerics)
        loaded = create_runner(config)
        sampling = SamplingParams(max_tokens=20, seed=0, temperature=0.0, logprobs=0, logit_bias={bad: -100.0})
        both = [GenerateRequest(request_id=i, prompt_ids=[1, 2, 3, int(i)], sampling=sampling) for i in "45"]
        plain, guessed = answer(loaded, None, 20, both), answer(loaded, Spoiler(), 20, both)
        assert guessed[:2] == plain[:2]
        assert len(plain[0]) == 2
        assert guessed[2].num_preemptions == 2, "each was computed again once"
    torch.set_num_threads(1)

"""A draft model changes no token; one that is the model itself is always right."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from safetensors.torch import load_file, save_file

from llmos_server.contracts import ChoiceDelta, GenerateRequest, ModelVersion, SamplingParams
from llmos_server.engine.block_manager import BlockManager
from llmos_server.engine.core import EngineCore
from llmos_server.engine.draft_loading import create_pair
from llmos_server.engine.draft_model import CATCH_UP_TOKENS
from llmos_server.engine.messages import DraftConfig
from llmos_server.engine.scheduler import Scheduler
from llmos_server.errors import UnsupportedModel

PACKABLE = {"hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4, "head_dim": 16}
PAGE_SIZE = 16
VOCABULARY = {"model": {"vocab": {f"t{i}": i for i in range(96)}}, "added_tokens": [{"content": "<end>", "id": 96}]}


@pytest.fixture
def folder(checkpoint: Callable[..., Any], tmp_path: Path) -> Callable[..., Path]:
    """A copy of a tiny model, with a tokenizer. noise: how far its weights are moved."""

    def make(name: str, noise: float = 0.0, vocabulary: Any = VOCABULARY, **changes: Any) -> Path:
        copy = tmp_path / name
        shutil.copytree(checkpoint("llama", **PACKABLE, **changes).folder, copy)
        (file,) = copy.glob("*.safetensors")
        generator = torch.Generator().manual_seed(9)
        moved = {
            key: value * (1 + noise * torch.randn(value.shape, generator=generator))
            for key, value in load_file(file).items()
        }
        save_file(moved, file, metadata={"format": "pt"})
        (copy / "tokenizer.json").write_text(json.dumps(vocabulary))
        return copy

    return make


@pytest.fixture
def load(make_worker_config: Any) -> Callable[..., Any]:
    """The clock stands still: guesses cost nothing, and as many are made as may be right."""

    def load(target: Path, draft: Path, numerics: str = "fast") -> Any:
        own, other = ([str(path) for path in folder.glob("*.safetensors")] for folder in (target, draft))
        config = make_worker_config(target, own, PAGE_SIZE, 2**22, numerics)
        return create_pair(config, DraftConfig("small", str(draft), other), clock=lambda: 0.0)

    return load


def requests(num_tokens: int = 40) -> list[GenerateRequest]:
    def make(name: str, prompt: list[int], num_choices: int = 1, **options: Any) -> GenerateRequest:
        params = {"max_tokens": num_tokens, "seed": 3, "logprobs": 0} | options
        return GenerateRequest(request_id=name, prompt_ids=prompt, sampling=SamplingParams(**params), n=num_choices)

    start = [(i * i) % 90 for i in range(2 * PAGE_SIZE)]
    return [
        make("greedy", [*start, 7], temperature=0.0),
        make("drawn", [*start, 8, 9], temperature=1.0),
        make("choices", [5, 6, 7], num_choices=3, temperature=0.8, top_p=0.9),
        make("penalties", [1], temperature=0.7, frequency_penalty=0.5, presence_penalty=0.5),
    ]


def answer(loaded: Any, requests: list[GenerateRequest], num_pages: int, *, is_guessing: bool, smaller: int = 0) -> Any:
    """The deltas of each choice, put together, and the engine's counts. smaller: what the pool becomes, after
    another request has left its first pages."""
    runner, info = loaded
    assert info.num_pages >= num_pages
    scheduler = Scheduler(
        BlockManager(num_pages, PAGE_SIZE, model_digest="tiny"),
        max_num_seqs=8,
        max_num_batched_tokens=512,
        proposer=runner.draft if is_guessing else None,
        max_draft_tokens=4,
    )
    if smaller:
        info = msgspec.structs.replace(info, max_model_len=8 * PAGE_SIZE)
    core = EngineCore(scheduler, runner, info, clock=lambda: 0.0)
    if smaller:
        core.add(make_first())
        core.step()
    for request in requests:
        core.add(request)
    answers: dict[tuple[str, int], list[Any]] = {}
    while core.has_work:
        for delta in core.step():
            answers.setdefault((delta.request_id, delta.index), []).extend(entries(delta))
        core.check_integrity()
        if smaller and core.stats().num_steps == 7:
            core.abort("first")
            core.resize_pool(smaller)
    answers.pop(("first", 0), None)
    return answers, core.stats()


def make_first() -> GenerateRequest:
    return GenerateRequest(
        request_id="first",
        prompt_ids=[3] * 7 * PAGE_SIZE,
        sampling=SamplingParams(max_tokens=PAGE_SIZE, seed=1, logprobs=0),
    )


def entries(delta: ChoiceDelta) -> list[Any]:
    return list(zip(delta.token_ids, delta.logprobs or [], strict=True))


@pytest.mark.parametrize("numerics", ["fast", "exact"])
def test_the_model_itself_is_always_right(folder: Any, load: Any, numerics: str) -> None:
    target = folder("target")
    loaded = load(target, target, numerics)
    plain, guessed = (answer(loaded, requests(), 40, is_guessing=is_guessing) for is_guessing in (False, True))
    assert guessed[0] == plain[0]
    assert guessed[1].num_accepted_tokens == guessed[1].num_draft_tokens > 0
    assert guessed[1].num_steps < plain[1].num_steps / 3
    moved = answer(loaded, requests(), 40, is_guessing=True, smaller=20)
    assert moved[0] == plain[0]
    assert moved[1].num_pages == 20
    assert moved[1].num_accepted_tokens == moved[1].num_draft_tokens


@pytest.mark.parametrize("num_pages", [40, 13])
def test_another_model_is_right_now_and_then(folder: Any, load: Any, num_pages: int) -> None:
    """13 pages are too few for all: sequences are preempted, and pages change hands under the draft model, too."""
    loaded = load(folder("target"), folder("draft", noise=0.03))
    plain, guessed = (answer(loaded, requests(), num_pages, is_guessing=is_guessing) for is_guessing in (False, True))
    assert guessed[0] == plain[0]
    assert (guessed[1].num_preemptions > 0) == (num_pages == 13)
    assert 0.3 < guessed[1].num_accepted_tokens / guessed[1].num_draft_tokens < 1


def test_after_a_preemption_and_a_prefix_hit_it_is_still_right(folder: Any, load: Any) -> None:
    target = folder("target")
    loaded = load(target, target)
    _, stats = answer(loaded, requests(), 13, is_guessing=True)
    assert stats.num_preemptions > 0
    assert stats.num_accepted_tokens == stats.num_draft_tokens


def test_a_long_prompt_is_made_up_for_in_parts(folder: Any, load: Any) -> None:
    target = folder("target")
    prompt = [i % 90 for i in range(CATCH_UP_TOKENS + 100)]
    sampling = SamplingParams(max_tokens=30, seed=0, temperature=0.0, logprobs=0)
    request = GenerateRequest(request_id="long", prompt_ids=prompt, sampling=sampling)
    loaded = load(target, target)
    plain, guessed = (answer(loaded, [request], 30, is_guessing=is_guessing) for is_guessing in (False, True))
    assert guessed[0] == plain[0]
    assert guessed[1].num_accepted_tokens == guessed[1].num_draft_tokens > 15


def test_beyond_the_draft_models_context_nothing_is_guessed(folder: Any, load: Any) -> None:
    loaded = load(folder("target"), folder("draft", max_position_embeddings=40))
    sampling = SamplingParams(max_tokens=40, seed=0, temperature=0.0, logprobs=0)
    request = GenerateRequest(request_id="a", prompt_ids=[1] * 20, sampling=sampling)
    plain, guessed = (answer(loaded, [request], 30, is_guessing=is_guessing) for is_guessing in (False, True))
    assert guessed[0] == plain[0]
    assert 10 <= guessed[1].num_accepted_tokens <= 20


def test_ids_that_the_draft_model_lacks_are_no_harm(folder: Any, load: Any) -> None:
    """Both have the same tokens, but its output is padded less."""
    loaded = load(folder("target"), folder("draft", vocab_size=90))
    sampling = SamplingParams(max_tokens=20, seed=0, temperature=0.0, logprobs=0, repetition_penalty=1.2)
    biased = msgspec.structs.replace(sampling, logit_bias={95: 1.0})
    plain_one = GenerateRequest(request_id="a", prompt_ids=[1, 2, 3], sampling=sampling)
    odd = [
        GenerateRequest(request_id="b", prompt_ids=[1, 2, 3], sampling=biased),
        GenerateRequest(request_id="c", prompt_ids=[1, 96, 3], sampling=sampling),
    ]
    plain, guessed = (answer(loaded, [plain_one, *odd], 30, is_guessing=is_guessing) for is_guessing in (False, True))
    assert guessed[0] == plain[0]
    assert answer(loaded, odd, 30, is_guessing=True)[1].num_draft_tokens == 0
    assert guessed[1].num_draft_tokens > 0


def test_a_damaged_draft_model_guesses_nothing(folder: Any, load: Any) -> None:
    loaded = load(folder("target"), folder("draft", noise=float("nan")))
    plain, guessed = (answer(loaded, requests(10), 30, is_guessing=is_guessing) for is_guessing in (False, True))
    assert guessed[0] == plain[0]
    assert guessed[1].num_draft_tokens == 0


def test_both_share_one_budget_of_pages(folder: Any, load: Any, make_worker_config: Any) -> None:
    """Keys and values of two layers and of one, in float16, of 2 heads of 16."""
    _, info = load(folder("target"), folder("draft", num_hidden_layers=1))
    assert info.num_pages == 2**22 // (3 * 2 * PAGE_SIZE * 2 * 16 * 2)


@pytest.mark.parametrize(
    "vocabulary",
    [{"model": {"vocab": {**VOCABULARY["model"]["vocab"], "t7": 97}}, "added_tokens": []}, {"model": {"type": "BPE"}}],
)
def test_a_draft_model_of_another_vocabulary_is_refused_by_name(folder: Any, load: Any, vocabulary: Any) -> None:
    with pytest.raises(UnsupportedModel, match=r"'small' can't be the draft model|no vocabulary can be read"):
        load(folder("target"), folder("draft", vocabulary=vocabulary))


def test_pieces_with_scores_are_a_vocabulary_as_well(folder: Any, load: Any) -> None:
    unigram = {
        "model": {"vocab": [[f"t{i}", -1.0 * i] for i in range(96)]},
        "added_tokens": [{"content": "<end>", "id": 96}],
    }
    runner, _ = load(folder("target"), folder("draft", vocabulary=unigram))
    assert runner.draft is not None


@pytest.mark.real_model
def test_the_default_model_guesses_for_itself(smollm2: ModelVersion, make_worker_config: Any) -> None:
    config = make_worker_config(Path(smollm2.folder), smollm2.weights, PAGE_SIZE, 2**26, "fast")
    draft = DraftConfig(smollm2.name, smollm2.folder, smollm2.weights)
    loaded = create_pair(config, draft, clock=lambda: 0.0)
    plain, guessed = (answer(loaded, requests(16), 40, is_guessing=is_guessing) for is_guessing in (False, True))
    assert guessed[0] == plain[0]
    assert guessed[1].num_accepted_tokens == guessed[1].num_draft_tokens > 0

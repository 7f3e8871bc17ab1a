"""Every architecture of tiny_archs.SERVED through the registry and the whole engine, against `generate`.

Whatever the scheduler does to a request, its tokens are those that Transformers' eager attention gives it alone.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import tiny_archs
import torch
from tokenizers import Tokenizer, models
from transformers import PreTrainedModel

from llmos_server.contracts import GenerateRequest, ModelVersion, SamplingParams
from llmos_server.engine.block_manager import BlockManager
from llmos_server.engine.core import EngineCore
from llmos_server.engine.messages import WorkerConfig
from llmos_server.engine.model_runner import create_runner
from llmos_server.engine.scheduler import Scheduler
from llmos_server.models.transformers_backend import BATCH_INVARIANT
from llmos_server.registry.progress import QuietProgress
from llmos_server.registry.registry import Registry

PAGE_SIZE = 4
NUM_TOKENS = 8
BATCH_VARIANT = set(tiny_archs.SERVED) - BATCH_INVARIANT
"""qwen2_moe: its shared expert is weighted by one number a token, and torch's sigmoid treats the last of many such
otherwise."""


@dataclass
class Served:
    reference: PreTrainedModel
    version: ModelVersion

    def __post_init__(self) -> None:
        self._runner, self.info = create_runner(
            WorkerConfig(
                epoch=1,
                commands_endpoint="",
                reports_endpoint="",
                model_digest=self.version.digest,
                model_folder=self.version.folder,
                weights=self.version.weights,
                device="cpu",
                threads=1,
                page_size=PAGE_SIZE,
                cache_bytes=2**23,
                max_num_seqs=16,
                max_num_batched_tokens=64,
                prefix_caching=True,
            )
        )

    def engine(self, max_num_batched_tokens: int = 64) -> EngineCore:
        """Another scheduler, over the same pages."""
        blocks = BlockManager(self.info.num_pages, PAGE_SIZE, model_digest=self.version.digest)
        scheduler = Scheduler(blocks, max_num_seqs=16, max_num_batched_tokens=max_num_batched_tokens)
        return EngineCore(scheduler, self._runner, self.info)

    def generate(self, prompt: list[int]) -> list[int]:
        ids = torch.tensor([prompt])
        options = {"max_new_tokens": NUM_TOKENS, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
        out = self.reference.generate(ids, attention_mask=torch.ones_like(ids), **options)
        return out[0, len(prompt) :].tolist()


@dataclass
class Answer:
    token_ids: list[int]
    logprobs: list[Any]
    num_cached: int = 0


def run(core: EngineCore, prompts: list[list[int]], *, steps_between: int = 0) -> list[Answer]:
    """steps_between: two arrivals; 0 is all at once."""
    sampling = SamplingParams(max_tokens=NUM_TOKENS, seed=0, temperature=0.0, logprobs=2)
    pending = [GenerateRequest(request_id=str(i), prompt_ids=p, sampling=sampling) for i, p in enumerate(prompts)]
    answers = [Answer([], []) for _ in prompts]
    step = 0
    while pending or core.has_work:
        while pending and (not steps_between or step % steps_between == 0):
            core.add(pending.pop(0))
            if steps_between:
                break
        for delta in core.step():
            answer = answers[int(delta.request_id)]
            answer.token_ids += delta.token_ids
            answer.logprobs += delta.logprobs or []
            answer.num_cached = delta.num_cached_tokens
        step += 1
    return answers


def save(folder: Path, model: PreTrainedModel, **options: Any) -> Path:
    model.save_pretrained(folder, **options)
    (folder / "tokenizer.json").write_text(Tokenizer(models.BPE()).to_str())
    return folder


@pytest.fixture(scope="session")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Served]:
    """Saves a tiny model, imports the folder, loads it as a worker does."""

    def make(model_type: str, changes: dict[str, Any] | None = None, **options: Any) -> Served:
        torch.set_num_threads(1)
        model = tiny_archs.create(model_type, changes)
        home = tmp_path_factory.mktemp(model_type)
        folder = save(home / "model", model, **options)
        return Served(model, Registry(home / "home", {}, 1.0).pull(f"file:{folder}", QuietProgress()))

    return make


PROMPTS = [
    [random.Random(f"{i} {j}").randrange(tiny_archs.VOCAB_SIZE) for j in range(n)] for i, n in enumerate((1, 29, 13, 6))
]


@pytest.mark.parametrize("model_type", sorted(tiny_archs.SERVED))
def test_greedy_tokens_equal_generate(serve: Callable[..., Served], model_type: str) -> None:
    served = serve(model_type)
    assert served.info.architecture == model_type
    expected = [served.generate(prompt) for prompt in PROMPTS]
    [alone] = run(served.engine(), PROMPTS[1:2])
    assert alone.token_ids == expected[1]

    for budget, steps_between in ((64, 0), (7, 2)):
        core = served.engine(budget)
        together = run(core, PROMPTS, steps_between=steps_between)
        assert [answer.token_ids for answer in together] == expected
        if model_type not in BATCH_VARIANT:
            assert together[1].logprobs == alone.logprobs

    [again] = run(core, PROMPTS[1:2])
    assert again.num_cached == len(PROMPTS[1]) // PAGE_SIZE * PAGE_SIZE
    assert again.token_ids == expected[1]
    if model_type not in BATCH_VARIANT:
        assert again.logprobs == alone.logprobs


def test_the_tiny_models_are_wide_enough_to_prove_something() -> None:
    """Sinks, softcaps and windows must change the answer, else leaving them out would not be seen."""
    ids = torch.tensor([PROMPTS[1]])
    for model_type, changes in (
        ("gemma2", {"attn_logit_softcapping": 1e6}),
        ("gemma2", {"final_logit_softcapping": 1e6}),
        ("gemma2", {"sliding_window": 64}),
        ("olmo3", {"sliding_window": 64}),
        ("granite", {"logits_scaling": 1.0}),
    ):
        logits = [tiny_archs.create(model_type, change)(ids).logits for change in (None, changes)]
        assert float((logits[0] - logits[1]).detach().abs().max()) > 0.05, (model_type, changes)
    gpt_oss = tiny_archs.create("gpt_oss")
    before = gpt_oss(ids).logits
    for layer in gpt_oss.model.layers:
        layer.self_attn.sinks.data.fill_(-1e4)
    assert float((gpt_oss(ids).logits - before).detach().abs().max()) > 0.05


def test_head_sizes_of_their_own(serve: Callable[..., Served]) -> None:
    """Pages are as large as what is kept: MLA's values are narrower than its keys, Gemma 4's layers differ."""
    page = PAGE_SIZE * 4
    mla, gemma4 = serve("deepseek_v3"), serve("gemma4_text")
    assert mla.info.num_pages == 2**23 // (page * 2 * 4 * (24 + 12))
    assert gemma4.info.num_pages == 2**23 // (page * 2 * 2 * (16 + 32))


def test_longrope_is_served_up_to_its_first_length(serve: Callable[..., Served]) -> None:
    served = serve("phi3")
    assert served.version.context_length == 256
    assert served.info.max_model_len == served.info.context_length == 128


def test_a_file_that_changes_later_changes_nothing(serve: Callable[..., Served]) -> None:
    served = serve("gpt2")
    with Path(served.version.weights[0]).open("r+b") as file:
        file.seek(-20_000, 2)
        file.write(bytes(20_000))
    [answer] = run(served.engine(), PROMPTS[1:2])
    assert answer.token_ids == served.generate(PROMPTS[1])


def test_two_threads_give_the_same_bits(serve: Callable[..., Served]) -> None:
    served = serve("gpt_oss")
    try:
        torch.set_num_threads(2)
        [alone] = run(served.engine(), PROMPTS[1:2])
        together = run(served.engine(7), PROMPTS, steps_between=2)
    finally:
        torch.set_num_threads(1)
    assert together[1] == alone


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_shards_and_short_types(serve: Callable[..., Served], tmp_path: Path, dtype: torch.dtype) -> None:
    """Computed in float32, whatever the file holds."""
    model = tiny_archs.create("mixtral").to(dtype)
    folder = save(tmp_path / "model", model, max_shard_size="60KB")
    served = Served(model.float(), Registry(tmp_path / "home", {}, 1.0).pull(f"file:{folder}", QuietProgress()))
    assert len(served.version.weights) > 1
    [answer] = run(served.engine(), PROMPTS[1:2])
    assert answer.token_ids == served.generate(PROMPTS[1])

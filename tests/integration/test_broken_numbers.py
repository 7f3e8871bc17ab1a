"""A model whose weights give NaN for one token id: who sends that token is told, and nobody else notices."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedModel

from llmos_server.contracts import GenerateRequest, SamplingParams
from llmos_server.engine.block_manager import BlockManager
from llmos_server.engine.core import EngineCore
from llmos_server.engine.messages import WorkerConfig
from llmos_server.engine.model_runner import create_runner
from llmos_server.engine.scheduler import Scheduler

PAGES = {"exact": (4, 12, 64), "fast": (16, 3, 32), "int8": (16, 3, 18)}
"""Tokens in a page, pages, and bytes of a key of one head."""
ROWS_A_TOKEN = 2 * 2 * 2
"""Keys and values, 2 KV heads, 2 layers."""
NAN_TOKEN = 7
NUM_TOKENS = 8


@pytest.fixture(scope="module")
def model() -> PreTrainedModel:
    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=96,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        max_position_embeddings=128,
        initializer_range=0.4,
    )
    model = AutoModelForCausalLM.from_config(config).float().eval()
    with torch.no_grad():
        model.get_input_embeddings().weight[NAN_TOKEN] = torch.nan
    return model


@pytest.fixture(params=PAGES)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def core(model: PreTrainedModel, tmp_path: Path, kind: str) -> EngineCore:
    model.save_pretrained(tmp_path)
    return make_core(tmp_path, kind)


def make_core(folder: Path, kind: str) -> EngineCore:
    page_size, num_pages, num_bytes = PAGES[kind]
    is_exact = kind == "exact"
    config = WorkerConfig(
        epoch=1, commands_endpoint="", reports_endpoint="", model_digest="sha256:nan", model_folder=str(folder),
        weights=[str(folder / "model.safetensors")], device="cpu", threads=1, page_size=page_size,
        cache_bytes=num_pages * page_size * ROWS_A_TOKEN * num_bytes, max_num_seqs=4, max_num_batched_tokens=32,
        prefix_caching=True, numerics="exact" if is_exact else "fast", cache_dtype="int8" if kind == "int8" else "auto",
    )  # fmt: skip
    runner, info = create_runner(config)
    assert (info.num_pages, info.dtype == "float32") == (num_pages, is_exact)
    blocks = BlockManager(num_pages, page_size, model_digest=config.model_digest)
    return EngineCore(Scheduler(blocks, max_num_seqs=4, max_num_batched_tokens=32), runner, info)


def request(name: str, prompt: list[int]) -> GenerateRequest:
    sampling = SamplingParams(max_tokens=NUM_TOKENS, seed=0, temperature=0.0)
    return GenerateRequest(request_id=name, prompt_ids=prompt, sampling=sampling)


def run(core: EngineCore) -> dict[str, list[int]]:
    answers: dict[str, list[int]] = {}
    while core.has_work:
        for delta in core.step():
            answers.setdefault(delta.request_id, []).extend(delta.token_ids)
    return answers


def generate(model: PreTrainedModel, prompt: list[int]) -> list[int]:
    ids = torch.tensor([prompt])
    out = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=NUM_TOKENS,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
    )
    return out[0, len(prompt) :].tolist()


def test_nan_reaches_neither_the_batch_nor_the_next_owner_of_its_pages(
    core: EngineCore, kind: str, model: PreTrainedModel, tmp_path: Path
) -> None:
    """The NaNs fill all but a few pages, so that the sound prompts after them get pages that held some."""

    def expected(prompt: list[int]) -> list[int]:
        if kind != "int8":
            return generate(model, prompt)
        other = make_core(tmp_path, kind)
        other.add(request("alone", prompt))
        return run(other)["alone"]

    sound = [[11 + n, 12, 13 + n, 14, 15] for n in range(4)]
    core.add(request("beside", sound[0]))
    core.add(request("broken", [NAN_TOKEN, *range(20, 45)]))
    answers = run(core)
    assert core.take_broken() == ["broken"]
    assert answers == {"beside": expected(sound[0])}
    for number, prompt in enumerate(sound[1:]):
        core.add(request(f"after-{number}", prompt))
    assert run(core) == {f"after-{n}": expected(prompt) for n, prompt in enumerate(sound[1:])}
    assert core.take_broken() == []


def test_prompt_logprobs_are_numbers_or_an_error(core: EngineCore) -> None:
    sampling = SamplingParams(max_tokens=0, seed=0, prompt_logprobs=0)
    core.add(GenerateRequest(request_id="broken", prompt_ids=[1, 2, NAN_TOKEN, 3], sampling=sampling))
    assert run(core) == {}
    assert core.take_broken() == ["broken"]

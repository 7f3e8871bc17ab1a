"""Adapters: what PEFT computes, over pages, on every kind of kernels, and bitwise the same in any batch."""

from __future__ import annotations

import functools
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

from llmos_server.contracts import ModelVersion
from llmos_server.engine import numerics as numerics_module
from llmos_server.engine.model_runner import create_runner
from llmos_server.engine.step import Chunk, StepPlan
from llmos_server.errors import KernelsUnavailable, UnsupportedModel
from llmos_server.kernels.native.build import KERNEL_CACHE, find_or_build
from llmos_server.kernels.native.library import Library
from llmos_server.registry.adapter_folders import import_adapter
from llmos_server.settings import find_home

sys.path.insert(0, str(Path(__file__).parent))  # for tiny_archs

from tiny_archs import create

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
"""PEFT's own, at every model."""

PACKABLE = {"hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4, "head_dim": 16}
ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
SOME: dict[str, Any] = {"r": 5, "target_modules": ["q_proj", "v_proj", "down_proj"], "use_rslora": True}
KINDS: list[dict[str, Any]] = [
    {"r": 8, "lora_alpha": 16, "target_modules": ALL},
    SOME,
    {"r": 33, "lora_alpha": 7, "target_modules": ALL, "rank_pattern": {"k_proj": 3}, "alpha_pattern": {"up_proj": 40}},
]
BACKENDS = ("avx512vnni", "avx2", "plain")


def prompt(length: int, salt: int) -> list[int]:
    return [random.Random(f"{salt} {i}").randrange(97) for i in range(length)]


def with_lora(model: Any, seed: int = 0, **config: Any) -> PeftModel:
    """Random matrices, B among them: an adapter at its start changes nothing."""
    peft = get_peft_model(model, LoraConfig(**config)).eval()
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in peft.named_parameters():
        if "lora_" in name:
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.2
    return peft


def expected_logprobs(model: Any, ids: list[int]) -> list[float]:
    with torch.no_grad():
        rows = model(torch.tensor([ids])).logits[0].log_softmax(-1)
    return [float(rows[at, token]) for at, token in enumerate(ids[1:])]


class Adapted:
    """A model in a folder, adapters of it, and what PEFT makes of both."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.folder, self.home = folder, home
        weights = [str(path) for path in sorted(folder.glob("*.safetensors"))]
        self.version = ModelVersion(
            name="tiny:1b", source="", digest="sha256:tiny", folder=str(folder), weights=weights, context_length=512,
            size_bytes=1, created=1,
        )  # fmt: skip

    @functools.cache  # noqa: B019
    def adapter(self, seed: int, kind: int) -> tuple[Path, Callable[[list[int]], list[float]]]:
        peft = with_lora(AutoModelForCausalLM.from_pretrained(self.folder), seed, **KINDS[kind])
        peft.save_pretrained(self.home / f"peft-{seed}-{kind}")
        adapter = import_adapter(self.home, self.home / f"peft-{seed}-{kind}", self.version, "tidy")
        return Path(adapter.folder), functools.partial(expected_logprobs, peft)


@pytest.fixture(scope="module")
def adapted(checkpoint: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Adapted]:
    @functools.cache
    def make(name: str) -> Adapted:
        return Adapted(checkpoint(name, **PACKABLE).folder, tmp_path_factory.mktemp("adapters"))

    return make


@pytest.fixture
def load(make_driver: Any, make_worker_config: Any) -> Callable[..., Any]:
    def load(found: Adapted, numerics: str, threads: int = 1, adapters: tuple[tuple[int, int], ...] = ()) -> Any:
        config = make_worker_config(found.folder, found.version.weights, 16, 2**22, numerics, threads)
        driver = make_driver(*create_runner(msgspec.structs.replace(config, activations="int16")))
        for seed, kind in adapters:
            driver.runner.adapters[f"{seed} {kind}"] = driver.runner.load_adapter(found.adapter(seed, kind)[0])
        return driver

    return load


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What the runner computes with from now on."""
    try:
        library = find_or_build(find_home() / KERNEL_CACHE)
        Library(library, 1, request.param)
    except KernelsUnavailable as error:
        pytest.skip(str(error))
    monkeypatch.setattr(numerics_module, "Library", functools.partial(Library, backend=request.param))
    return str(request.param)


def sequence_with(driver: Any, ids: list[int], adapter: str) -> Any:
    sequence = driver.sequence(ids, 0, prompt_logprobs=0)
    sequence.request = msgspec.structs.replace(sequence.request, adapter=adapter)
    return sequence


def logprobs(driver: Any, ids: list[int], adapter: str, chunk_tokens: int = 512) -> list[float]:
    sequence = sequence_with(driver, ids, adapter)
    entries: list[float] = []
    for start in range(0, len(ids), chunk_tokens):
        chunk = Chunk(sequence, start, min(chunk_tokens, len(ids) - start), [], wants_prompt_logprobs=True)
        entries += [entry.logprob for entry in driver.run(StepPlan([chunk])).prompt_logprobs[0]]
    return entries


@pytest.mark.parametrize("kind", range(len(KINDS)))
@pytest.mark.parametrize("name", ["llama", "qwen2-tied", "qwen3", "llama-biases"])
def test_exact_numbers_are_those_of_peft(adapted: Any, load: Any, name: str, kind: int) -> None:
    found, ids = adapted(name), prompt(60, kind)
    driver = load(found, "exact", adapters=((0, kind),))
    expected = found.adapter(0, kind)[1](ids)
    assert np.abs(np.subtract(logprobs(driver, ids, f"0 {kind}"), expected)).max() < 1e-3
    assert np.abs(np.subtract(logprobs(driver, ids, ""), expected)).max() > 0.1


@pytest.mark.parametrize("name", ["llama", "qwen2-tied", "qwen3"])
def test_compiled_kernels_are_near(adapted: Any, load: Any, backend: str, name: str) -> None:
    found, ids = adapted(name), prompt(80, 0)
    driver = load(found, "fast", adapters=tuple((0, kind) for kind in range(len(KINDS))))
    for kind in range(len(KINDS)):
        differences = np.abs(np.subtract(logprobs(driver, ids, f"0 {kind}", 33), found.adapter(0, kind)[1](ids)))
        assert differences.max() < 0.05
        assert differences.mean() < 0.005


def rows_in_any_batch(driver: Any, prompts: list[tuple[list[int], str]], choose: random.Random) -> list[torch.Tensor]:
    """Hidden states of prompts, each with its adapter, in steps of some prompts' next chunks, of any length."""
    sequences = [sequence_with(driver, *each) for each in prompts]
    seen: list[list[torch.Tensor]] = [[] for _ in prompts]
    while unfinished := [each for each in sequences if each.num_uncomputed_tokens]:
        chosen = choose.sample(unfinished, choose.randint(1, len(unfinished)))
        chunks = [Chunk(s, s.num_computed_tokens, choose.randint(1, min(9, s.num_uncomputed_tokens))) for s in chosen]
        hidden, row = driver.runner.forward(StepPlan(chunks)), 0
        for chunk in chunks:
            seen[sequences.index(chunk.sequence)].append(hidden[row : row + chunk.num_tokens])
            chunk.sequence.num_computed_tokens += chunk.num_tokens
            row += chunk.num_tokens
    return [torch.cat(parts) for parts in seen]


def check_invariance(load: Callable[[int], Any]) -> None:
    """load: threads -> a driver with three adapters."""
    drivers = [load(1), load(3)]
    names = ["", "0 0", "1 0", "0 1"]
    prompts = [(prompt(random.Random(salt).choice((1, 5, 20)), salt), names[salt % 4]) for salt in range(8)]
    expected = [rows_in_any_batch(drivers[0], [each], random.Random(-1))[0] for each in prompts]
    for seed in range(3):
        rows = rows_in_any_batch(drivers[seed % 2], prompts, random.Random(seed))
        assert all(map(torch.equal, rows, expected))


def test_compiled_rows_are_the_same_in_any_batch(adapted: Any, load: Any, backend: str) -> None:
    check_invariance(lambda threads: load(adapted("llama"), "fast", threads, ((0, 0), (1, 0), (0, 1))))


def test_exact_rows_are_the_same_in_any_batch(adapted: Any, load: Any) -> None:
    check_invariance(lambda _: load(adapted("llama"), "exact", adapters=((0, 0), (1, 0), (0, 1))))


def test_rows_without_adapters_are_as_without_any(adapted: Any, load: Any, backend: str) -> None:
    found = adapted("llama")
    alone, ids = load(found, "fast"), prompt(20, 0)
    mixed = load(found, "fast", adapters=((0, 0),))
    expected = rows_in_any_batch(alone, [(ids, "")], random.Random(0))[0]
    assert torch.equal(rows_in_any_batch(mixed, [(ids, ""), (ids, "0 0")], random.Random(0))[0], expected)


TARGETS = {
    "gpt2": ["c_attn", "c_proj", "c_fc"],
    "gpt_neox": ["query_key_value", "dense"],
    "gemma2": ALL,
    "opt": ["q_proj", "fc1"],
}


@pytest.mark.parametrize("model_type", TARGETS)
def test_transformers_code_takes_adapters(
    model_type: str, make_driver: Any, make_worker_config: Any, tmp_path: Path
) -> None:
    create(model_type).save_pretrained(tmp_path / "base")
    found = Adapted(tmp_path / "base", tmp_path / "home")
    is_conv = model_type == "gpt2"
    config = {"r": 4, "target_modules": TARGETS[model_type], "fan_in_fan_out": is_conv}
    peft = with_lora(AutoModelForCausalLM.from_pretrained(found.folder), **config)
    peft.save_pretrained(tmp_path / "peft")
    adapter = import_adapter(found.home, tmp_path / "peft", found.version, "tidy")
    driver = make_driver(*create_runner(make_worker_config(found.folder, found.version.weights, 16, 2**22)))
    driver.runner.adapters["x"] = driver.runner.load_adapter(Path(adapter.folder))
    ids = [token % 96 for token in prompt(40, 1)]
    expected = expected_logprobs(peft, ids)
    assert np.abs(np.subtract(logprobs(driver, ids, "x", 17), expected)).max() < 1e-3
    assert np.abs(np.subtract(logprobs(driver, ids, ""), expected)).max() > 0.01


def test_experts_take_none(make_driver: Any, make_worker_config: Any, tmp_path: Path) -> None:
    """A router or an expert computes some rows, or isn't a linear layer."""
    create("mixtral").save_pretrained(tmp_path / "base")
    weights = [str(path) for path in (tmp_path / "base").glob("*.safetensors")]
    driver = make_driver(*create_runner(make_worker_config(tmp_path / "base", weights, 16, 2**22)))
    updates = {"model.layers.0.mlp.gate": None}
    with pytest.raises(UnsupportedModel, match=r"changes model.layers.0.mlp.gate, which isn't served for mixtral"):
        driver.runner._model.load_adapter(updates)

"""The decoder on compiled kernels, held to the exact one, on every backend that this processor runs."""

from __future__ import annotations

import functools
import logging
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import msgspec
import numpy as np
import pytest
import torch
from gguf_blocks import HALVES, random_blocks
from transformers import AutoConfig

from llmos_server.engine import numerics as numerics_module
from llmos_server.engine.model_runner import create_runner
from llmos_server.engine.step import Chunk, StepPlan
from llmos_server.errors import EngineFailed, KernelsUnavailable
from llmos_server.kernels.native.build import KERNEL_CACHE, find_compiler, find_or_build
from llmos_server.kernels.native.library import Library
from llmos_server.models.opening import open_packed
from llmos_server.models.packed_types import packed_bytes
from llmos_server.registry.parameters import count_elements
from llmos_server.settings import find_home

PACKABLE = {"hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4, "head_dim": 16}
NAMES = ("llama", "llama-rope-llama3", "llama-biases", "mistral-window", "qwen2-tied", "qwen2-some-windows", "qwen3")
MHA = "llama-mha-tied"
SHAPE = {
    "hidden_size": 512, "intermediate_size": 768, "num_hidden_layers": 2, "num_attention_heads": 8,
    "num_key_value_heads": 2, "head_dim": 64, "max_position_embeddings": 1024,
}  # fmt: skip
BACKENDS = ("avx512vnni", "avx2", "plain")


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


def prompt(length: int, salt: int) -> list[int]:
    return [random.Random(f"{salt} {i}").randrange(97) for i in range(length)]


def logprobs(driver: Any, ids: list[int], chunk_tokens: int) -> list[float]:
    sequence = driver.sequence(ids, 0, prompt_logprobs=0)
    entries: list[float] = []
    for start in range(0, len(ids), chunk_tokens):
        chunk = Chunk(sequence, start, min(chunk_tokens, len(ids) - start), [], wants_prompt_logprobs=True)
        entries += [entry.logprob for entry in driver.run(StepPlan([chunk])).prompt_logprobs[0]]
    return entries


@pytest.fixture
def load(make_driver: Any, make_worker_config: Any) -> Callable[..., Any]:
    def load(
        folder: Path,
        numerics: str,
        page_size: int = 16,
        threads: int = 1,
        cache_dtype: str = "auto",
        activations: str = "int16",
    ) -> Any:
        files = sorted(str(path) for path in folder.glob("*.*") if path.suffix in (".safetensors", ".gguf"))
        config = make_worker_config(folder, files, page_size, 2**24, numerics, threads, cache_dtype)
        return make_driver(*create_runner(msgspec.structs.replace(config, activations=activations)))

    return load


@pytest.mark.parametrize("name", [*NAMES, MHA])
def test_floats_give_the_exact_numbers_but_for_the_cache(checkpoint: Any, load: Any, backend: str, name: str) -> None:
    """float32 weights are not rounded; keys and values are, to float16."""
    tiny = checkpoint(name, **PACKABLE, **({"num_key_value_heads": 4} if name == MHA else {}))
    fast, exact = load(tiny.folder, "fast", 32), load(tiny.folder, "exact")
    assert fast.info.dtype == f"packed ({backend})"
    ids = prompt(300, 0)
    differences = np.abs(np.subtract(logprobs(fast, ids, 128), logprobs(exact, ids, 300)))
    assert differences.max() < 0.03
    assert differences.mean() < 0.002
    assert fast.generate(fast.sequence(prompt(20, 1), 8), num_tokens=8) == [tiny.generate(prompt(20, 1), 8)]


@pytest.mark.parametrize("head_dim", [16, 80])
@pytest.mark.parametrize("name", ["llama", "mistral-window", "qwen3"])
def test_a_cache_in_int8_is_near(checkpoint: Any, load: Any, backend: str, name: str, head_dim: int) -> None:
    """80: the last scale is that of 16 numbers."""
    folder = checkpoint(name, **PACKABLE | {"head_dim": head_dim}).folder
    ids = prompt(300, 0)
    halves = load(folder, "fast", 32)
    for cut, page_size in ((300, 32), (7, 48)):
        bytes_ = load(folder, "fast", page_size, cache_dtype="int8")
        assert (halves.info.cache_dtype, bytes_.info.cache_dtype) == ("float16", "int8")
        differences = np.abs(np.subtract(logprobs(bytes_, ids, cut), logprobs(halves, ids, 300)))
        assert differences.max() < 0.3
        assert 0 < differences.mean() < 0.03


def test_what_has_no_compiled_kernels_refuses_a_cache_in_int8(checkpoint: Any, load: Any) -> None:
    with pytest.raises(EngineFailed, match=r"hidden_size = 48 is no multiple of 32\. Set engine.cache_dtype"):
        load(checkpoint("llama").folder, "fast", cache_dtype="int8")
    with pytest.raises(EngineFailed, match=r"engine\.numerics is 'exact'"):
        load(checkpoint("llama", **PACKABLE).folder, "exact", cache_dtype="int8")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_short_floats_are_kept(checkpoint: Any, load: Any, backend: str, tmp_path: Path, dtype: torch.dtype) -> None:
    checkpoint("llama", **PACKABLE).reference.to(dtype).save_pretrained(tmp_path)
    checkpoint("llama", **PACKABLE).reference.to(torch.float32)
    fast, exact = load(tmp_path, "fast"), load(tmp_path, "exact")
    ids = prompt(60, 0)
    assert np.abs(np.subtract(logprobs(fast, ids, 60), logprobs(exact, ids, 60))).max() < 0.03


@pytest.fixture(scope="module")
def packed_files(tmp_path_factory: pytest.TempPathFactory) -> Callable[[tuple[str, ...]], Path]:
    """A folder with a GGUF of random matrices of these types, in turn."""

    @functools.cache
    def make(types: tuple[str, ...]) -> Path:
        folder = tmp_path_factory.mktemp("packed")
        config = AutoConfig.for_model("llama", vocab_size=97, pad_token_id=0, **SHAPE)
        config.architectures = ["LlamaForCausalLM"]
        config.save_pretrained(folder)
        rng = np.random.default_rng(4)
        writer = gguf.GGUFWriter(folder / "model.gguf", "llama")
        for i, (name, shape) in enumerate(tensors().items()):
            if len(shape) == 1:
                writer.add_tensor(name, (1 + 0.3 * rng.standard_normal(shape)).astype(np.float32))
            else:
                type_name = types[i % len(types)]
                packed = random_weights(type_name, shape, rng)
                writer.add_tensor(name, packed, raw_dtype=gguf.GGMLQuantizationType[type_name])
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return folder

    return make


def random_weights(type_name: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Packed rows, uint8."""
    std = 1.5 / shape[1] ** 0.5
    if type_name in HALVES:
        return random_blocks(type_name, *shape, rng, std=std)
    floats = (std * rng.standard_normal(shape)).astype(np.float32)
    if type_name == "F16":
        return floats.astype(np.float16).view(np.uint8)
    return floats.view(np.uint8) if type_name == "F32" else floats.view(np.uint16)[:, 1::2].copy().view(np.uint8)


def tensors() -> dict[str, tuple[int, ...]]:
    hidden, inner, heads, kv = SHAPE["hidden_size"], SHAPE["intermediate_size"], 8 * 64, 2 * 64
    layer = {
        "attn_norm": (hidden,), "ffn_norm": (hidden,), "attn_q": (heads, hidden), "attn_k": (kv, hidden),
        "attn_v": (kv, hidden), "attn_output": (hidden, heads), "ffn_gate": (inner, hidden),
        "ffn_up": (inner, hidden), "ffn_down": (hidden, inner),
    }  # fmt: skip
    top = {"token_embd.weight": (97, hidden), "output_norm.weight": (hidden,), "output.weight": (97, hidden)}
    layers = range(SHAPE["num_hidden_layers"])
    return top | {f"blk.{i}.{name}.weight": shape for i in layers for name, shape in layer.items()}


@pytest.mark.parametrize("type_name", [*HALVES, "F16", "BF16"])
def test_packed_weights_are_computed_as_they_are(load: Any, backend: str, packed_files: Any, type_name: str) -> None:
    folder = packed_files((type_name,) if type_name != "Q6_K" else ("Q6_K", "Q4_K", "Q5_K"))
    ids = prompt(80, 0)
    exact = logprobs(load(folder, "exact"), ids, 80)
    for activations, bound in (("int16", 0.01), ("int8", 0.3)):  # Of random weights; tests/proof measures real ones.
        fast = logprobs(load(folder, "fast", activations=activations), ids, 80)
        assert np.abs(np.subtract(fast, exact)).mean() < bound
        assert np.corrcoef(fast, exact)[0, 1] > 0.99


@pytest.mark.parametrize(
    ("activations", "cache", "seed"), [("int8", "auto", 0), ("int16", "auto", 1), ("int8", "int8", 2)]
)
@pytest.mark.parametrize("types", [("Q4_1", "Q8_0", "Q5_0", "Q4_0"), ("Q4_K", "Q6_K", "Q2_K", "Q5_K", "Q3_K")])
def test_any_cut_of_any_batch_gives_the_same_bits(
    load: Any, backend: str, packed_files: Any, types: Any, activations: str, cache: str, seed: int
) -> None:
    folder, kinds = packed_files(types), {"activations": activations, "cache_dtype": cache}
    alone, driver = load(folder, "fast", **kinds), load(folder, "fast", threads=seed + 1, **kinds)
    choose = random.Random(seed)
    prompts = [prompt(choose.choice((1, 2, 5, 40, 129, 600)), salt) for salt in range(choose.randint(2, 6))]
    expected = [alone.runner.forward(StepPlan([Chunk(alone.sequence(ids, 0), 0, len(ids))])) for ids in prompts]
    for rows, others in zip(driver.hidden_in_any_cut(prompts, choose, 200), expected, strict=True):
        assert torch.equal(rows, others)


@pytest.mark.parametrize(
    "types", [*((name,) for name in HALVES), ("Q4_K", "Q4_K", "Q4_K", "Q6_K"), ("F16",), ("BF16",)]
)
def test_the_budget_is_told_what_the_weights_take(packed_files: Any, types: tuple[str, ...]) -> None:
    """But for the vectors, and for the rows that two small matrices have more than their vocabulary."""
    file = packed_files(types) / "model.gguf"
    library = Library(find_or_build(find_home() / KERNEL_CACHE), 1, "plain")
    model = open_packed(file.parent, [file], library, 16, {})
    told = packed_bytes(count_elements([file]))
    hidden, filled_up = SHAPE["hidden_size"], -97 % 16
    assert abs(model.num_bytes - told) <= 2 * filled_up * hidden * 4 + 5 * hidden * 4
    assert abs(model.num_bytes / told - 1) < 0.02


@pytest.mark.parametrize("type_name", ["F16", "BF16", "F32"])
def test_floats_of_a_gguf_can_be_rounded(packed_files: Any, type_name: str) -> None:
    file = packed_files((type_name,)) / "model.gguf"
    library = Library(find_or_build(find_home() / KERNEL_CACHE), 1, "plain")
    as_it_is, rounded = (open_packed(file.parent, [file], library, 16, {}, how) for how in ("none", "int8"))
    bits = 32 if type_name == "F32" else 16
    assert rounded.num_bytes == pytest.approx(as_it_is.num_bytes * 8.5 / bits, rel=0.01)
    assert (list(rounded.rounding_errors), list(as_it_is.rounding_errors)) == (["Q8_0"], [])
    assert 0.001 < rounded.rounding_errors["Q8_0"] < 0.01


def test_what_the_kernels_cant_compute_runs_exactly(checkpoint: Any, load: Any, caplog: Any) -> None:
    tiny = checkpoint("llama")
    with caplog.at_level(logging.WARNING):
        driver = load(tiny.folder, "fast")
    assert driver.info.dtype == "float32"
    assert "hidden_size = 48 is no multiple of 32" in caplog.text
    assert driver.generate(driver.sequence(prompt(9, 0), 4), num_tokens=4) == [tiny.generate(prompt(9, 0), 4)]


def test_without_a_compiler_models_run_exactly(
    checkpoint: Any, load: Any, caplog: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "/nowhere/c++")
    with pytest.raises(KernelsUnavailable, match="apt install g\\+\\+"):
        find_compiler()
    with caplog.at_level(logging.WARNING):
        driver = load(checkpoint("llama", **PACKABLE).folder, "fast")
    assert driver.info.dtype == "float32"
    assert "no C++ compiler (/nowhere/c++)" in caplog.text

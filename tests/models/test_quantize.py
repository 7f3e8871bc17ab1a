"""Float weights rounded at load: how good the integers are, and that the decoder computes with exactly these."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers

from llmos_server.contracts import ModelVersion
from llmos_server.engine.footprint import MemoryBudget
from llmos_server.engine.model_runner import create_runner
from llmos_server.engine.step import Chunk, StepPlan
from llmos_server.errors import UnsupportedModel
from llmos_server.models.quantize import MAX_UINT4, Rounded, to_int6, to_int8, to_uint4
from llmos_server.perplexity import measure
from llmos_server.registry.parameters import count_elements
from llmos_server.settings import EngineSettings

SHAPE = {"hidden_size": 128, "intermediate_size": 192, "num_attention_heads": 4, "head_dim": 32}


def rounding(name: str, how: str) -> Callable[[np.ndarray], Rounded]:
    if how == "int8" or any(part in name for part in ("embed_tokens", "lm_head", "k_proj", "v_proj")):
        return to_int8
    return to_int6 if "down_proj" in name else to_uint4


def restored(rounded: Rounded) -> np.ndarray:
    quants, scales, minima = rounded.groups
    values = quants.reshape(*scales.shape, -1) * scales[..., None]
    return (values if minima is None else values + minima[..., None]).reshape(quants.shape).astype(np.float32)


def error(weights: np.ndarray, values: np.ndarray) -> float:
    return float(np.square(values.astype(np.float64) - weights).sum())


def from_smallest_to_largest(weights: np.ndarray) -> np.ndarray:
    """The plain way."""
    groups = weights.reshape(-1, 32)
    minima = groups.min(axis=1, keepdims=True)
    scales = ((groups.max(axis=1, keepdims=True) - minima) / MAX_UINT4).astype(np.float16).astype(np.float32)
    minima = minima.astype(np.float16).astype(np.float32)
    quants = np.clip(np.rint((groups - minima) / np.where(scales == 0, 1, scales)), 0, MAX_UINT4)
    return (quants * scales + minima).reshape(weights.shape)


@settings(max_examples=60, deadline=None)
@given(rows=st.integers(1, 20), groups=st.integers(1, 4), seed=st.integers(0, 2**32 - 1), size=st.floats(-3, 3))
def test_weights_come_back_within_their_step(rows: int, groups: int, seed: int, size: float) -> None:
    weights = (10**size * np.random.default_rng(seed).standard_normal((rows, groups * 32))).astype(np.float32)
    for how, group, most in ((to_int8, 32, 127), (to_int6, 16, 31)):
        half_step = np.abs(weights.reshape(-1, group)).max(axis=1) / most / 2
        off = np.abs(restored(how(weights)) - weights).reshape(-1, group).max(axis=1)
        assert (off <= half_step * 1.1 + 1e-7).all()
    for how in (to_int8, to_int6, to_uint4):
        found = how(weights)
        assert math.isclose(found.squared_error, error(weights, restored(found)), rel_tol=1e-3, abs_tol=1e-9)
        assert math.isclose(found.squares, error(weights, np.zeros(1)), rel_tol=1e-3)


def test_the_search_finds_better_scales_than_the_plain_way() -> None:
    weights = np.random.default_rng(0).standard_normal((256, 256)).astype(np.float32)
    plain = error(weights, from_smallest_to_largest(weights))
    assert to_uint4(weights).squared_error < 0.85 * plain
    heavy = (weights**3).astype(np.float32)
    assert to_uint4(heavy).squared_error < error(heavy, from_smallest_to_largest(heavy))


def test_what_was_quantised_before_comes_back_as_it_was() -> None:
    rng = np.random.default_rng(1)
    quants = rng.integers(0, 16, (64, 4, 32))
    quants[..., 0], quants[..., 1] = 0, 15
    weights = (quants * np.float32(0.25) - np.float32(1.5)).reshape(64, 128).astype(np.float32)
    np.testing.assert_allclose(restored(to_uint4(weights)), weights, atol=1e-6)


@pytest.mark.parametrize("value", [0.0, 1.0, -0.375, 1e-30])
@pytest.mark.parametrize("how", [to_int8, to_int6, to_uint4])
def test_equal_weights(how: Callable[[Any], Rounded], value: float) -> None:
    weights = np.full((3, 64), value, np.float32)
    np.testing.assert_allclose(restored(how(weights)), weights, atol=2e-3 * abs(value) + 1e-29)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e30])
@pytest.mark.parametrize("how", [to_int8, to_int6, to_uint4])
def test_what_cannot_be_rounded_shows(how: Callable[[Any], Rounded], value: float) -> None:
    weights = np.ones((2, 64), np.float32)
    weights[1, 40] = value
    found = how(weights)
    assert not math.isfinite(found.squared_error + found.squares)


@pytest.fixture
def quantised(make_driver: Any, make_worker_config: Any) -> Callable[..., Any]:
    def load(folder: Path, quantization: str, numerics: str = "fast") -> Any:
        weights = sorted(str(path) for path in folder.glob("*.safetensors"))
        config = make_worker_config(folder, weights, 16, 2**22, numerics)
        return make_driver(*create_runner(msgspec.structs.replace(config, quantization=quantization)))

    return load


def logprobs(driver: Any, ids: list[int]) -> list[float]:
    sequence = driver.sequence(ids, 0, prompt_logprobs=0)
    plan = StepPlan([Chunk(sequence, 0, len(ids), [], wants_prompt_logprobs=True)])
    return [entry.logprob for entry in driver.run(plan).prompt_logprobs[0]]


@pytest.mark.parametrize("name", ["llama", "llama-mha-tied", "qwen2-tied"])
@pytest.mark.parametrize("how", ["int8", "int4"])
def test_the_decoder_computes_with_these_integers(
    checkpoint: Any, quantised: Any, tmp_path: Path, name: str, how: str
) -> None:
    """Held to float32 over the same values, restored."""
    tiny = checkpoint(name, **SHAPE, **({"num_key_value_heads": 4} if "mha" in name else {}))
    for path in tiny.folder.glob("*.json"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    tensors = load_file(tiny.folder / "model.safetensors")
    for tensor_name, tensor in tensors.items():
        if tensor.dim() == 2:
            tensors[tensor_name] = torch.from_numpy(restored(rounding(tensor_name, how)(tensor.numpy())))
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    ids = [(7 * i + i * i) % 97 for i in range(200)]
    fast, exact = quantised(tiny.folder, how), quantised(tmp_path, "none", "exact")
    assert fast.info.dtype.startswith(f"packed {how} (")
    assert np.abs(np.subtract(logprobs(fast, ids), logprobs(exact, ids))).max() < 0.05
    assert np.abs(np.subtract(logprobs(fast, ids), logprobs(quantised(tiny.folder, "none"), ids))).max() > 0.05


@pytest.mark.parametrize("how", ["int8", "int4"])
@pytest.mark.parametrize("name", ["llama", "llama-mha-tied"])
def test_the_budget_is_told_what_they_take(checkpoint: Any, quantised: Any, name: str, how: Any) -> None:
    sizes = SHAPE | {"hidden_size": 256, "intermediate_size": 512, "vocab_size": 96}
    tiny = checkpoint(name, **sizes, **({"num_key_value_heads": 4} if "mha" in name else {}))
    weights = [tiny.folder / "model.safetensors"]
    version = ModelVersion(
        name="a", source="a", digest="a", folder=str(tiny.folder), weights=[], context_length=512, size_bytes=1,
        created=0, num_parameters=sum(count_elements(weights).values()), elements=count_elements(weights),
        quantization=how,
    )  # fmt: skip
    told = MemoryBudget(EngineSettings(), 2**34).measure(version, 1).weights
    assert told == pytest.approx(quantised(tiny.folder, how).runner._model.num_bytes, rel=0.01)


def test_refused_by_name(checkpoint: Any, quantised: Any, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModel, match=r"hidden_size = 48 is no multiple of 32.*below \[models.options\]"):
        quantised(checkpoint("llama").folder, "int4")
    tiny = checkpoint("llama", **SHAPE)
    with pytest.raises(UnsupportedModel, match=r"engine\.numerics is 'exact'.*below \[models\.options\]"):
        quantised(tiny.folder, "int8", "exact")
    tensors = load_file(tiny.folder / "model.safetensors")
    tensors["model.layers.1.mlp.down_proj.weight"][3, 5] = math.nan
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    (tmp_path / "config.json").write_bytes((tiny.folder / "config.json").read_bytes())
    with pytest.raises(UnsupportedModel, match=r"layers.1.mlp.down_proj.weight holds numbers that are not finite"):
        quantised(tmp_path, "int4")


@pytest.mark.real_model
def test_a_file_that_is_quantised_already(smollm2: ModelVersion, make_worker_config: Any) -> None:
    config = make_worker_config(Path(smollm2.folder), smollm2.weights, 16, 2**22, "fast")
    with pytest.raises(UnsupportedModel, match="hold integers already"):
        create_runner(msgspec.structs.replace(config, quantization="int8"))


def test_perplexity_is_that_of_the_logprobs(checkpoint: Any, quantised: Any, tmp_path: Path) -> None:
    tiny = checkpoint("llama", **SHAPE)
    for path in tiny.folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    tokenizer = Tokenizer(models.WordLevel({str(i): i for i in range(97)}, unk_token="0"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    ids = [(5 * i + i * i) % 97 for i in range(700)]
    version = ModelVersion(
        name="a", source="a", digest="a", folder=str(tmp_path), weights=[str(tmp_path / "model.safetensors")],
        context_length=512, size_bytes=1, created=0,
    )  # fmt: skip
    found = measure(version, "int4", EngineSettings(threads=1), " ".join(map(str, ids)), 600)
    driver = quantised(tiny.folder, "int4")
    expected = logprobs(driver, ids[:512]) + logprobs(driver, ids[512:600])
    assert found.logprobs == expected
    assert found.perplexity == pytest.approx(math.exp(-np.mean(expected)))
    as_it_is = measure(version, "none", EngineSettings(threads=1), " ".join(map(str, ids)), 600)
    assert as_it_is.mean_difference(as_it_is) == 0 < found.mean_difference(as_it_is)

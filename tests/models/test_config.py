"""config.json: what is read, in the old and the new spelling, and what is refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from llmos_server.errors import UnsupportedModel
from llmos_server.models.config import load_config, read_config
from llmos_server.models.rope import RopeConfig, rope_frequencies, rope_table

LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "vocab_size": 100,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 256,
}
LLAMA3 = {
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}


def test_defaults_are_transformers_own() -> None:
    config = read_config(LLAMA)
    assert (config.num_kv_heads, config.head_dim, config.group_size) == (4, 16, 1)
    assert (config.rms_norm_eps, config.rope, config.is_tied) == (1e-6, RopeConfig(theta=10000.0), False)
    assert config.windows == (None, None, None)
    assert not any((config.has_qkv_bias, config.has_output_bias, config.has_mlp_bias, config.has_qk_norm))


def test_families_differ_in_biases_and_norms() -> None:
    llama = read_config(LLAMA | {"attention_bias": True, "mlp_bias": True})
    assert (llama.has_qkv_bias, llama.has_output_bias, llama.has_mlp_bias) == (True, True, True)
    qwen2 = read_config(LLAMA | {"model_type": "qwen2", "architectures": None})
    assert (qwen2.has_qkv_bias, qwen2.has_output_bias, qwen2.has_qk_norm) == (True, False, False)
    qwen3 = read_config(LLAMA | {"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"]})
    assert (qwen3.has_qkv_bias, qwen3.has_qk_norm, qwen3.head_dim) == (False, True, 128)


@pytest.mark.parametrize(
    ("values", "windows"),
    [
        ({"model_type": "mistral", "num_key_value_heads": None}, (4096,) * 3),
        ({"model_type": "mistral", "num_attention_heads": 16, "sliding_window": None}, (None,) * 3),
        ({"model_type": "llama", "sliding_window": 9}, (None,) * 3),
        ({"model_type": "qwen2", "sliding_window": 9}, (None,) * 3),
        (
            {"model_type": "qwen2", "sliding_window": 9, "use_sliding_window": True, "max_window_layers": 1},
            (None, 9, 9),
        ),
        (
            {
                "model_type": "qwen3",
                "sliding_window": 9,
                "use_sliding_window": True,
                "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
            },
            (9, None, 9),
        ),
    ],
)
def test_windows(values: dict[str, Any], windows: tuple[int | None, ...]) -> None:
    assert read_config(LLAMA | {"architectures": None} | values).windows == windows


@pytest.mark.parametrize(
    "values",
    [
        {"rope_theta": 5000.0, "rope_scaling": {"rope_type": "llama3"} | LLAMA3},
        {"rope_theta": 5000.0, "rope_scaling": {"type": "llama3"} | LLAMA3},
        {"rope_parameters": {"rope_type": "llama3", "rope_theta": 5000.0} | LLAMA3},
    ],
)
def test_both_spellings_of_rope(values: dict[str, Any]) -> None:
    expected = RopeConfig(
        theta=5000.0,
        kind="llama3",
        factor=8.0,
        low_freq_factor=1.0,
        high_freq_factor=4.0,
        original_context_length=64,
    )
    assert read_config(LLAMA | values).rope == expected


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"model_type": "gemma"}, "'gemma'"),
        ({"architectures": ["LlamaForSequenceClassification"]}, "LlamaForSequenceClassification"),
        ({"quantization_config": {"quant_method": "gptq"}}, "gptq"),
        ({"hidden_act": "gelu"}, "'gelu'"),
        ({"hidden_size": None}, "hidden_size"),
        ({"vocab_size": "many"}, "vocab_size"),
        ({"num_key_value_heads": 3}, "3 KV heads"),
        ({"head_dim": 15}, "size 15"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, "'yarn'"),
        ({"rope_scaling": {"type": "dynamic", "factor": 4.0}}, "'dynamic'"),
        ({"rope_scaling": {"type": "linear"}}, "factor"),
        ({"rope_parameters": {"full_attention": {"rope_theta": 1.0}}}, "per kind of layer"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor"),
        ({"model_type": "qwen2", "layer_types": ["chunked_attention"] * 3, "architectures": None}, "chunked_attention"),
        (
            {
                "model_type": "mistral",
                "num_key_value_heads": 4,
                "layer_types": ["full_attention"] * 3,
                "architectures": None,
            },
            "layer_types",
        ),
    ],
)
def test_what_would_change_the_answer_is_refused_by_name(change: dict[str, Any], named: str) -> None:
    with pytest.raises(UnsupportedModel, match=named):
        read_config(LLAMA | change)


@pytest.mark.parametrize("content", [None, "{", "[]"])
def test_a_broken_file_says_what_to_do(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(UnsupportedModel, match="Pull the model again"):
        load_config(tmp_path)


def test_a_file(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(LLAMA))
    assert load_config(tmp_path) == read_config(LLAMA)


@pytest.mark.parametrize("scaling", [{"rope_type": "llama3"} | LLAMA3, {"rope_type": "linear", "factor": 4.0}])
def test_frequencies_equal_transformers(scaling: dict[str, Any]) -> None:
    values = LLAMA | {"rope_parameters": {"rope_theta": 10000.0} | scaling}
    expected, factor = ROPE_INIT_FUNCTIONS[scaling["rope_type"]](AutoConfig.for_model(**values), "cpu")
    assert factor == 1.0
    torch.testing.assert_close(rope_frequencies(read_config(values).rope, 16), expected, rtol=1e-6, atol=0)


def test_divisors_of_the_checkpoint_stand_in_for_scaling() -> None:
    divisors = torch.tensor([1.0, 2.0, 4.0, 8.0])
    plain = rope_frequencies(RopeConfig(), 8)
    scaled = RopeConfig(kind="llama3", factor=8.0)
    assert torch.equal(rope_frequencies(scaled, 8, divisors), plain / divisors)


def test_table() -> None:
    cos, sin = rope_table(torch.tensor([1.0, 0.5]), 4)
    assert cos.shape == sin.shape == (4, 2)
    torch.testing.assert_close(sin[2], torch.tensor([2.0, 1.0]).sin())
    torch.testing.assert_close(cos**2 + sin**2, torch.ones(4, 2))

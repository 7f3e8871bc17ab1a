"""What the decoder needs to know of a checkpoint, read from its config.json (the Hugging Face layout).

Whatever would change the answer and isn't implemented is refused by name; nothing is guessed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmos_server.errors import UnsupportedModel
from llmos_server.models.rope import RopeConfig, read_rope

FAMILIES = ("llama", "mistral", "qwen2", "qwen3")
"""Values of model_type that the decoder computes."""

CAUSAL_LM = frozenset({"LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM"})

DEFAULT_RMS_NORM_EPS = 1e-6
DEFAULT_MISTRAL_WINDOW = 4096
DEFAULT_MISTRAL_KV_HEADS = 8
DEFAULT_QWEN3_HEAD_DIM = 128
DEFAULT_MAX_WINDOW_LAYERS = 28


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """One Llama-shaped decoder. Sizes are in elements, `context_length` and windows in tokens."""

    family: str
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    context_length: int
    rms_norm_eps: float
    rope: RopeConfig
    is_tied: bool
    """The output head is the embedding matrix."""
    has_qkv_bias: bool
    has_output_bias: bool
    """Bias of o_proj."""
    has_mlp_bias: bool
    has_qk_norm: bool
    """RMSNorm over each head of q and k, before RoPE."""
    windows: tuple[int | None, ...]
    """Per layer: how many positions a token sees, itself included; None sees all."""

    @property
    def group_size(self) -> int:
        """Query heads that share one KV head."""
        return self.num_heads // self.num_kv_heads


def load_config(folder: Path) -> ModelConfig:
    """Read folder/config.json. Raises UnsupportedModel with what is missing or not implemented."""
    return read_config(load_values(folder))


def load_values(folder: Path) -> dict[str, Any]:
    """What folder/config.json holds. Raises UnsupportedModel when that is no JSON object."""
    path = folder / "config.json"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UnsupportedModel(f"{path}: can't be read ({error.strerror}). Pull the model again.") from None
    except ValueError as error:
        raise UnsupportedModel(f"{path}: not valid JSON ({error}). Pull the model again.") from None
    if not isinstance(values, dict):
        raise UnsupportedModel(f"{path}: holds no JSON object. Pull the model again.")
    return values


def read_config(values: Mapping[str, Any]) -> ModelConfig:
    """The same from the decoded object. What it refuses may still run on Transformers' code (models/opening.py)."""
    family = values.get("model_type")
    if family not in FAMILIES:
        raise UnsupportedModel(f"config.json: model_type {family!r} is not supported; known are {', '.join(FAMILIES)}.")
    _refuse_unsupported(values)
    hidden_size, num_heads = _count(values, "hidden_size"), _count(values, "num_attention_heads")
    default_kv_heads = DEFAULT_MISTRAL_KV_HEADS if family == "mistral" else None
    num_kv_heads = values.get("num_key_value_heads", default_kv_heads) or num_heads
    head_dim = values.get("head_dim") or (DEFAULT_QWEN3_HEAD_DIM if family == "qwen3" else hidden_size // num_heads)
    if num_heads % num_kv_heads or head_dim % 2:
        raise UnsupportedModel(
            f"config.json: {num_heads} heads over {num_kv_heads} KV heads of size {head_dim} is not a possible shape."
        )
    num_layers, context_length = _count(values, "num_hidden_layers"), _count(values, "max_position_embeddings")
    attention_bias = family in ("llama", "qwen3") and bool(values.get("attention_bias", False))
    return ModelConfig(
        family=family,
        vocab_size=_count(values, "vocab_size"),
        hidden_size=hidden_size,
        intermediate_size=_count(values, "intermediate_size"),
        num_layers=num_layers,
        num_heads=num_heads,
        num_kv_heads=num_kv_heads,
        head_dim=head_dim,
        context_length=context_length,
        rms_norm_eps=float(values.get("rms_norm_eps", DEFAULT_RMS_NORM_EPS)),
        rope=read_rope(values, context_length),
        is_tied=bool(values.get("tie_word_embeddings", False)),
        has_qkv_bias=family == "qwen2" or attention_bias,
        has_output_bias=attention_bias,
        has_mlp_bias=family == "llama" and bool(values.get("mlp_bias", False)),
        has_qk_norm=family == "qwen3",
        windows=_read_windows(family, values, num_layers),
    )


def _refuse_unsupported(values: Mapping[str, Any]) -> None:
    architectures = values.get("architectures") or []
    if architectures and not CAUSAL_LM.intersection(architectures):
        raise UnsupportedModel(f"config.json: architectures {architectures} is none of {', '.join(sorted(CAUSAL_LM))}.")
    if values.get("quantization_config"):
        method = values["quantization_config"].get("quant_method", "unknown")
        raise UnsupportedModel(
            f"config.json: quantization_config ({method}) is not supported. Take the unquantised checkpoint or a GGUF."
        )
    activation = values.get("hidden_act", "silu")
    if activation not in ("silu", "swish"):
        raise UnsupportedModel(f"config.json: hidden_act {activation!r} is not supported; known is 'silu'.")


def _count(values: Mapping[str, Any], name: str) -> int:
    value = values.get(name)
    if not isinstance(value, int) or value < 1:
        raise UnsupportedModel(f"config.json: {name} is {value!r}; a positive whole number is needed.")
    return value


def _read_windows(family: str, values: Mapping[str, Any], num_layers: int) -> tuple[int | None, ...]:
    """Sliding windows as each family means them: Mistral's default is 4096, Qwen's is off unless switched on."""
    if family == "llama":
        return (None,) * num_layers
    window = values.get("sliding_window", DEFAULT_MISTRAL_WINDOW)
    if family == "mistral":
        if values.get("layer_types"):
            raise UnsupportedModel("config.json: layer_types is not supported for model_type 'mistral'.")
        return (window,) * num_layers
    if not values.get("use_sliding_window", False):
        window = None
    kinds = values.get("layer_types")
    if kinds is None:
        first = values.get("max_window_layers", DEFAULT_MAX_WINDOW_LAYERS)
        kinds = ["full_attention" if i < first else "sliding_attention" for i in range(num_layers)]
    if len(kinds) != num_layers or not set(kinds) <= {"full_attention", "sliding_attention"}:
        raise UnsupportedModel(f"config.json: layer_types {kinds} is not supported for {num_layers} layers.")
    return tuple(window if kind == "sliding_attention" else None for kind in kinds)

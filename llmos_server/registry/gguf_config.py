"""config.json and generation_config.json of a GGUF file, in the keys of Transformers' configs.

Whatever the file asks for and these keys can't say is refused by name.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from llmos_server.errors import UnsupportedModel
from llmos_server.gguf.architectures import ARCHITECTURES, architecture_name
from llmos_server.gguf.dequantize import dequantize
from llmos_server.gguf.reader import GGUFFile
from llmos_server.registry.gguf_metadata import MetadataReader, short
from llmos_server.registry.gguf_vocabulary import end_ids, token_id, token_texts
from llmos_server.registry.gguf_zoo_config import BUILDERS, UNDERSTOOD

LAYER_TENSORS = frozenset(
    {"attn_norm", "attn_q", "attn_k", "attn_v", "attn_output", "ffn_norm", "ffn_gate", "ffn_up", "ffn_down"}
)
ROPE_FREQS = "rope_freqs.weight"
CHANGES_THE_ANSWER = (
    "attention.scale", "attention.output_scale", "attention.value_scale", "attention.clamp_kqv",
    "attention.max_alibi_bias", "attn_logit_softcapping", "final_logit_softcapping", "logit_scale", "embedding_scale",
    "residual_scale", "expert_count", "attention.temperature_scale", "use_parallel_residual", "rope.scale_linear",
    "attention.sliding_window_pattern", "pooling_type",
)  # fmt: skip
"""Keys whose presence with a non-zero value asks for a computation that the configs below don't describe."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """One value of general.architecture."""

    model_type: str
    architecture: str
    has_qkv_bias: bool = False
    has_qk_norm: bool = False
    may_have_bias: bool = False
    """Biases of attention and MLP are an option of the config."""


FAMILIES: dict[str, Family] = {
    "llama": Family(model_type="llama", architecture="LlamaForCausalLM", may_have_bias=True),
    "qwen2": Family(model_type="qwen2", architecture="Qwen2ForCausalLM", has_qkv_bias=True),
    "qwen3": Family(model_type="qwen3", architecture="Qwen3ForCausalLM", has_qk_norm=True),
}
WITHOUT_RMS_NORM = dict.fromkeys(("command-r", "gpt2", "starcoder2"), 1e-5)
"""Architectures that have no use for the number, and any that will do."""
MISTRAL = Family(model_type="mistral", architecture="MistralForCausalLM")
"""Converters call Mistral "llama"; a sliding window tells them apart."""


def build_config(gguf: GGUFFile) -> dict[str, Any]:
    """The config.json of an open file. Raises UnsupportedModel, naming what can't be expressed."""
    stated = gguf.metadata.get("general.architecture")
    name = architecture_name(gguf.metadata)
    family = FAMILIES.get(name)
    if family is None and name not in BUILDERS:
        raise UnsupportedModel(
            f"general.architecture is {short(stated)}; known are {', '.join((*FAMILIES, *BUILDERS))}."
        )
    read = MetadataReader(gguf.metadata, str(stated))
    for key in CHANGES_THE_ANSWER:
        if read.get(key) and key not in UNDERSTOOD.get(name, ()):
            raise UnsupportedModel(f"{stated}.{key} is {short(read.get(key))}, which LLMOS doesn't compute.")
    if family is None:
        return _build_zoo_config(gguf, read, name)
    window = read.get("attention.sliding_window")
    if window and name == "llama":
        family = MISTRAL
    config = {
        "architectures": [family.architecture],
        "model_type": family.model_type,
        "hidden_act": "silu",
        **_common_config(gguf, read, name),
    }
    scaling = _rope_scaling(gguf, read, config)
    if scaling is not None:
        config["rope_scaling"] = scaling
    if family.model_type == "mistral":
        config["sliding_window"] = read.count("attention.sliding_window")
    elif window:
        raise UnsupportedModel(f"{name}.attention.sliding_window is {short(window)}, which LLMOS doesn't compute.")
    config |= _biases(gguf, family)
    _check_tensors(gguf, config, family)
    return config | _special_ids(gguf.metadata)


def _common_config(gguf: GGUFFile, read: MetadataReader, name: str) -> dict[str, Any]:
    hidden_size, num_heads = read.count("embedding_length"), read.count("attention.head_count")
    head_dim = read.count("attention.key_length", hidden_size // num_heads)
    for key in ("attention.value_length", "rope.dimension_count"):
        if read.count(key, head_dim) != head_dim:
            raise UnsupportedModel(
                f"{name}.{key} is {read.get(key)}; only the size of a head, {head_dim}, is computed."
            )
    return {
        "hidden_size": hidden_size,
        "intermediate_size": read.count("feed_forward_length"),
        "num_hidden_layers": read.count("block_count"),
        "num_attention_heads": num_heads,
        "num_key_value_heads": read.count("attention.head_count_kv", num_heads),
        "head_dim": head_dim,
        "max_position_embeddings": read.count("context_length"),
        "vocab_size": _vocab_size(gguf),
        "rms_norm_eps": read.number("attention.layer_norm_rms_epsilon", WITHOUT_RMS_NORM.get(name)),
        "rope_theta": read.number("rope.freq_base", 10_000.0),
        "tie_word_embeddings": "output.weight" not in gguf.tensors,
        "dtype": "float32",
    }


def _build_zoo_config(gguf: GGUFFile, read: MetadataReader, name: str) -> dict[str, Any]:
    """Of an architecture that Transformers' code computes."""
    common = _common_config(gguf, read, name)
    own = BUILDERS[name](read, common)
    if "rope_parameters" in own:
        if ROPE_FREQS in gguf.tensors:
            raise UnsupportedModel(f"Tensor {ROPE_FREQS!r} has no place in a {name} model.")
        del common["rope_theta"]
    elif (scaling := _rope_scaling(gguf, read, common)) is not None:
        common["rope_scaling"] = scaling
    window = read.get("attention.sliding_window")
    if window and "sliding_window" not in own:
        raise UnsupportedModel(f"{name}.attention.sliding_window is {short(window)}, which LLMOS doesn't compute.")
    # No more layers than the file could hold: the number is not to be trusted yet.
    num_layers = min(common["num_hidden_layers"], len(gguf.tensors))
    parts = ARCHITECTURES[name].parameters(num_layers).values()
    _compare_tensors(gguf, {part for stored in parts for part in stored}, name, common["num_hidden_layers"])
    return common | own | _special_ids(gguf.metadata)


def build_generation_config(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """eos_token_id is the list of every token that ends an answer."""
    config: dict[str, Any] = {"eos_token_id": end_ids(metadata, token_texts(metadata))}
    for role, key in (("bos", "bos_token_id"), ("padding", "pad_token_id")):
        found = token_id(metadata, role)
        if found is not None:
            config[key] = found
    return config


def _special_ids(metadata: Mapping[str, Any]) -> dict[str, int | None]:
    roles = {"bos_token_id": "bos", "eos_token_id": "eos", "pad_token_id": "padding"}
    return {key: token_id(metadata, role) for key, role in roles.items()}


def _vocab_size(gguf: GGUFFile) -> int:
    info = gguf.tensors.get("token_embd.weight")
    if info is None or len(info.shape) != 2:
        raise UnsupportedModel("The file has no embedding matrix (token_embd.weight).")
    num_tokens = len(gguf.metadata.get("tokenizer.ggml.tokens", ()))
    if num_tokens > info.shape[0]:
        raise UnsupportedModel(f"The tokenizer has {num_tokens} tokens, the embedding matrix {info.shape[0]} rows.")
    return info.shape[0]


def _rope_scaling(gguf: GGUFFile, read: MetadataReader, config: Mapping[str, Any]) -> dict[str, Any] | None:
    kind = read.get("rope.scaling.type") or "none"
    if ROPE_FREQS in gguf.tensors:
        return _llama3_scaling(gguf, config)
    if kind == "none":
        return None
    if kind != "linear":
        raise UnsupportedModel(f"RoPE scaling {short(kind)} is not supported; 'linear' and Llama 3's are.")
    return {"rope_type": "linear", "factor": read.number("rope.scaling.factor")}


def _llama3_scaling(gguf: GGUFFile, config: Mapping[str, Any]) -> dict[str, Any]:
    """Llama 3's scaling is stored as its effect: a divisor for each pair of a head's dimensions.

    The parameters are found again and must give those divisors.
    """
    info = gguf.tensors[ROPE_FREQS]
    stored = dequantize(gguf.raw(ROPE_FREQS), info.type_name, info.shape).ravel()
    scaling: dict[str, Any] = {
        "rope_type": "llama3",
        "factor": float(stored.max(initial=1.0)),
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }
    steps = np.arange(0, config["head_dim"], 2) / config["head_dim"]
    turns = 8192 * config["rope_theta"] ** -steps / (2 * math.pi)
    kept = np.clip((turns - 1.0) / 3.0, 0.0, 1.0)
    expected = 1 / ((1 - kept) / scaling["factor"] + kept)
    if stored.shape != expected.shape or not np.allclose(stored, expected, rtol=1e-4):
        raise UnsupportedModel(f"{ROPE_FREQS} holds divisors that are not Llama 3's RoPE scaling.")
    return scaling


def _biases(gguf: GGUFFile, family: Family) -> dict[str, bool]:
    if not family.may_have_bias:
        return {}
    return {
        "attention_bias": "blk.0.attn_q.bias" in gguf.tensors,
        "mlp_bias": "blk.0.ffn_gate.bias" in gguf.tensors,
    }


def _check_tensors(gguf: GGUFFile, config: Mapping[str, Any], family: Family) -> None:
    """Exactly the tensors that the config implies: one more or one less means another computation."""
    layer = {f"{name}.weight" for name in LAYER_TENSORS}
    attention = {"attn_q.bias", "attn_k.bias", "attn_v.bias"}
    if family.has_qk_norm:
        layer |= {"attn_q_norm.weight", "attn_k_norm.weight"}
    if family.has_qkv_bias:
        layer |= attention
    if config.get("attention_bias"):
        layer |= attention | {"attn_output.bias"}
    if config.get("mlp_bias"):
        layer |= {"ffn_gate.bias", "ffn_up.bias", "ffn_down.bias"}
    num_layers = config["num_hidden_layers"]
    expected = {f"blk.{i}.{name}" for i in range(min(num_layers, len(gguf.tensors))) for name in layer}
    expected |= {"token_embd.weight", "output_norm.weight"}
    _compare_tensors(gguf, expected, family.model_type, num_layers)


def _compare_tensors(gguf: GGUFFile, expected: set[str], name: str, num_layers: int) -> None:
    missing = sorted(expected - gguf.tensors.keys(), key=_natural)
    if missing or num_layers > len(gguf.tensors):
        raise UnsupportedModel(f"The file has no tensor {missing[0]!r}, which {name} needs.")
    extra = sorted(gguf.tensors.keys() - expected - {"output.weight", ROPE_FREQS}, key=_natural)
    if extra:
        raise UnsupportedModel(f"Tensor {extra[0]!r} has no place in a {name} model.")


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]

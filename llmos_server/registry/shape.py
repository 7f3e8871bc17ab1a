"""What a model's config.json says of its size, under one name for each thing; configs have several."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmos_server.contracts import ModelVersion
from llmos_server.errors import LLMOSError
from llmos_server.registry.json_files import optional_json

NAMES: dict[str, tuple[str, ...]] = {
    "num_layers": ("num_hidden_layers", "n_layer", "n_layers", "num_layers"),
    "hidden_size": ("hidden_size", "n_embd", "d_model", "dim"),
    "intermediate_size": ("intermediate_size", "n_inner", "ffn_dim", "hidden_dim"),
    "num_heads": ("num_attention_heads", "n_head", "n_heads", "num_heads"),
    "num_kv_heads": ("num_key_value_heads", "num_attention_heads", "n_head", "n_heads", "num_heads"),
    "head_size": ("head_dim",),
    "vocab_size": ("vocab_size",),
    "num_experts": ("num_local_experts", "num_experts", "n_routed_experts"),
}
"""Ours -> config.json's, best first."""

_NO_WEIGHTS = ("I8", "I16", "I32", "I64", "U8", "BOOL")


@functools.lru_cache(maxsize=1024)
def read_config(folder: str) -> dict[str, Any]:
    """config.json of a version's folder, which never changes; a text_config's keys lie over the others. Empty where it
    can't be read: loading the model tells why."""
    try:
        config = optional_json(Path(folder, "config.json"))
    except LLMOSError:
        return {}
    inner = config.get("text_config")
    return {**config, **inner} if isinstance(inner, dict) else config


def architecture(config: Mapping[str, Any]) -> str:
    """ "" where the config doesn't say."""
    return str(config.get("model_type") or "")


def shape_of(config: Mapping[str, Any]) -> dict[str, int]:
    """Those of NAMES that are known."""
    found: dict[str, int] = {}
    for name, keys in NAMES.items():
        value = next((config[key] for key in keys if _is_count(config.get(key))), None)
        if value is not None:
            found[name] = value
    if config.get("multi_query") is True:
        found["num_kv_heads"] = 1
    if "head_size" not in found and found.keys() >= {"hidden_size", "num_heads"}:
        found["head_size"] = found["hidden_size"] // found["num_heads"]
    return found


def quantization(version: ModelVersion) -> str:
    """What most of the weights are in their file: "Q4_1", "BF16"; "unknown" where nothing was counted."""
    weights = {name: num for name, num in version.elements.items() if name not in _NO_WEIGHTS}
    return max(weights, key=weights.__getitem__, default="unknown")


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0

"""PEFT's adapter_config.json: what of LoRA is served, and what is refused by name."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from llmos_server.errors import UnsupportedModel

NOT_FOR_SERVING = frozenset(
    {
        "task_type", "base_model_name_or_path", "revision", "inference_mode", "auto_mapping", "peft_type",
        "peft_version", "r", "lora_alpha", "lora_dropout", "use_rslora", "rank_pattern", "alpha_pattern",
        "fan_in_fan_out", "bias", "target_modules", "exclude_modules", "layers_to_transform", "layers_pattern",
        "init_lora_weights", "loftq_config", "eva_config", "corda_config", "lora_ga_config", "runtime_config",
        "ensure_weight_tying", "megatron_core", "qalora_group_size",
    }
)  # fmt: skip
"""Keys that are read here, or say only how it was trained; any other has to be off."""
PLAIN_STARTS = (None, True, False, "gaussian", "eva", "orthogonal")
"""Values of init_lora_weights that leave the base's weights as they are."""
REASONS = {
    "use_dora": "DoRA isn't served. Train plain LoRA, or merge it into its base (merge_and_unload) and pull the result",
    "modules_to_save": "it holds whole layers beside LoRA. Train without modules_to_save, or merge it into its base",
    "lora_bias": "biases of LoRA aren't served. Train with lora_bias: false, or merge it into its base",
}
REMEDY = "Merge it into its base (PEFT's merge_and_unload), and pull the result as a model"
_PLAIN_PATTERN = re.compile(r"\^?[A-Za-z0-9_.]+")


class LoraConfig:
    """Scale and rank of each module."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        """values: what adapter_config.json holds. Raises UnsupportedModel, naming the key, for what isn't served."""
        _refuse_unsupported(values)
        self._rank = _positive(values, "r")
        self._alpha = _positive(values, "lora_alpha")
        self._ranks = _patterns(values, "rank_pattern")
        self._alphas = _patterns(values, "alpha_pattern")
        self._is_rank_stabilised = bool(values.get("use_rslora"))
        self.is_transposed = bool(values.get("fan_in_fan_out"))
        """The base keeps its weights as [in, out]."""

    def rank(self, module: str) -> int:
        return int(_of_module(self._ranks, module, self._rank))

    def scale(self, module: str) -> float:
        rank = self.rank(module)
        return _of_module(self._alphas, module, self._alpha) / (math.sqrt(rank) if self._is_rank_stabilised else rank)


def _refuse_unsupported(values: Mapping[str, Any]) -> None:
    if values.get("peft_type") != "LORA":
        raise _refusal("peft_type", values.get("peft_type"), f"LoRA alone is served. {REMEDY}")
    if values.get("bias", "none") not in ("none", None):
        raise _refusal("bias", values["bias"], f"biases aren't served. Train with bias: none. {REMEDY}")
    start = values.get("init_lora_weights")
    if start not in PLAIN_STARTS:
        raise _refusal("init_lora_weights", start, f"that start changes the base's weights. {REMEDY}")
    for key, value in values.items():
        if key not in NOT_FOR_SERVING and value:
            raise _refusal(key, value, REASONS.get(key, f"that isn't served. {REMEDY}"))


def _refusal(key: str, value: Any, reason: str) -> UnsupportedModel:
    return UnsupportedModel(f"adapter_config.json: {key} is {value!r:.100}: {reason}.")


def _positive(values: Mapping[str, Any], key: str) -> float:
    value = values.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        raise _refusal(key, value, "a positive number is needed")
    return value


def _patterns(values: Mapping[str, Any], key: str) -> dict[str, float]:
    patterns = values.get(key) or {}
    if not isinstance(patterns, dict):
        raise _refusal(key, patterns, "an object is needed")
    for pattern in patterns:
        # Any expression would be PEFT's way; some take for ever, and nobody writes them.
        if not _PLAIN_PATTERN.fullmatch(pattern):
            raise _refusal(key, pattern, "names of modules are read here, other expressions aren't")
    return {pattern: _positive(patterns, pattern) for pattern in patterns}


def _of_module(patterns: Mapping[str, float], module: str, default: float) -> float:
    """As PEFT looks it up: the first whose end it matches."""
    return next((value for key, value in patterns.items() if re.match(rf"(.*\.)?({key})$", module)), default)

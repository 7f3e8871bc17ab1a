"""Rotary position embedding: what a checkpoint asks for, and the tables of cosines and sines."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from llmos_server.errors import UnsupportedModel

DEFAULT_THETA = 10_000.0
KINDS = ("default", "linear", "llama3")


@dataclass(frozen=True, kw_only=True)
class RopeConfig:
    """`factor` counts for linear and llama3, the last three for llama3 alone."""

    theta: float = DEFAULT_THETA
    kind: str = "default"
    factor: float = 1.0
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    original_context_length: int = 8192


def read_rope(values: Mapping[str, Any], context_length: int) -> RopeConfig:
    """From config.json: `rope_parameters` (Transformers 5), else `rope_theta` with `rope_scaling` (older).

    Raises UnsupportedModel for a scaling kind or a partial rotation that isn't implemented.
    """
    given = dict(values.get("rope_scaling") or {}) | dict(values.get("rope_parameters") or {})
    kind = given.get("rope_type") or given.get("type") or "default"
    if kind not in KINDS:
        raise UnsupportedModel(f"config.json: RoPE scaling {kind!r} is not supported; known are {', '.join(KINDS)}.")
    if any(isinstance(value, Mapping) for value in given.values()):
        raise UnsupportedModel("config.json: rope_parameters per kind of layer is not supported.")
    part = given.get("partial_rotary_factor") or values.get("partial_rotary_factor") or 1.0
    if part != 1.0:
        raise UnsupportedModel(f"config.json: partial_rotary_factor {part} is not supported; only 1.0 is.")
    theta = float(given.get("rope_theta") or values.get("rope_theta") or DEFAULT_THETA)
    if kind == "default":
        return RopeConfig(theta=theta)
    if kind == "linear":
        return RopeConfig(theta=theta, kind=kind, factor=_number(given, "factor"))
    return RopeConfig(
        theta=theta,
        kind=kind,
        factor=_number(given, "factor"),
        low_freq_factor=_number(given, "low_freq_factor"),
        high_freq_factor=_number(given, "high_freq_factor"),
        original_context_length=int(given.get("original_max_position_embeddings") or context_length),
    )


def _number(given: Mapping[str, Any], name: str) -> float:
    value = given.get(name)
    if not isinstance(value, int | float) or value <= 0:
        raise UnsupportedModel(f"config.json: RoPE scaling needs a positive {name}, it is {value!r}.")
    return float(value)


def rope_frequencies(rope: RopeConfig, head_dim: int, divisors: torch.Tensor | None = None) -> torch.Tensor:
    """Radians per position, float32 [head_dim / 2].

    divisors: the checkpoint's own, [head_dim / 2] (GGUF's rope_freqs.weight); they stand in for llama3 scaling.
    """
    steps = torch.arange(0, head_dim, 2, dtype=torch.int64).to(torch.float32)
    plain = 1.0 / (rope.theta ** (steps / head_dim))
    if divisors is not None:
        return plain / divisors
    if rope.kind == "linear":
        return plain / rope.factor
    if rope.kind == "llama3":
        return _llama3_frequencies(rope, plain)
    return plain


def _llama3_frequencies(rope: RopeConfig, plain: torch.Tensor) -> torch.Tensor:
    """Low frequencies are divided by the factor, high ones kept, those between blended linearly in context turns."""
    turns = rope.original_context_length * plain / (2 * math.pi)
    blend = (turns - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor)
    blend = blend.clamp(0.0, 1.0)
    return (1 - blend) * plain / rope.factor + blend * plain


def rope_table(frequencies: torch.Tensor, num_positions: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosines and sines, float32 [num_positions, head_dim / 2] each.

    Made once: looked up, a position's values can't depend on what else is in a batch.
    """
    angles = torch.arange(num_positions, dtype=torch.float32)[:, None] * frequencies[None, :]
    return angles.cos(), angles.sin()

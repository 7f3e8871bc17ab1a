"""PEFT folders, and a base for them, from numpy alone. A plain module: conftest.py puts this folder on sys.path."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from llmos_server.contracts import ModelVersion

BASE_SHA = "sha256:" + "b" * 64
Q_PROJ = "model.layers.0.self_attn.q_proj"
DOWN = "model.layers.0.mlp.down_proj"
SHAPES = {Q_PROJ: (16, 8), DOWN: (8, 32)}


def create_base(folder: Path, name: str = "tiny:1b") -> ModelVersion:
    """With two linear layers and a norm."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {f"{module}.weight": np.zeros(shape, np.float32) for module, shape in SHAPES.items()}
    weights["model.norm.weight"] = np.zeros(8, np.float32)
    save_file(weights, folder / "model.safetensors")
    return ModelVersion(
        name=name, source=name, digest=BASE_SHA, folder=str(folder), weights=[str(folder / "model.safetensors")],
        context_length=64, size_bytes=1, created=1,
    )  # fmt: skip


def create_adapter(
    folder: Path,
    *,
    rank: int = 2,
    shapes: dict[str, tuple[int, int]] = SHAPES,
    seed: int = 0,
    tensors: dict[str, Any] | None = None,
    metadata: dict[str, str] | None = None,
    **config: Any,
) -> Path:
    """What PEFT would save. tensors: instead of, or beside, the right ones."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(seed)
    weights: dict[str, Any] = {}
    for module, (num_out, num_in) in shapes.items():
        weights[f"base_model.model.{module}.lora_A.weight"] = draw.normal(size=(rank, num_in)).astype(np.float32)
        weights[f"base_model.model.{module}.lora_B.weight"] = draw.normal(size=(num_out, rank)).astype(np.float32)
    save_file(weights | (tensors or {}), folder / "adapter_model.safetensors", metadata)
    values = {"peft_type": "LORA", "r": rank, "lora_alpha": 4, "bias": "none", "init_lora_weights": True, **config}
    (folder / "adapter_config.json").write_text(json.dumps(values))
    return folder

"""An adapter's tensors, as the registry has checked and kept them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from safetensors import SafetensorError, safe_open

from llmos_server.adapter_contracts import ADAPTER_SPEC, ADAPTER_WEIGHTS, AdapterSpec
from llmos_server.errors import UnsupportedModel
from llmos_server.kernels.base import LowRankUpdate

Updates = dict[str, LowRankUpdate]
"""Module of the base, by its name there -> what is added to its outputs."""


def read_adapter(folder: Path) -> Updates:
    """Raises UnsupportedModel when it isn't there, or can't be read."""
    try:
        spec = msgspec.json.decode((folder / ADAPTER_SPEC).read_bytes(), type=AdapterSpec)
        with safe_open(folder / ADAPTER_WEIGHTS, framework="pt") as file:
            return {module: _read_update(file, module, scale) for module, scale in spec.scales.items()}
    except (OSError, msgspec.MsgspecError, SafetensorError) as error:
        raise UnsupportedModel(f"The adapter's files in {folder} can't be read ({error}). Add it again.") from None


def _read_update(file: Any, module: str, scale: float) -> LowRankUpdate:
    down, up = (file.get_tensor(f"base_model.model.{module}.lora_{side}.weight").float() for side in "AB")
    return LowRankUpdate(down, up, scale)


def refuse_rest(updates: Updates, known: set[str], architecture: str) -> None:
    """Raises UnsupportedModel when the adapter changes a module that isn't among the known ones."""
    rest = sorted(updates.keys() - known)
    if rest:
        raise UnsupportedModel(
            f"The adapter changes {rest[0]}, which isn't served for {architecture}. Leave it out of target_modules."
        )

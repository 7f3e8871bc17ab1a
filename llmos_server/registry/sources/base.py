"""What every source of models gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """Weights on disk, ready to be imported."""

    weights: tuple[Path, ...]
    """One .gguf, or safetensors shards in the order of their names; absolute."""
    config_folder: Path | None = None
    """Where config.json and the tokenizer lie; None: they are inside the .gguf."""
    in_place: bool = False
    """The weights are the user's own files and stay where they are; else they may be moved."""
    sha256: Mapping[Path, str] = field(default_factory=dict)
    """Digests of weights that are known already, because they were checked."""
    code_files: tuple[Path, ...] = ()
    """Python files that are taken, because the operator has named the model in models.remote_code."""
    expected_sha256: Mapping[Path, str] = field(default_factory=dict)
    """Digests that the source promises and that nobody has checked yet."""

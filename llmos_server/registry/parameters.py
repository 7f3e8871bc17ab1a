"""How many parameters a checkpoint has, from the heads of its files: what its weights take in memory depends on it."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

from llmos_server.errors import PullError
from llmos_server.gguf.reader import GGUFFile


def count_parameters(weights: Sequence[Path]) -> int:
    """Elements of all weight tensors, by their logical shapes: packing changes nothing.

    weights: one .gguf, or safetensors shards that were found to be whole. Raises PullError for a damaged head.
    """
    return sum(_count_gguf(path) if path.suffix == ".gguf" else _count_safetensors(path) for path in weights)


def _count_gguf(path: Path) -> int:
    with GGUFFile.open(path) as gguf:
        return sum(math.prod(info.shape) for info in gguf.tensors.values())


def _count_safetensors(path: Path) -> int:
    try:
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        return sum(math.prod(map(int, entry["shape"])) for key, entry in header.items() if key != "__metadata__")
    except OSError as error:
        raise PullError(f"{path}: can't be read ({error.strerror}). Fetch the model again.") from None
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        raise PullError(f"{path}: damaged safetensors header. Fetch it again.") from None

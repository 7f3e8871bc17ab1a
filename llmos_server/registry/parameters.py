"""How many parameters of which type a checkpoint has, from the heads of its files: its memory depends on it."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from llmos_server.contracts import ModelVersion
from llmos_server.errors import PullError
from llmos_server.gguf.reader import GGUFFile


def count_elements(weights: Sequence[Path]) -> dict[str, int]:
    """Type -> elements of its tensors, by their logical shapes: packing changes nothing.

    weights: one .gguf, or safetensors shards that were found to be whole. Raises PullError for a damaged head.
    """
    counts: Counter[str] = Counter()
    for path in weights:
        for type_name, count in _gguf_tensors(path) if path.suffix == ".gguf" else _safetensors(path):
            counts[type_name] += count
    return dict(counts)


def with_elements(version: ModelVersion) -> ModelVersion:
    """The same, counted if it is an import of old, which wasn't. Raises as count_elements."""
    if version.elements:
        return version
    elements = count_elements([Path(path) for path in version.weights])
    return msgspec.structs.replace(version, elements=elements, num_parameters=sum(elements.values()))


def _gguf_tensors(path: Path) -> Iterator[tuple[str, int]]:
    with GGUFFile.open(path) as gguf:
        yield from ((info.type_name, math.prod(info.shape)) for info in gguf.tensors.values())


def _safetensors(path: Path) -> list[tuple[str, int]]:
    try:
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        entries = (entry for key, entry in header.items() if key != "__metadata__")
        return [(str(entry["dtype"]), math.prod(map(int, entry["shape"]))) for entry in entries]
    except OSError as error:
        raise PullError(f"{path}: can't be read ({error.strerror}). Fetch the model again.") from None
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        raise PullError(f"{path}: damaged safetensors header. Fetch it again.") from None

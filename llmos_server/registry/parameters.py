"""How many parameters of which type a checkpoint has, from the heads of its files: its memory depends on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec

from llmos_server.contracts import ModelVersion
from llmos_server.registry.tensors import read_tensors


def count_elements(weights: Sequence[Path]) -> dict[str, int]:
    """Type -> elements of its tensors, by their logical shapes: packing changes nothing.

    weights: one .gguf, or safetensors shards that were found to be whole. Raises PullError for a damaged head.
    """
    counts: Counter[str] = Counter()
    for tensor in read_tensors(weights):
        counts[tensor.type_name] += tensor.num_elements
    return dict(counts)


def with_elements(version: ModelVersion) -> ModelVersion:
    """The same, counted if it is an import of old, which wasn't. Raises as count_elements."""
    if version.elements:
        return version
    elements = count_elements([Path(path) for path in version.weights])
    return msgspec.structs.replace(version, elements=elements, num_parameters=sum(elements.values()))

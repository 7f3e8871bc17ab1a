"""Packed GGUF blocks to float32, in numpy. grouped.py knows the layouts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from llmos_server.errors import UnsupportedModel
from llmos_server.gguf import legacy_blocks
from llmos_server.gguf.blocks import Bytes, Floats, as_blocks
from llmos_server.gguf.grouped import GROUPED
from llmos_server.gguf.types import READABLE_TYPES

CHUNK_ELEMENTS = 1 << 18
"""Elements converted at a time: temporaries stay below 2 MiB, which is in cache, beside the result."""


def dequantize(raw: Bytes, type_name: str, shape: Sequence[int]) -> Floats:
    """The values of a tensor, or of whole rows of one.

    raw: uint8, the packed bytes in file order, exactly as many as `shape` needs.
    type_name: one of READABLE_TYPES. shape: row-major, the last dimension is the packed one.
    Returns a new float32 array of `shape`.
    Raises UnsupportedModel for another type and ValueError when the sizes don't agree.
    """
    layout = READABLE_TYPES.get(type_name)
    if layout is None:
        raise UnsupportedModel(
            f"Tensors of type {type_name} can't be read; known are {', '.join(READABLE_TYPES)}. "
            "Take a file of the same model in one of these (Q8_0 is common)."
        )
    packed = as_blocks(raw, layout, shape)
    num_blocks = len(packed)
    values = np.empty((num_blocks, layout.block_size), dtype=np.float32)
    step = CHUNK_ELEMENTS // layout.block_size
    for start in range(0, num_blocks, step):
        _convert(type_name, packed[start : start + step], values[start : start + step])
    return values.reshape(shape)


def _convert(type_name: str, blocks: Bytes, out: Floats) -> None:
    if type_name in FLOATS:
        FLOATS[type_name](blocks, out)
        return
    quants, scales, minima = GROUPED[type_name](blocks)
    grouped = out.reshape(*scales.shape, -1)
    np.multiply(quants.reshape(grouped.shape), scales[:, :, None], out=grouped)
    if minima is not None:
        np.add(grouped, minima[:, :, None], out=grouped)


FLOATS: dict[str, Callable[[Bytes, Floats], None]] = {
    "F32": legacy_blocks.f32,
    "F16": legacy_blocks.f16,
    "BF16": legacy_blocks.bf16,
}
"""Each turns blocks, uint8 [blocks, block_bytes], into float32 [blocks, 1]."""

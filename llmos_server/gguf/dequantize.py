"""Packed GGUF blocks to float32, in numpy.

A block holds 32 elements. d and m are little-endian float16; q are the stored integers.
Q8_0: d, 32 signed bytes; value = d * q.
Q4_0: d, 16 bytes of nibble pairs; value = d * (q - 8).
Q4_1: d, m, 16 bytes of nibble pairs; value = d * q + m.
Low nibbles are elements 0-15 of the block, high nibbles 16-31.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from llmos_server.errors import UnsupportedModel
from llmos_server.gguf.types import READABLE_TYPES

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

CHUNK_BLOCKS = 1 << 16
"""Blocks converted at a time, so that temporaries stay at a few MiB beside the result."""


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
    num_elements = math.prod(shape)
    num_blocks = num_elements // layout.block_size
    if (shape and shape[-1] % layout.block_size) or raw.size != num_blocks * layout.block_bytes:
        raise ValueError(f"{raw.size} bytes of {type_name} don't make a tensor of shape {tuple(shape)}")
    packed = raw.reshape(num_blocks, layout.block_bytes)
    values = np.empty((num_blocks, layout.block_size), dtype=np.float32)
    convert = CONVERTERS[type_name]
    for start in range(0, num_blocks, CHUNK_BLOCKS):
        end = start + CHUNK_BLOCKS
        convert(packed[start:end], values[start:end])
    return values.reshape(shape)


def _half(blocks: Bytes, column: int) -> Floats:
    """The float16 at byte `column` of each block, as float32 [blocks, 1]."""
    return np.ascontiguousarray(blocks[:, column : column + 2]).view("<f2").astype(np.float32)


def _nibbles(packed: Bytes) -> Bytes:
    return np.concatenate((packed & np.uint8(15), packed >> np.uint8(4)), axis=1)


def _q8_0(blocks: Bytes, out: Floats) -> None:
    np.multiply(blocks[:, 2:].view(np.int8), _half(blocks, 0), out=out)


def _q4_0(blocks: Bytes, out: Floats) -> None:
    np.multiply(_nibbles(blocks[:, 2:]).view(np.int8) - np.int8(8), _half(blocks, 0), out=out)


def _q4_1(blocks: Bytes, out: Floats) -> None:
    np.multiply(_nibbles(blocks[:, 4:]), _half(blocks, 0), out=out)
    np.add(out, _half(blocks, 2), out=out)


def _bf16(blocks: Bytes, out: Floats) -> None:
    out.view(np.uint32)[...] = np.ascontiguousarray(blocks).view("<u2").astype(np.uint32) << np.uint32(16)


def _f16(blocks: Bytes, out: Floats) -> None:
    out[...] = np.ascontiguousarray(blocks).view("<f2")


def _f32(blocks: Bytes, out: Floats) -> None:
    out[...] = np.ascontiguousarray(blocks).view("<f4")


CONVERTERS: dict[str, Callable[[Bytes, Floats], None]] = {
    "F32": _f32,
    "F16": _f16,
    "BF16": _bf16,
    "Q8_0": _q8_0,
    "Q4_0": _q4_0,
    "Q4_1": _q4_1,
}

"""What all block layouts have in common: the array types, and scales and small integers taken out of packed bytes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from llmos_server.gguf.types import TensorType

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Quants = npt.NDArray[np.uint8] | npt.NDArray[np.int8]


class Groups(NamedTuple):
    """Blocks as integers, in groups that share a scale: value = scale * quant (+ minimum)."""

    quants: Quants
    """[blocks, elements of a block]"""
    scales: Floats
    """[blocks, groups of a block]"""
    minima: Floats | None = None
    """The same, or None where the layout has none."""


def as_blocks(raw: Bytes, layout: TensorType, shape: Sequence[int]) -> Bytes:
    """[blocks, block_bytes]. Raises ValueError when the bytes aren't those of the shape."""
    num_blocks = math.prod(shape) // layout.block_size
    if (shape and shape[-1] % layout.block_size) or raw.size != num_blocks * layout.block_bytes:
        raise ValueError(f"{raw.size} bytes of {layout.name} don't make a tensor of shape {tuple(shape)}")
    return raw.reshape(num_blocks, layout.block_bytes)


def half(blocks: Bytes, column: int) -> Floats:
    """The little-endian float16 at byte `column` of each block, as float32 [blocks, 1]."""
    return np.ascontiguousarray(blocks[:, column : column + 2]).view("<f2").astype(np.float32)


def unpack(packed: Bytes, num_bits: int, run: int) -> Bytes:
    """Integers of 1, 2 or 4 bits. packed: [blocks, n]. Returns [blocks, n * 8 / num_bits].

    A run of `run` bytes holds, in this order, the lowest bits of all its bytes, then the next higher ones, and so on.
    """
    shifts = np.arange(0, 8, num_bits, dtype=np.uint8)[:, None]
    fields = packed.reshape(len(packed), -1, 1, run) >> shifts
    fields &= np.uint8((1 << num_bits) - 1)
    return fields.reshape(len(packed), -1)

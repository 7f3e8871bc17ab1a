"""Packed GGUF blocks to float32, in numpy. The layouts are in legacy_blocks.py, k_quants.py and iq4.py."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from llmos_server.errors import UnsupportedModel
from llmos_server.gguf import iq4, k_quants, legacy_blocks
from llmos_server.gguf.blocks import Bytes, Floats
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
    num_elements = math.prod(shape)
    num_blocks = num_elements // layout.block_size
    if (shape and shape[-1] % layout.block_size) or raw.size != num_blocks * layout.block_bytes:
        raise ValueError(f"{raw.size} bytes of {type_name} don't make a tensor of shape {tuple(shape)}")
    packed = raw.reshape(num_blocks, layout.block_bytes)
    values = np.empty((num_blocks, layout.block_size), dtype=np.float32)
    convert = CONVERTERS[type_name]
    step = CHUNK_ELEMENTS // layout.block_size
    for start in range(0, num_blocks, step):
        convert(packed[start : start + step], values[start : start + step])
    return values.reshape(shape)


CONVERTERS: dict[str, Callable[[Bytes, Floats], None]] = {
    "F32": legacy_blocks.f32,
    "F16": legacy_blocks.f16,
    "BF16": legacy_blocks.bf16,
    "Q8_0": legacy_blocks.q8_0,
    "Q4_0": legacy_blocks.q4_0,
    "Q4_1": legacy_blocks.q4_1,
    "Q5_0": legacy_blocks.q5_0,
    "Q5_1": legacy_blocks.q5_1,
    "Q2_K": k_quants.q2_k,
    "Q3_K": k_quants.q3_k,
    "Q4_K": k_quants.q4_k,
    "Q5_K": k_quants.q5_k,
    "Q6_K": k_quants.q6_k,
    "IQ4_NL": iq4.iq4_nl,
    "IQ4_XS": iq4.iq4_xs,
}
"""Each turns blocks, uint8 [blocks, block_bytes], into float32 [blocks, block_size]: READABLE_TYPES, to the last."""

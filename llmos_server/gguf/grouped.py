"""The block types that hold integers with scales, and how each is taken apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llmos_server.gguf import iq4, k_quants, legacy_blocks
from llmos_server.gguf.blocks import Bytes, Groups, as_blocks
from llmos_server.gguf.types import READABLE_TYPES

GROUPED: dict[str, Callable[[Bytes], Groups]] = {
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
"""Each takes blocks, uint8 [blocks, block_bytes], apart. With the floats of dequantize.py they are READABLE_TYPES."""


def take_apart(raw: Bytes, type_name: str, shape: Sequence[int]) -> Groups:
    """Rows of a matrix as integers and scales.

    raw: uint8, the packed bytes in file order. type_name: one of GROUPED. shape: [rows, columns].
    Returns quants [rows, columns], scales and minima [rows, groups].
    """
    rows, columns = shape
    quants, scales, minima = GROUPED[type_name](as_blocks(raw, READABLE_TYPES[type_name], shape))
    return Groups(
        quants.reshape(rows, columns), scales.reshape(rows, -1), None if minima is None else minima.reshape(rows, -1)
    )

"""Blocks of 32 elements with one scale, and plain floats.

d and m are little-endian float16; q are the stored integers.
Q8_0: d, 32 signed bytes; value = d * q.
Q4_0: d, 16 bytes of nibble pairs; value = d * (q - 8).
Q4_1: d, m, 16 bytes of nibble pairs; value = d * q + m.
Q5_0: d, 32 fifth bits, 16 bytes of nibble pairs; value = d * (q - 16).
Q5_1: d, m, 32 fifth bits, 16 bytes of nibble pairs; value = d * q + m.
Low nibbles are elements 0-15 of the block, high nibbles 16-31; bit n of the fifth bits belongs to element n.
"""

from __future__ import annotations

import numpy as np

from llmos_server.gguf.blocks import Bytes, Floats, Groups, half, unpack


def f32(blocks: Bytes, out: Floats) -> None:
    out[...] = np.ascontiguousarray(blocks).view("<f4")


def f16(blocks: Bytes, out: Floats) -> None:
    out[...] = np.ascontiguousarray(blocks).view("<f2")


def bf16(blocks: Bytes, out: Floats) -> None:
    out.view(np.uint32)[...] = np.ascontiguousarray(blocks).view("<u2").astype(np.uint32) << np.uint32(16)


def q8_0(blocks: Bytes) -> Groups:
    return Groups(blocks[:, 2:].view(np.int8), half(blocks, 0))


def q4_0(blocks: Bytes) -> Groups:
    return Groups(unpack(blocks[:, 2:], 4, run=16).view(np.int8) - np.int8(8), half(blocks, 0))


def q4_1(blocks: Bytes) -> Groups:
    return Groups(unpack(blocks[:, 4:], 4, run=16), half(blocks, 0), half(blocks, 2))


def q5_0(blocks: Bytes) -> Groups:
    return Groups(_with_fifth_bit(blocks[:, 6:], blocks[:, 2:6]).view(np.int8) - np.int8(16), half(blocks, 0))


def q5_1(blocks: Bytes) -> Groups:
    return Groups(_with_fifth_bit(blocks[:, 8:], blocks[:, 4:8]), half(blocks, 0), half(blocks, 2))


def _with_fifth_bit(nibbles: Bytes, bits: Bytes) -> Bytes:
    quants = unpack(nibbles, 4, run=16)
    quants |= np.unpackbits(bits, axis=1, bitorder="little") << np.uint8(4)
    return quants

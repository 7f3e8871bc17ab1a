"""Super-blocks of 256 elements: groups of 16 or 32, each with a small integer scale, under one or two float16.

d and dmin are the super-block's float16; s and m a group's integers; q an element's.
Q2_K: 16 groups; s and m of 4 bits, q of 2; value = (d * s) * q - (dmin * m).
Q3_K: 16 groups; s of 6 bits less 32, q of 3 less 4; value = (d * s) * q.
Q4_K: 8 groups; s and m of 6 bits, q of 4; value = (d * s) * q - (dmin * m).
Q5_K: as Q4_K with q of 5 bits.
Q6_K: 16 groups; s a signed byte, q of 6 bits less 32; value = (d * s) * q.
The order of the products is part of the format: it decides the last bit.
"""

from __future__ import annotations

import numpy as np

from llmos_server.gguf.blocks import Bytes, Groups, half, unpack


def q2_k(blocks: Bytes) -> Groups:
    """16 bytes of s and m, 64 of q, d, dmin."""
    scales = unpack(blocks[:, :16], 4, run=16)
    quants = unpack(blocks[:, 16:80], 2, run=32)
    return Groups(quants, half(blocks, 80) * scales[:, :16], -(half(blocks, 82) * scales[:, 16:]))


def q3_k(blocks: Bytes) -> Groups:
    """32 bytes of third bits, 64 of lower bits, 12 of s (lower 4 bits, then upper 2), d."""
    scales = unpack(blocks[:, 96:104], 4, run=8)
    scales |= unpack(blocks[:, 104:108], 2, run=4) << np.uint8(4)
    quants = unpack(blocks[:, 32:96], 2, run=32)
    quants |= unpack(blocks[:, :32], 1, run=32) << np.uint8(2)
    return Groups(quants.view(np.int8) - np.int8(4), half(blocks, 108) * (scales.view(np.int8) - np.int8(32)))


def q4_k(blocks: Bytes) -> Groups:
    """d, dmin, 12 bytes of s and m, 128 of q."""
    scales, mins = _scales_and_mins(blocks[:, 4:16])
    return Groups(unpack(blocks[:, 16:], 4, run=32), half(blocks, 0) * scales, -(half(blocks, 2) * mins))


def q5_k(blocks: Bytes) -> Groups:
    """d, dmin, 12 bytes of s and m, 32 of fifth bits, 128 of lower bits."""
    scales, mins = _scales_and_mins(blocks[:, 4:16])
    quants = unpack(blocks[:, 48:], 4, run=32)
    quants |= unpack(blocks[:, 16:48], 1, run=32) << np.uint8(4)
    return Groups(quants, half(blocks, 0) * scales, -(half(blocks, 2) * mins))


def q6_k(blocks: Bytes) -> Groups:
    """128 bytes of lower bits, 64 of upper bits, 16 of s, d."""
    quants = unpack(blocks[:, :128], 4, run=64)
    quants |= unpack(blocks[:, 128:192], 2, run=32) << np.uint8(4)
    return Groups(quants.view(np.int8) - np.int8(32), half(blocks, 208) * blocks[:, 192:208].view(np.int8))


def _scales_and_mins(packed: Bytes) -> tuple[Bytes, Bytes]:
    """Eight s and eight m of 6 bits in 12 bytes.

    Bytes 0-3 hold s 0-3 and, on top, the upper 2 bits of s 4-7; bytes 4-7 the same of m; bytes 8-11 the lower 4 bits
    of s 4-7 and, on top, of m 4-7.
    """
    first, lower = packed[:, :8], packed[:, 8:]
    head, top = first & np.uint8(63), (first >> np.uint8(6)) << np.uint8(4)
    scales = np.concatenate((head[:, :4], (lower & np.uint8(15)) | top[:, :4]), axis=1)
    mins = np.concatenate((head[:, 4:], (lower >> np.uint8(4)) | top[:, 4:]), axis=1)
    return scales, mins

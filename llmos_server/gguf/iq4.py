"""Blocks whose 4-bit integers stand for 16 unevenly spaced levels.

IQ4_NL: 32 elements; float16 d, 16 bytes of nibble pairs; value = d * level.
IQ4_XS: 256 elements; float16 d, then eight groups' s of 6 bits less 32 (upper 2 bits in 2 bytes, lower 4 in 4 bytes),
128 bytes of nibble pairs, 16 bytes a group; value = (d * s) * level.
In 16 bytes of pairs the low nibbles are elements 0-15, the high ones 16-31.
"""

from __future__ import annotations

import numpy as np

from llmos_server.gguf.blocks import Bytes, Groups, half

LEVELS = (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)
LOW_NIBBLE = bytes(LEVELS[byte & 15] & 255 for byte in range(256))
HIGH_NIBBLE = bytes(LEVELS[byte >> 4] & 255 for byte in range(256))
"""Byte to level, as the level's own byte: bytes.translate is several times faster than indexing an array."""

RUN = 16


def iq4_nl(blocks: Bytes) -> Groups:
    return Groups(_levels(blocks[:, 2:]).reshape(len(blocks), 32), half(blocks, 0))


def iq4_xs(blocks: Bytes) -> Groups:
    upper = np.ascontiguousarray(blocks[:, 2:4]).view("<u2") >> np.arange(0, 16, 2, dtype=np.uint16)
    lower = np.stack((blocks[:, 4:8] & np.uint8(15), blocks[:, 4:8] >> np.uint8(4)), axis=2).reshape(-1, 8)
    scales = (lower | ((upper & np.uint16(3)).astype(np.uint8) << np.uint8(4))).view(np.int8) - np.int8(32)
    return Groups(_levels(blocks[:, 8:]).reshape(len(blocks), 256), half(blocks, 0) * scales)


def _levels(pairs: Bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.int8]]:
    """pairs: [blocks, n]. Returns int8 [blocks * n / 16, 2, 16]."""
    packed = pairs.tobytes()
    nibbles = (np.frombuffer(packed.translate(table), dtype=np.int8) for table in (LOW_NIBBLE, HIGH_NIBBLE))
    return np.stack([levels.reshape(-1, RUN) for levels in nibbles], axis=1)

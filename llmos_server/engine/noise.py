"""Randomness without state: one uniform number as a function of (seed, choice index, position).

Nothing to lose in a preemption, nothing shared between sequences. The function is part of what a seed promises:
changing it changes every seeded text.
"""

from __future__ import annotations

import hashlib
import struct

BITS = 52
"""One fewer than a float64 holds, so that u * total < total for every float64 total."""
DOMAIN = b"llmos.sample"


def uniform(seed: int, choice: int, position: int) -> float:
    """A float64 in [0, 1). seed: taken modulo 2**64; choice and position (of the token in the sequence): from 0."""
    key = struct.pack("<QQQ", seed & (2**64 - 1), choice, position)
    digest = hashlib.blake2b(key, digest_size=8, person=DOMAIN).digest()
    return (int.from_bytes(digest, "little") >> (64 - BITS)) / (1 << BITS)

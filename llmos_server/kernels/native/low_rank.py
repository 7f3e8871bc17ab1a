"""Adapters as the compiled kernels read them: src/abi.h's LowRank, in float16.

Each matrix is multiplied by a power of two that puts its largest number near the upper end of float16, and the scale
takes it back: so small numbers keep their bits.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Mapping, Sequence
from ctypes import c_int32
from typing import NamedTuple

import numpy as np

from llmos_server.kernels.base import LowRankUpdate
from llmos_server.kernels.native.huge_pages import Array, Empty, HugePages
from llmos_server.kernels.native.library import MAX_PARTS, LowRank, LowRankLayer
from llmos_server.kernels.native.packing import LANES, address

LARGEST_EXPONENT = 11
"""Of what float16 can hold, 2 ** 15, a margin away."""
Part = tuple[int, LowRankUpdate | None]
"""Outputs of one of the matrices that stand side by side, and what an adapter adds to them."""


class Product(NamedTuple):
    num_in: int
    parts: Sequence[Part]


class PackedAdapter:
    """One adapter's matrices, and the structs that point to them. They have to stay where they are while it is used."""

    def __init__(self, layers: Sequence[Mapping[str, Product]]) -> None:
        """layers: by the names of LowRankLayer's fields."""
        memory = HugePages()
        self._arrays: list[Array] = []
        self._structs = (LowRankLayer * len(layers))()
        for struct, layer in zip(self._structs, layers, strict=True):
            for name, product in layer.items():
                setattr(struct, name, self._pack(*product, memory.empty))

    @property
    def address(self) -> int:
        """Of its first layer."""
        return ctypes.addressof(self._structs)

    @property
    def num_bytes(self) -> int:
        return sum(array.nbytes for array in self._arrays)

    def _pack(self, num_in: int, parts: Sequence[Part], empty: Empty) -> LowRank:
        ranks = [0 if update is None else update.down.shape[0] for _, update in parts]
        rank, num_tiles = sum(ranks), [-(-num_out // LANES) for num_out, _ in parts]
        if not rank:
            return LowRank()
        rank_tiles = -(-rank // LANES)
        down = empty((rank_tiles, num_in, LANES), np.float16)
        up = empty((sum(tiles * LANES * own for tiles, own in zip(num_tiles, ranks, strict=True)),), np.float16)
        scales = np.zeros(rank_tiles * LANES, np.float32)
        rows, start = np.zeros((rank_tiles * LANES, num_in), np.float16), 0
        at = 0
        for tiles, own, (_, update) in zip(num_tiles, ranks, parts, strict=True):
            if update is None:
                continue
            rows[at : at + own], down_exponent = _to_halves(update.down.numpy())
            wide, up_exponent = _to_halves(update.up.numpy())
            scales[at : at + own] = math.ldexp(update.scale, -down_exponent - up_exponent)
            padded = np.zeros((tiles * LANES, own), np.float16)
            padded[: len(wide)] = wide
            size = tiles * LANES * own
            up[start : start + size] = padded.reshape(tiles, LANES, own).transpose(0, 2, 1).reshape(-1)
            at, start = at + own, start + size
        down[:] = rows.reshape(rank_tiles, LANES, num_in).transpose(0, 2, 1)
        self._arrays += [down, up, scales]
        return LowRank(address(down), address(scales), address(up), rank, (c_int32 * MAX_PARTS)(*ranks))


def _to_halves(matrix: Array) -> tuple[Array, int]:
    """matrix * 2 ** exponent, and the exponent."""
    largest = float(np.abs(matrix).max(initial=0.0))
    exponent = LARGEST_EXPONENT - math.frexp(largest)[1] if largest else 0
    return np.ldexp(matrix.astype(np.float32), exponent).astype(np.float16), exponent

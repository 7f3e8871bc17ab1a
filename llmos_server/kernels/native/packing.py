"""Matrices as the compiled kernels read them: tiles of 16 outputs, whose weights for a few inputs lie side by side.

Integers lie in blocks of 32 inputs, in quads of 4 inputs of every output, as src/weights.h says; floats as [tiles,
inputs, 16], scales and minima, which are float16, as [tiles, groups, 16].
One vector load then serves 16 outputs. The layout comes from a measurement: with an output after the other, the same
arithmetic takes 2 to 5 times as long.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from llmos_server.kernels.native.huge_pages import Array, Empty
from llmos_server.kernels.native.library import Matrix, Stack

LANES = 16
BLOCK = 32
UINT4, UINT5, UINT6, INT8, FLOAT32, BFLOAT16, FLOAT16 = range(7)
UINTS = {4: UINT4, 5: UINT5, 6: UINT6}
"""By their bits."""
KINDS = {torch.float32: FLOAT32, torch.bfloat16: BFLOAT16, torch.float16: FLOAT16}


@dataclass(frozen=True)
class PackedMatrix:
    """abi.h's Matrix, and the memory that it points to."""

    kind: int
    num_out: int
    num_in: int
    values: Array
    group: int = 0
    scales: Array | None = None
    minima: Array | None = None
    bias: Array | None = None

    @property
    def struct(self) -> Matrix:
        places = map(address, (self.values, self.scales, self.minima, self.bias))
        return Matrix(self.kind, self.num_out, self.num_in, self.group, *places)

    @property
    def num_bytes(self) -> int:
        arrays = (self.values, self.scales, self.minima, self.bias)
        return sum(array.nbytes for array in arrays if array is not None)


@dataclass(frozen=True)
class PackedStack:
    """abi.h's Stack, and the matrices that it points to."""

    parts: tuple[PackedMatrix, ...]
    structs: Any = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "structs", (Matrix * len(self.parts))(*(part.struct for part in self.parts)))

    @property
    def num_out(self) -> int:
        return sum(part.num_out for part in self.parts)

    @property
    def is_quantised(self) -> bool:
        return self.parts[0].kind not in KINDS.values()

    def struct(self, bits: int) -> Stack:
        """bits: of the integers that activations are rounded to, 8 or 16; weights that are floats take floats."""
        own_bits = bits if self.is_quantised else 0
        return Stack(self.structs, len(self.parts), self.parts[0].num_in, self.num_out, own_bits)

    @property
    def num_bytes(self) -> int:
        return sum(part.num_bytes for part in self.parts)


def address(array: Array | None) -> int | None:
    return None if array is None else array.ctypes.data


def unfilled(
    bits: int, shape: tuple[int, int], group: int, has_minima: bool, bias: Array | None, empty: Empty = np.empty
) -> PackedMatrix:
    """For Library.repack to fill. bits: 4, 5, 6 or 8. shape: [out, in]."""
    num_out, num_in = shape
    num_tiles = -(-num_out // LANES)
    values = empty((num_tiles, num_in // BLOCK, bits, 4 * LANES), np.uint8)
    halves = (num_tiles, num_in // group, LANES)
    scales, minima = empty(halves, np.float16), empty(halves, np.float16) if has_minima else None
    return PackedMatrix(UINTS.get(bits, INT8), num_out, num_in, values, group, scales, minima, _bias(bias))


def pack_uint(quants: Array, scales: Array, minima: Array | None, bias: Array | None, bits: int = 4) -> PackedMatrix:
    """Weight = scale * quant + minimum, or, without minima, scale * (quant - 2 ** (bits - 1)).

    quants: uint8 [out, in], of 4, 5 or 6 bits; scales, minima: [out, groups] of 32 or 16 inputs (5 bits: of 32; 6 bits:
    of 16, without minima); bias: [out].
    """
    num_in, width = quants.shape[1], bits - 4
    quads = _quads(quants).reshape(-1, LANES, num_in // BLOCK, 8).transpose(0, 2, 3, 1)
    values = np.empty((*quads.shape[:2], bits, LANES), np.uint32)
    lower = quads & np.uint32(0x0F0F0F0F)
    values[:, :, :4] = lower[:, :, ::2] | (lower[:, :, 1::2] << np.uint32(4))
    if width:
        upper = quads >> np.uint32(4) & np.uint32(0x0F0F0F0F)
        shifts = np.arange(0, 8, width, dtype=np.uint32)[:, None]
        planes = upper.reshape(*quads.shape[:2], width, 8 // width, LANES)
        np.bitwise_or.reduce(planes << shifts, axis=3, out=values[:, :, 4:])
    return _quantised(UINTS[bits], num_in, values.view(np.uint8), scales, minima, bias)


def pack_int8(quants: Array, scales: Array, bias: Array | None) -> PackedMatrix:
    """Weight = scale * quant. quants: int8 [out, in]; scales: [out, groups] of 16 or 32 inputs; bias: [out]."""
    num_in = quants.shape[1]
    values = _side_by_side(_quads(quants).reshape(-1, LANES, num_in // 4) ^ np.uint32(0x80808080))
    return _quantised(INT8, num_in, values, scales, None, bias)


def _quantised(
    kind: int, num_in: int, values: Array, scales: Array, minima: Array | None, bias: Array | None
) -> PackedMatrix:
    num_out, num_groups = scales.shape
    lowest = None if minima is None else _halves(minima)
    return PackedMatrix(kind, num_out, num_in, values, num_in // num_groups, _halves(scales), lowest, _bias(bias))


def pack_floats(weight: torch.Tensor, bias: Array | None) -> PackedMatrix:
    """weight: [out, in], of one of KINDS; its bits are kept."""
    num_out, num_in = weight.shape
    bits = weight.contiguous().view(torch.int16).numpy() if weight.element_size() == 2 else weight.contiguous().numpy()
    values = np.ascontiguousarray(_tiles(bits).reshape(-1, LANES, num_in).transpose(0, 2, 1))
    return PackedMatrix(KINDS[weight.dtype], num_out, num_in, values, bias=_bias(bias))


def _quads(quants: Array) -> Array:
    """Four inputs as one integer, whose bytes they are: numpy moves those several times faster."""
    return _tiles(quants).view(np.uint32)


def _side_by_side(quads: Array) -> Array:
    """[tiles, LANES, n]. Returns bytes [tiles, n, LANES, 4]."""
    return np.ascontiguousarray(quads.transpose(0, 2, 1)).view(np.uint8).reshape(-1, quads.shape[2], LANES, 4)


def _tiles(rows: Array) -> Array:
    """With rows of zeros up to a multiple of LANES."""
    padding = -rows.shape[0] % LANES
    return np.ascontiguousarray(np.pad(rows, ((0, padding), (0, 0))) if padding else rows)


def _halves(scales: Array) -> Array:
    tiles = _tiles(scales.astype(np.float16))
    return np.ascontiguousarray(tiles.reshape(-1, LANES, scales.shape[1]).transpose(0, 2, 1))


def _bias(bias: Array | None) -> Array | None:
    return None if bias is None else np.ascontiguousarray(np.pad(bias.astype(np.float32), (0, -len(bias) % LANES)))

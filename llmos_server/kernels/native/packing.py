"""Matrices as the compiled kernels read them: tiles of 16 outputs, whose weights for a few inputs lie side by side.

[tiles, inputs / 4, 16 outputs, 4 inputs] for bytes, which hold a weight + 128; two such quads share the bytes of 4-bit
weights, the first in the low nibbles; [tiles, inputs, 16] for floats; [tiles, groups, 16] for scales and minima, which
are float16.
One vector load then serves 16 outputs. The layout comes from a measurement: with an output after the other, the same
arithmetic takes 2 to 5 times as long.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from llmos_server.kernels.native.library import Matrix, Stack

LANES = 16
UINT4, INT8, FLOAT32, BFLOAT16, FLOAT16 = range(5)
KINDS = {torch.float32: FLOAT32, torch.bfloat16: BFLOAT16, torch.float16: FLOAT16}

Array = npt.NDArray[Any]


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
    terms: int
    """1 or 2; 0 for floats."""
    structs: Any = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "structs", (Matrix * len(self.parts))(*(part.struct for part in self.parts)))

    @property
    def num_out(self) -> int:
        return sum(part.num_out for part in self.parts)

    @property
    def struct(self) -> Stack:
        return Stack(self.structs, len(self.parts), self.parts[0].num_in, self.num_out, self.terms)

    @property
    def num_bytes(self) -> int:
        return sum(part.num_bytes for part in self.parts)


def address(array: Array | None) -> int | None:
    return None if array is None else array.ctypes.data


def pack_uint4(quants: Array, scales: Array, minima: Array, bias: Array | None) -> PackedMatrix:
    """Weight = scale * quant + minimum.

    quants: uint8 [out, in], 0 to 15; scales, minima: [out, in / 32]; bias: [out].
    """
    num_out, num_in = quants.shape
    quads = _quads(quants).reshape(-1, LANES, num_in // 8, 2)
    values = _side_by_side(quads[..., 0] | (quads[..., 1] << np.uint32(4)))
    return PackedMatrix(UINT4, num_out, num_in, values, 32, _halves(scales), _halves(minima), _bias(bias))


def pack_int8(quants: Array, scales: Array, minima: Array | None, bias: Array | None) -> PackedMatrix:
    """quants: [out, in], -128 to 127; scales, minima: [out, groups] of 16 or 32 inputs. Weight as for pack_uint4."""
    num_out, num_in = quants.shape
    values = _side_by_side(_quads(quants).reshape(-1, LANES, num_in // 4) ^ np.uint32(0x80808080))
    lowest = None if minima is None else _halves(minima)
    return PackedMatrix(INT8, num_out, num_in, values, num_in // scales.shape[1], _halves(scales), lowest, _bias(bias))


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
